"""What is checked on demand, by one command: `python -m tests.thorough`."""
