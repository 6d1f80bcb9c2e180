"""The theorem's claims in their finite form; `python -m tests.thorough --only theorem` shows that they can fail."""
