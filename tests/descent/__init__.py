"""Tests of gradient descent on the order parameters."""
