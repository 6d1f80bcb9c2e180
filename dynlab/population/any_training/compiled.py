"""The formulas of the switches, compiled one after another, as each calls those before it."""

from __future__ import annotations

from dynlab.formulas import decorrelation, head_rules, hidden_switched, second_moments, sliding, switched
from dynlab.machine import jit
from dynlab.population.gradient import forces_of_hidden

_before = forces_of_hidden  # formulas of neurons and of hidden units are compiled there
compiled_helpers = tuple(jit.compile_module(part) for part in (head_rules, decorrelation, second_moments, sliding))
compiled_formulas = jit.compile_module(switched)
compiled_units = jit.compile_module(hidden_switched, entries=("hidden_switched_forces",))
