"""What may go wrong outside of dynlab: bad input, damaged files, kills, full disks."""
