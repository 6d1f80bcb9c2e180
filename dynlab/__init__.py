"""dynlab: why non-contrastive self-supervised learning does not collapse, computed exactly.

The public names are loaded when they are first used, so that `import dynlab` stays instant.
"""

import time
from importlib import import_module

__version__ = "0.1.0"
_IMPORTED = time.time()  # `dynlab._cache` keeps no kernels of sources that were edited later

_HOMES = {
    "Model": "dynlab.model",
    "Training": "dynlab.training",
    "SettingError": "dynlab._checks",
    "training_gradient": "dynlab.population.switches",
    "OrderParameters": "dynlab.population.order_parameters",
    "population_loss": "dynlab.population.gradient",
    "population_gradient": "dynlab.population.gradient",
    "simulate": "dynlab.population.simulate",
    "minibatch_gradient": "dynlab.samples.gradient",
    "Trajectory": "dynlab.trajectory",
    "ensemble": "dynlab.sweep",
    "Ensemble": "dynlab.sweep",
    "LinearModel": "dynlab.linear.model",
    "simulate_linear": "dynlab.linear.flow",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dynlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted(__all__)
