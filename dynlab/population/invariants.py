r"""Quantities that gradient flow conserves exactly.

Normalisation makes the loss invariant under scaling any output. Scaling w_j by 1 + eps scales f_j by 1 + q eps (phi of
degree q); the loss does not notice if row and column of the head follow, so that for every j

    <w_j, dL/dw_j> / q = sum_{r != j} (E_rj dL/dE_rj - E_jr dL/dE_jr).

Along the flow dw/dt = -dL/dw, dE/dt = -r dL/dE the left side is -d|w_j|^2/dt / (2 q), hence

    I_j = |w_j|^2 / q + (1/r) sum_{r' != j} (E_jr'^2 - E_r'j^2)

is conserved for every neuron (|w_j|^2 alone for a frozen head, r = 0), and so is sum_j |w_j|^2. From E(0) = I it
follows that |E_21| <= sqrt(r / q) |w_2(0)| for as long as E_12 = 0: the head's bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.order_parameters import squared_lengths
from dynlab.settings.activation_records import ACTIVATIONS

if TYPE_CHECKING:
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array


def conserved(model: Model, signal: Array, gram: Array, head: Array, head_rate: float) -> Array:
    """I_j, shape (..., m), of states signal (..., m, K), noise Gram (..., m, m), head (..., m, m); rate r >= 0."""
    degree = ACTIVATIONS[model.activation].degree
    total = squared_lengths(model, signal, gram) / degree
    if head_rate > 0.0:
        trained = head**2
        total = total + (trained.sum(-1) - trained.sum(-2)) / head_rate
    return total


def head_bound(model: Model, signal: Array, gram: Array, head_rate: float) -> Array:
    """sqrt(r / q) |w_j(0)|, shape (..., m): bound on the entries of row j of the head while its column is 0."""
    degree = ACTIVATIONS[model.activation].degree
    return np.sqrt(head_rate / degree * squared_lengths(model, signal, gram))
