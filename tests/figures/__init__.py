"""The figures, each in its fast size: its claim, its files, what it reads."""
