"""Figures of objects and commands: right, and legible in print and in grey."""
