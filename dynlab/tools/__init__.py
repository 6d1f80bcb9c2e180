"""What every layer uses: checks, files, intervals, words for objects; imports nothing of dynlab."""
