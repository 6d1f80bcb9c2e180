"""The settings of training: every ingredient of the mechanism is a switch, with its equation and source.

`Model` says what the data and the encoder are, `Training` what is done with them. The defaults are the paper's (Wen & Li
2022): off-diagonal head from the identity, the target shares the weights under stop-gradient, batch normalisation.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dynlab.formulas.head_rules import HEADS, TRAINED
from dynlab.tools import show
from dynlab.tools.checks import SettingError, choice, real, require, truth

if TYPE_CHECKING:
    from dynlab.settings.model import Model

TARGETS = ("same", "average")
STOP_GRADIENTS = ("target", "online", "none")
NORMALISATIONS = ("batch", "scale", "length", "none")
ETA_HEAD = 0.01  # the head's rate in units of the encoder's where none is given
PAPER_HEADS = ("off-diagonal", "none")
METHODS = ("flow", "descent")  # on the exact population gradient
STEPPED = ("descent", "sgd")  # the methods that take steps of a learning rate
LATEST = 1e100  # end of a flow: what is left of a decay by then is smaller than numbers are
OBJECTIVES = ("similarity", "barlow-twins", "vicreg")


@dataclass(frozen=True)
class Training:
    r"""How a model is trained: frozen, validated, hashable.

    With F = E f(view 1; w) the online output, G = f(view 2; w') the target's, and ~ the normalisation,

        L = E |F~ - G~|^2 + decorrelation * sum_{i != j} corr(f_i, f_j)^2,

        dw/dt = -dL/dw - weight_decay w,     dE/dt = -eta_head (dL/dE + head_decay E)  on the entries that train,

    or steps of eta times this (descent, minibatches), the learning rate eta being given where they are taken.

    Parameters
    ----------
    head : str
        The rule of E, see `dynlab.formulas.head_rules`: "none" (identity), "off-diagonal" (identity start, its diagonal
        fixed; Wen & Li 2022), "linear" (all entries; Tian et al. 2021), "symmetric" (all entries, the gradient projected on
        symmetric matrices), "directpred" (Tian, Chen & Ganguli 2021) and "directcopy" (Wang et al. 2021), which set E from
        the correlation of f, or "fixed" (`head_matrix`, never changed).
    eta_head : float
        Learning rate of the head in units of the encoder's, >= 0: the ratio eta_E/eta, whatever the method. A step of
        size eta moves the head by eta_head * eta times its gradient.
    head_matrix : (m, m) nested sequence, optional
        The fixed head, or where a trained head starts (None: the identity).
    target : str
        "same": w' = w (SimSiam); "average": dw'/dt = target_rate (w - w'), w'(0) = w(0) (BYOL: momentum
        tau = 1 - target_rate * eta for steps of size eta).
    target_rate : float
        > 0, in units of the encoder's learning rate.
    stop_gradient : str
        Which side no gradient flows through: "target" (the paper), "online" (then no head trains), "none". With a moving
        average the target is not trained by gradients: "target" only.
    normalisation : str
        "batch": each output centred and divided by its standard deviation over the population; "scale": divided by its root
        mean square, not centred; "length": the vector of outputs divided by its length, the zero vector staying zero (closed
        form only without noise patches' noise, Model(noise=0)); "none".
    objective : str
        "similarity" (the above), "barlow-twins" (Zbontar et al. 2021) or "vicreg" (Bardes et al. 2022); the latter two have
        neither head nor stop-gradient and their own normalisation, so those switches must be left at "none" and "batch".
    symmetric : bool
        Whether both views take both roles, L = (L_12 + L_21)/2. On the population the views are exchangeable, so this
        changes nothing; with finite samples it does.
    weight_decay, head_decay : float
        >= 0.
    decorrelation : float
        >= 0; weight of the off-diagonal correlations of the encoder's outputs, the criterion which Liu et al. (NeurIPS 2022)
        show the predictor and stop-gradient to impose implicitly. The sum over the m(m - 1) ordered pairs is between 0 and
        m(m - 1), the loss beside it between 0 and 4 m (4 with "length").
    start_scale : float
        > 0; random starts are w_j ~ N(0, start_scale^2 I/d).
    barlow_weight : float
        lambda of Barlow Twins, L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 (default 0.0051).
    vicreg_weights : (float, float, float)
        Weights of invariance, variance and covariance in VICReg, each a mean over outputs (default 25, 25, 1). The hinge is
        max(0, 1 - sd) with sd itself, not the paper's sqrt(Var + 1e-4); on its corner outputs slide
        (`dynlab.formulas.sliding`).
    directpred_eps : float
        eps of DirectPred and DirectCopy, >= 0 (default 0.1).
    readout_rate : float
        > 0; learning rate of the readout of hidden units (`Model(hidden=...)`) in units of that of the weights.

    Raises
    ------
    SettingError
        A ValueError of one line, naming the setting, its value and what is allowed.
    """

    head: str = "off-diagonal"
    eta_head: float = ETA_HEAD
    head_matrix: tuple | None = None
    target: str = "same"
    target_rate: float = 0.1
    stop_gradient: str = "target"
    normalisation: str = "batch"
    objective: str = "similarity"
    symmetric: bool = False
    weight_decay: float = 0.0
    head_decay: float = 0.0
    decorrelation: float = 0.0
    start_scale: float = 1.0
    barlow_weight: float = 0.0051
    vicreg_weights: tuple[float, float, float] = (25.0, 25.0, 1.0)
    directpred_eps: float = 0.1
    readout_rate: float = 1.0

    def __post_init__(self) -> None:
        weights = self.vicreg_weights
        require(len(weights) == 3, "vicreg_weights", weights, "three numbers: invariance, variance, covariance")
        values = {
            "head": choice("head", self.head, HEADS),
            "eta_head": real("eta_head", self.eta_head, at_least=0.0),
            "head_matrix": _matrix(self.head_matrix),
            "target": choice("target", self.target, TARGETS),
            "target_rate": real("target_rate", self.target_rate, above=0.0),
            "stop_gradient": choice("stop_gradient", self.stop_gradient, STOP_GRADIENTS),
            "normalisation": choice("normalisation", self.normalisation, NORMALISATIONS),
            "objective": choice("objective", self.objective, OBJECTIVES),
            "start_scale": real("start_scale", self.start_scale, above=0.0),
            "readout_rate": real("readout_rate", self.readout_rate, above=0.0),
            "vicreg_weights": tuple(real("vicreg_weights", w, at_least=0.0) for w in weights),
        }
        values["symmetric"] = truth("symmetric", self.symmetric)
        for name in ("weight_decay", "head_decay", "decorrelation", "barlow_weight", "directpred_eps"):
            values[name] = real(name, getattr(self, name), at_least=0.0)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Refuse combinations that have no meaning, saying why."""
        require(
            self.target == "same" or self.stop_gradient == "target",
            "stop_gradient",
            self.stop_gradient,
            '"target" with target "average", which no gradient trains',
        )
        if self.objective != "similarity":
            why = f"with objective {self.objective!r}, whose two views are treated alike"
            plain = {"head": "none", "target": "same", "stop_gradient": "none", "normalisation": "batch"}
            for name, allowed in plain.items():
                require(getattr(self, name) == allowed, name, getattr(self, name), f'"{allowed}" {why}')
        require(self.head != "fixed" or self.head_matrix is not None, "head_matrix", None, 'a matrix with head "fixed"')
        takes = self.head in ("fixed", *TRAINED)
        require(takes or self.head_matrix is None, "head_matrix", "a matrix", f'left out with head "{self.head}"')
        if self.head == "off-diagonal" and self.head_matrix is not None:
            unit = all(row[j] == 1.0 for j, row in enumerate(self.head_matrix))
            require(unit, "head_matrix", self.head_matrix, 'one with unit diagonal with head "off-diagonal"')
        if self.head == "symmetric" and self.head_matrix is not None:
            equal = self.head_matrix == tuple(zip(*self.head_matrix, strict=True))
            require(equal, "head_matrix", self.head_matrix, 'a symmetric one with head "symmetric"')

    def __repr__(self) -> str:
        """What differs from the defaults, as it could be typed."""
        return show.line("Training", show.changed(self))

    def _repr_html_(self) -> str:
        return show.settings_table(self)

    @property
    def head_trains(self) -> bool:
        """Whether gradients reach the head and it follows them."""
        return self.head in TRAINED and self.stop_gradient != "online" and self.eta_head > 0.0

    @property
    def head_rate(self) -> float:
        """The rate at which the head's entries follow their gradient, in units of the encoder's; 0 where they do not."""
        return self.eta_head if self.head_trains else 0.0

    @property
    def is_papers(self) -> bool:
        """Whether this is the setting of the paper, for which there are closed forms and a solver of their own."""
        free = {"head", "eta_head", "symmetric", "start_scale", "readout_rate"}
        return self.head in ("none", "off-diagonal") and self.changed().keys() <= free

    def changed(self) -> dict:
        """The settings that differ from the defaults, by name, as JSON holds them."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: _plain(value) for name, (value, default) in values.items() if value != default}

    def check_model(self, model: Model, stepped: bool = False) -> None:
        """SettingError where this training has no closed form on the model, or sizes do not fit.

        stepped: for a gradient, or for steps along it, which with hidden units take what the flow does not.
        """
        closed = self.normalisation != "length" or model.noise == 0.0
        why = "of the outputs has a closed form only without noise (Model(noise=0)): use another"
        require(closed, "normalisation", self.normalisation, f'"batch", "scale" or "none"; unit length {why}')
        if model.layered:
            changed = ", ".join(
                sorted(self.changed().keys() - {"head", "eta_head", "readout_rate", "start_scale", "symmetric"})
            )
            allowed = "the paper's training (head none or off-diagonal) where neurons have hidden units; descent takes any"
            require(self.is_papers or stepped, "training", changed or f"head {self.head}", allowed)
        else:
            require(self.readout_rate == 1.0, "readout_rate", self.readout_rate, "left out for a model without hidden units")
        if self.head_matrix is not None:
            m = model.neurons
            require(len(self.head_matrix) == m, "head_matrix", f"of {len(self.head_matrix)} rows", f"{m} by {m}")


def records_own_rate(settings: Mapping[str, Any], method: str | None) -> bool:
    """Whether the eta_head of recorded settings is the head's own rate, as it was for methods that take steps when
    `head_rate` was not recorded beside it."""
    return method in STEPPED and "head_rate" not in settings


def recorded_ratio(settings: Mapping[str, Any], eta: float, told: str = "") -> float:
    """eta_head of recorded settings as it is meant now, told in a line on standard error where that is not what is recorded.

    eta : the learning rate of a record of descent or minibatches (`records_own_rate`). told : what the line begins with.
    """
    ratio = float(settings["eta_head"])
    if records_own_rate(settings, settings["method"]):
        line = f"eta_head {ratio:g} was the head's own rate when this was recorded: read as the ratio {ratio / eta:g} to eta"
        print(f"{told}: {line} {eta:g}", file=sys.stderr, flush=True)
        ratio /= eta
    return ratio


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _matrix(value: Any) -> tuple | None:
    """A square matrix as nested tuples of floats."""
    if value is None:
        return None
    try:
        rows = tuple(tuple(real("head_matrix", float(x)) for x in row) for row in value)
    except (TypeError, ValueError):
        raise SettingError("head_matrix", value, "a square matrix of finite numbers") from None
    require(len(rows) > 0 and all(len(row) == len(rows) for row in rows), "head_matrix", value, "a square matrix")
    return rows
