"""The shape of the code: layers, the mirror of the tests, what is installed, what a type checker makes of it."""
