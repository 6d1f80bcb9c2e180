"""The figures: one module each, each a claim with its picture.

A module of this package named in `NAMES` has TITLE and four functions:

    settings(fast)            what is computed, as JSON holds it; `fast` is a small size for tests
    compute(settings, folder) writes the data, NAME.csv in the folder (and others beginning with NAME, where it needs them)
    draw(folder)              reads data and nothing else, writes NAME.pdf and NAME.png
    claim(data)               asserts on the data, as `read` returns them, what the figure supports

`figures.parts` has what they share. To add a figure, add such a module and its name here.
"""

NAMES = (
    "phases", "dimension", "scaling", "two_routes", "phase_diagram", "collapse_at_equal_loss", "portrait", "head_zoo",
    "hidden_units", "exact_against_minibatch", "methods",
)  # fmt: skip
