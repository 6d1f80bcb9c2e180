"""Encoders, networks and heads."""
