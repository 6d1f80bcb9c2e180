"""The settings of `dynlab.settings.model` and the switches of `dynlab.settings.training` as options of a command."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from dynlab.command_line.parser import Parser, number_of
from dynlab.formulas.head_rules import MATRIX_HEADS
from dynlab.machine.device import DEVICES, Device
from dynlab.settings.model import ACTIVATION_NAMES, MASKS, Model
from dynlab.settings.optimisation import DESCENT_ETA, OPTIMISERS, Optimisation
from dynlab.settings.training import NORMALISATIONS, OBJECTIVES, STOP_GRADIENTS, TARGETS, Training
from dynlab.tools.checks import choice, integer, real, require
from dynlab.tools.schedules import SCHEDULES

MODEL_OPTIONS = ("strong", "weak", "noise", "patches", "feature_patches", "mask")
HIDDEN_OPTIONS = ("hidden", "readout")
NUMBERS = (
    "eta_head", "target_rate", "weight_decay", "head_decay", "decorrelation", "start_scale", "barlow_weight",
    "directpred_eps",
)  # fmt: skip
NAMES = ("head", "target", "stop_gradient", "normalisation", "objective")


def add_model(p: Parser, defaults: Mapping[str, str] = MappingProxyType({})) -> None:
    """Add `MODEL_OPTIONS`: strengths of two features, noise, patches and views. Values stay words.

    defaults: those of the command, by option, where they are not the usual ones.
    """

    def option(name: str, what: str, default: str, metavar: str = "N") -> None:
        p.option(name, what, defaults.get(name, default), metavar)

    option("--strong", "strength of the strong feature", "1.0", "ALPHA")
    option("--weak", "strength of the weak feature", "0.3", "ALPHA")
    add_probabilities(p)
    option("--noise", "standard deviation of the noise of a patch in each direction", "0.5", "SIGMA")
    option("--patches", "patches of a sample", "16")
    option("--feature-patches", "patches that carry the feature", "4")
    option("--mask", f"how the views share the patches, of {', '.join(MASKS)}", "half", "LAW")


def add_correlation(p: Parser) -> None:
    """Add --correlation, of the two features."""
    p.option(
        "--correlation", "correlation <v_1, v_2> of the features: with --method descent or sgd (default 0)", metavar="RHO"
    )


def add_probabilities(p: Parser) -> None:
    """Add --probabilities: how often a sample shows each feature."""
    p.option("--probabilities", "how often a sample shows the strong and the weak feature (default .5,.5)", metavar="P,P")


def model_arguments(given: Mapping[str, Any], names: Iterable[str] = MODEL_OPTIONS) -> dict[str, Any]:
    """Arguments of Model from parsed options: those of `names` that the command has, and the probabilities."""
    found = {name: given[name] for name in names if name in given}
    words = given.get("probabilities")
    if given.get("correlation") is not None:
        found["correlation"] = given["correlation"]
    if words is not None:
        found["probabilities"] = tuple(number_of(word) for word in str(words).split(","))
    return found


def models_of(given: Mapping[str, Any], names: Iterable[str]) -> tuple[Model, ...]:
    """The models of `MODEL_OPTIONS`, numbers as numbers, one for each activation named, each once."""
    shapes = model_arguments(given, (*MODEL_OPTIONS, *HIDDEN_OPTIONS))
    return tuple(Model(activation=choice("activation", name, ACTIVATION_NAMES), **shapes) for name in dict.fromkeys(names))


def start_of(given: Mapping[str, Any], model: Model, most_seeds: int) -> dict[str, int]:
    """dim, seeds and seed: where runs start, and how many do."""
    rows = "hidden units" if model.layered else "neurons"
    return {
        "dim": integer("dim", given["dim"], at_least=model.features + model.units, why=f"features + {rows}"),
        "seeds": integer("seeds", given["seeds"], at_least=1, at_most=most_seeds),
        "seed": integer("seed", given["seed"], at_least=0, at_most=2**63 - 1),
    }


def add_output(p: Parser) -> None:
    """Add --out, of a command that creates a folder of its own, and --no-plots."""
    p.option("--out", "run folder to create (default: a new one under runs/)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")


def add_parquet(p: Parser) -> None:
    """Add --parquet."""
    p.add_argument("--parquet", action="store_true", help="write tables as Parquet too, beside CSV (extra arrays)")


def add_hidden(p: Parser, activations: str = "relu and linear") -> None:
    """Add `HIDDEN_OPTIONS` and --readout-rate: neurons that are two-layer networks. Values stay words.

    activations: for which there are such, in words.
    """
    p.option("--hidden", f"hidden units of each neuron, f_j = sum_h a_jh phi(w_h): {activations}", "1")
    rule = "own or shared units with a readout a that trains, or fixed (default: fixed for one unit, else own)"
    p.option("--readout", rule, metavar="RULE")
    p.option("--readout-rate", "learning rate of the readout in units of that of the weights", "1", "RATE")


def add_steps(p: Parser) -> None:
    """Add the options of exact descent: learning rate, optimiser, schedules. Values stay words, `steps_of` turns them."""
    plain = Optimisation()
    p.option("--eta", f"learning rate of descent (default {DESCENT_ETA:g})", metavar="RATE")
    p.option("--optimiser", f"of descent, of {', '.join(OPTIMISERS)} (adam: dim at most 4096)", plain.optimiser, "NAME")
    p.option("--momentum", "of momentum", f"{plain.momentum:g}", "BETA")
    p.option("--schedule", f"of descent's learning rates, of {', '.join(SCHEDULES)}", plain.schedule, "NAME")
    p.option("--head-schedule", "of the head's learning rate (default: the same)", metavar="NAME")
    p.option("--warm-up", "steps of descent in which its rates first rise linearly", str(plain.warm_up), "N")


def steps_of(given: Mapping[str, Any], method: str) -> tuple[float, Optimisation]:
    """Learning rate and optimisation of parsed options; SettingError where the method takes no steps."""
    names = ("optimiser", "momentum", "schedule", "head_schedule", "warm_up")
    optimisation = Optimisation(**{name: given[name] for name in names})
    if method == "flow":
        require(given["eta"] is None, "eta", given["eta"], 'left out for method "flow", which takes no steps')
        for name, value in optimisation.changed().items():
            require(False, name, value, 'left out for method "flow", which takes no steps')
    return real("eta", DESCENT_ETA if given["eta"] is None else given["eta"], above=0.0), optimisation


def add_device(p: Parser) -> None:
    """Add --device."""
    p.option("--device", f"where to compute, of {', '.join(DEVICES)} (auto: cuda where it can, else cpu)", "cpu", "NAME")


def announce(device: Device, quiet: bool) -> None:
    """Say on standard error where the work is done, where that was asked for."""
    if device.asked != "cpu" and not quiet:
        print(f"device: {device.words}", file=sys.stderr, flush=True)


def add_switches(p: Parser) -> None:
    """Add the options; their values stay words, `training_of` turns them into a Training."""
    plain = Training()

    def option(name: str, what: str, metavar: str) -> None:
        default = getattr(plain, name)
        shown = f"{default:g}" if isinstance(default, float) else default
        p.option(f"--{name.replace('_', '-')}", what, shown, metavar)

    option("head", f"rule of the head, of {', '.join(MATRIX_HEADS)}", "RULE")
    option("eta_head", "learning rate of the head in units of that of the weights", "RATE")
    option("target", f"weights of the target, of {', '.join(TARGETS)} (moving average)", "NAME")
    option("target_rate", "rate of the moving average in units of the learning rate", "RATE")
    option("stop_gradient", f"side without gradient, of {', '.join(STOP_GRADIENTS)}", "SIDE")
    option("normalisation", f"of the outputs, of {', '.join(NORMALISATIONS)}", "NAME")
    option("objective", f"of {', '.join(OBJECTIVES)}", "NAME")
    option("weight_decay", "of the encoder, a unit of time (steps x learning rate)", "RATE")
    option("head_decay", "of the head's entries that train, in units of eta-head", "RATE")
    option("decorrelation", "weight of the sum of the outputs' squared correlations, from 0 to m(m - 1)", "WEIGHT")
    option("start_scale", "scale of the random start", "SCALE")
    option("barlow_weight", "lambda of Barlow Twins: weight of the squares off the diagonal", "LAMBDA")
    p.option("--vicreg-weights", "weights of invariance, variance and covariance in VICReg", "25,25,1", "W,W,W")
    option("directpred_eps", "eps of DirectPred and DirectCopy", "EPS")


def training_of(given: dict) -> Training:
    """The Training of parsed options, numbers as numbers. With another objective than similarity the head and stop-gradient
    are "none" unless they are given otherwise than by default. SettingError names what is not allowed."""
    values = {name: given[name] for name in (*NAMES, *NUMBERS)}
    values |= {"readout_rate": given["readout_rate"]} if "readout_rate" in given else {}
    values["vicreg_weights"] = tuple(number_of(word) for word in str(given["vicreg_weights"]).split(","))
    choice("head", values["head"], MATRIX_HEADS)
    if values["objective"] in OBJECTIVES[1:]:
        plain = Training()
        for name in ("head", "stop_gradient"):
            if values[name] == getattr(plain, name):
                values[name] = "none"
    return Training(**values)
