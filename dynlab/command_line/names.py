"""The commands by name."""

from __future__ import annotations

# By name: the module with its `main`, and what it does.
COMMANDS = {
    "run": ("dynlab.run", "train with and without the prediction head: what is learnt, and the four phases"),
    "theorem": ("dynlab.theorem", "the theorem, claim by claim, measured"),
    "ablate": ("dynlab.ablate", "change one ingredient at a time"),
    "explore": ("dynlab.explore", "a page with sliders: see it move"),
    "phase": ("dynlab.phase", "phase diagrams over any two settings"),
    "sweep": ("dynlab.sweep", "any list or grid of settings of run, sgd or pretrain: one table"),
    "portrait": ("dynlab.portrait", "phase portraits: field, nullclines, fixed points, basins"),
    "compare": ("dynlab.compare", "minibatch training against the exact theory"),
    "pretrain": ("dynlab.pretrain", "pretrain an encoder on pictures"),
    "evaluate": ("dynlab.evaluate", "what a pretrained encoder is worth"),
    "export": ("dynlab.export", "the weights of a pretrained run with the names that PyTorch has"),
    "heads": ("dynlab.heads", "all heads under one budget, on pictures"),
    "methods": ("dynlab.methods", "all methods under one budget, on pictures, each with its gate"),
    "recipes": ("dynlab.recipes", "the settings that are known by name, with their sources"),
    "diagnose": ("dynlab.diagnose", "embeddings of any framework: have they collapsed, and what to change"),
    "explain": ("dynlab.explain", "say in words what happened in a run, and what moves it"),
    "figures": ("dynlab.figures.__main__", "build the figures, each with its data and the check of its claim"),
    "docs": ("dynlab.docs.__main__", "build the pages of theory, reference and tutorial"),
    "doctor": ("dynlab.doctor", "versions, threads, cache and device of this machine"),
}
