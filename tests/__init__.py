"""Tests of dynlab: slow definitions, oracles and strategies, then one folder a subject."""
