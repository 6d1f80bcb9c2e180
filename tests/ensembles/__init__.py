"""Tests of many runs at once."""
