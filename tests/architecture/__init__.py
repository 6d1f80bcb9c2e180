"""The house: which layer a file of dynlab belongs to, and that nothing in it looks up or goes round."""
