"""The linear theory: encoder, predictor and target as matrices (Tian, Chen & Ganguli, ICML 2021, arXiv 2102.06810)."""
