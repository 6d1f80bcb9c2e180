"""dynlab: why non-contrastive self-supervised learning does not collapse, computed exactly.

The public names are loaded when they are first used, so that `import dynlab` stays instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dynlab._version import __version__ as __version__

if TYPE_CHECKING:  # so that editors and type checkers know what `_HOMES` loads
    from dynlab.diagnose import diagnose as diagnose
    from dynlab.embeddings.monitor import Monitor as Monitor
    from dynlab.embeddings.theory_fit import fit_theory as fit_theory
    from dynlab.ensembles.ensemble import Ensemble as Ensemble
    from dynlab.ensembles.ensemble import ensemble as ensemble
    from dynlab.explore import explore as explore
    from dynlab.images.own_parts import register_encoder as register_encoder
    from dynlab.images.own_parts import register_loss as register_loss
    from dynlab.linear.gradient_flow import simulate_linear as simulate_linear
    from dynlab.linear.model import LinearModel as LinearModel
    from dynlab.phase import phase_map as phase_map
    from dynlab.population.any_training.gradient import training_gradient as training_gradient
    from dynlab.population.gradient import population_gradient as population_gradient
    from dynlab.population.gradient import population_loss as population_loss
    from dynlab.population.order_parameters import OrderParameters as OrderParameters
    from dynlab.population.trajectory import Trajectory as Trajectory
    from dynlab.portrait import portrait as portrait
    from dynlab.pretrain import pretrain as pretrain
    from dynlab.samples.minibatch import minibatch_gradient as minibatch_gradient
    from dynlab.settings.model import Model as Model
    from dynlab.settings.optimisation import Optimisation as Optimisation
    from dynlab.settings.registration import activations as activations
    from dynlab.settings.registration import register_activation as register_activation
    from dynlab.settings.training import Training as Training
    from dynlab.simulation import simulate as simulate
    from dynlab.sweep import sweep as sweep
    from dynlab.tools.checks import SettingError as SettingError


_HOMES = {
    "Model": "dynlab.settings.model",
    "Training": "dynlab.settings.training",
    "Optimisation": "dynlab.settings.optimisation",
    "SettingError": "dynlab.tools.checks",
    "training_gradient": "dynlab.population.any_training.gradient",
    "OrderParameters": "dynlab.population.order_parameters",
    "population_loss": "dynlab.population.gradient",
    "population_gradient": "dynlab.population.gradient",
    "simulate": "dynlab.simulation",
    "minibatch_gradient": "dynlab.samples.minibatch",
    "Trajectory": "dynlab.population.trajectory",
    "ensemble": "dynlab.ensembles.ensemble",
    "Ensemble": "dynlab.ensembles.ensemble",
    "register_activation": "dynlab.settings.registration",
    "activations": "dynlab.settings.registration",
    "register_encoder": "dynlab.images.own_parts",
    "register_loss": "dynlab.images.own_parts",
    "LinearModel": "dynlab.linear.model",
    "simulate_linear": "dynlab.linear.gradient_flow",
    "diagnose": "dynlab.diagnose",
    "Monitor": "dynlab.embeddings.monitor",
    "fit_theory": "dynlab.embeddings.theory_fit",
    "explore": "dynlab.explore",
    "phase_map": "dynlab.phase",
    "portrait": "dynlab.portrait",
    "pretrain": "dynlab.pretrain",
    "sweep": "dynlab.sweep",
}
_ROOMS = ("linear",)  # folders that are reached as `dynlab.linear.laws`, without an import of their own

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        home = import_module(_HOMES[name])
        # A command's module that bears the function's name is what the name stands for: it can be called.
        value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module 'dynlab' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
