"""Every figure: reads results, computes nothing."""
