"""The theorem claim by claim: one module each, in the order of the paper's argument.

`CLAIMS` maps a claim's number to its module; see `dynlab.claims.claim` for what a module holds.
"""

from dynlab.claims import (
    acceleration,
    both_learnt,
    collapse,
    first_feature,
    head_peak,
    head_returns,
    hidden_rescue,
    identities,
    relu,
    routes,
    same_loss,
    substitution,
)

MODULES = (
    collapse,
    first_feature,
    substitution,
    head_peak,
    acceleration,
    head_returns,
    both_learnt,
    same_loss,
    identities,
    relu,
    routes,
    hidden_rescue,
)
CLAIMS = {module.NUMBER: module for module in MODULES}
