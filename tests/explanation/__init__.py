"""`dynlab.explain`: terms of the force, phases, theory beside runs, pictures, bad input."""
