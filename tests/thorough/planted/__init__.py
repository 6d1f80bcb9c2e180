"""Faults to plant, a module a subject: each can be run alone, `python -m tests.thorough.planted.samples [NAME ...]`."""
