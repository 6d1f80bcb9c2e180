"""The theorem's claims in their finite form, one module of tests; `tests/theorem_faults.py` shows that they can fail."""
