"""dynlab: why non-contrastive self-supervised learning does not collapse, computed exactly.

The public names are loaded when they are first used, so that `import dynlab` stays instant.
"""

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that editors and type checkers know what `_HOMES` loads
    from dynlab._checks import SettingError as SettingError
    from dynlab.linear.flow import simulate_linear as simulate_linear
    from dynlab.linear.model import LinearModel as LinearModel
    from dynlab.model import Model as Model
    from dynlab.population.gradient import population_gradient as population_gradient
    from dynlab.population.gradient import population_loss as population_loss
    from dynlab.population.order_parameters import OrderParameters as OrderParameters
    from dynlab.population.simulate import simulate as simulate
    from dynlab.population.switches import training_gradient as training_gradient
    from dynlab.registration import activations as activations
    from dynlab.registration import register_activation as register_activation
    from dynlab.samples.gradient import minibatch_gradient as minibatch_gradient
    from dynlab.sweep import Ensemble as Ensemble
    from dynlab.sweep import ensemble as ensemble
    from dynlab.training import Training as Training
    from dynlab.trajectory import Trajectory as Trajectory

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
    "register_activation": "dynlab.registration",
    "activations": "dynlab.registration",
    "LinearModel": "dynlab.linear.model",
    "simulate_linear": "dynlab.linear.flow",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'dynlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
