"""Tests of dynlab. The folders mirror those of dynlab (`tests/architecture/test_mirror.py`); naive loops and oracles
share no code with what they check.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The folder that holds the tests: a clone's, or what a source distribution holds beside an installed package."""
