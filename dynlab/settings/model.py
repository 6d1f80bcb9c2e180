"""The settings of the model: data, views and encoder (Wen & Li 2022, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dynlab.settings import activation_records
from dynlab.tools import show
from dynlab.tools.checks import SettingError, choice, integer, real, require

# What commands offer; a script may have registered more.
ACTIVATION_NAMES = ("relu", "cubic", "relu3", "linear")
MASKS = ("half", "independent")
READOUTS = ("own", "shared", "fixed")
BIASES = ("none", "trained")
SIZES = (1e-20, 1e20)  # of strengths and noise: losses are made of twelfth powers of them and of weights
APART = 1e10  # that noise and a strength may be: what one does beside the other is then still a number, however small
# Settings that the first version did not have: its records lack them, and maps keep its starts where they are the defaults.
LATER = ("hidden", "readout", "probabilities", "correlation", "bias")
SINGULAR = 1e-12  # square of the part of a feature that the others do not span, below which they are dependent
SUM_SLACK = 1e-9  # by which probabilities, written in decimals, may miss the sum 1


def without_hidden(model: Model, what: str) -> None:
    """SettingError if the model's neurons have hidden units, which `what` does not have a form for."""
    require(not model.layered, "hidden", model.hidden, f"1 with a fixed readout for {what}")


def without_correlation(model: Model, what: str) -> None:
    """SettingError if the model's features are correlated, which `what` does not have a form for."""
    require(model.correlation is None, "correlation", model.correlation, f"left out for {what}")


def without_bias(model: Model, what: str) -> None:
    """SettingError if the model's neurons have biases, which `what` does not have a form for."""
    require(model.bias == "none", "bias", model.bias, f'"none" for {what}')


class _Default(float):
    """A default that can be told from the same number given by the caller."""


@dataclass(frozen=True)
class Model:
    """One model: frozen, validated, hashable.

    A sample is s alpha_l v_l (feature l of probability p_l, sign s = +-1) on `feature_patches` of its `patches`, and on
    the others noise N(0, noise^2) in each direction orthogonal to the features. The mask splits the patches
    into two views. Neuron j answers with the sum over patches of phi(<w_j, patch>).

    Parameters
    ----------
    strong, weak : float
        Strengths alpha_1 >= alpha_2 > 0 of two orthonormal features.
    patches : int
        Patches P >= 2 of a sample, even for mask "half".
    feature_patches : int
        Patches n that carry the feature, 1 <= n < P.
    noise : float
        Standard deviation sigma >= 0 of the noise in each direction. Strengths and noise lie between 1e-20 and 1e20, and
        within 1e10 of each other, or noise is 0.
    activation : str
        phi: "relu" max(0, z), "cubic" z^3 (the paper's theorem), "relu3" max(0, z)^3 or
        "linear" z; or one that `dynlab.register_activation` has added in this process.
    neurons : int
        Number m >= 1 of neurons, and so of outputs.
    mask : str
        "half": view 1 keeps P/2 patches; "independent": each with probability 1/2. View 2 has the others.
    strengths : sequence of float, optional
        All K >= 1 strengths, positive and non-increasing, instead of `strong` and `weak`, which are then the
        first and the last of them. Always a tuple afterwards.
    probabilities : sequence of float, optional
        p_l, how often a sample shows feature l: K positive numbers of sum 1. None: all alike, as equal numbers are.
    correlation : float or sequence of sequences, optional
        <v_l, v_k> of the unit vectors that features are: one number for all pairs, or their Gram matrix (K, K), symmetric
        and positive definite with unit diagonal. Noise stays orthogonal to all features. None: orthonormal, as 0 is.
    bias : str
        "none"; or "trained", for relu without hidden units: f_j = sum_p max(0, <w_j, X_p> + b_j). Exact in
        `dynlab.population_gradient(..., bias=b)`; whatever has no form for it refuses it.
    hidden : int
        Hidden units H >= 1 of each neuron: f_j(X) = sum_h a_jh sum_p phi(<w_h, X_p>), the neuron being the output of a
        two-layer network. 1 with a fixed readout is the encoder of the paper, f_j = phi of one neuron.
    readout : str, optional
        "own": a trains, and each neuron sums over its own H units; "shared": a trains, and each sums over all neurons * H;
        "fixed": own units, and a stays what it is drawn as (1 if hidden is 1). None: "fixed" for hidden 1, else "own".

    Raises
    ------
    SettingError
        A ValueError of one line, naming the setting, its value and what is allowed.
    """

    strong: float = _Default(1.0)
    weak: float = _Default(0.3)
    patches: int = 16
    feature_patches: int = 4
    noise: float = 0.5
    activation: str = "cubic"
    neurons: int = 2
    mask: str = "half"
    strengths: tuple[float, ...] | None = None
    hidden: int = 1
    readout: str | None = None
    probabilities: tuple[float, ...] | None = None
    correlation: float | tuple[tuple[float, ...], ...] | None = None
    bias: str = "none"

    def __post_init__(self) -> None:
        strengths = self._strengths()
        patches = integer("patches", self.patches, at_least=2)
        mask = choice("mask", self.mask, MASKS)
        require(mask != "half" or patches % 2 == 0, "patches", self.patches, 'even for mask "half"')
        hidden = integer("hidden", self.hidden, at_least=1)
        readout = ("fixed" if hidden == 1 else "own") if self.readout is None else self.readout
        carriers = integer("feature_patches", self.feature_patches, at_least=1, at_most=patches - 1, why="patches - 1")
        values = {
            "strong": strengths[0],
            "weak": strengths[-1],
            "patches": patches,
            "feature_patches": carriers,
            "noise": real("noise", self.noise, at_least=0.0),
            "activation": choice("activation", self.activation, activation_records.ACTIVATIONS),
            "neurons": integer("neurons", self.neurons, at_least=1),
            "mask": mask,
            "strengths": strengths,
            "hidden": hidden,
            "readout": choice("readout", readout, READOUTS),
            "probabilities": self._probabilities(len(strengths)),
            "correlation": self._correlation(len(strengths)),
            "bias": choice("bias", self.bias, BIASES),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._comparable()
        if self.bias != "none":
            why = f'"none" for {self.activation}: moments with a bias have closed forms for relu here'
            require(self.activation == "relu", "bias", self.bias, why)
            without_hidden(self, "neurons with biases")

    def __repr__(self) -> str:
        """What differs from the defaults, as it could be typed."""
        return show.line("Model", show.changed(self, self._implied()))

    def _repr_html_(self) -> str:
        return show.settings_table(self, self._implied())

    def _implied(self) -> tuple[str, ...]:
        """The settings that others say already."""
        usual = ("readout",) if self.readout == ("fixed" if self.hidden == 1 else "own") else ()
        return (*usual, *(("strengths",) if self.features == 2 else ("strong", "weak")))

    @property
    def features(self) -> int:
        """Number K of features."""
        return len(self.strengths)  # type: ignore[arg-type]  # a tuple since `__post_init__`

    @property
    def frequencies(self) -> tuple[float, ...]:
        """The probabilities p_l of all K features, of sum 1 to rounding."""
        if self.probabilities is None:
            return (1.0 / self.features,) * self.features
        total = math.fsum(self.probabilities)
        return tuple(p / total for p in self.probabilities)

    @property
    def root_weights(self) -> tuple[float, ...]:
        """sqrt(K p_l) of all K features, 1 where all are alike: see `dynlab.formulas.components`."""
        if self.probabilities is None:
            return (1.0,) * self.features
        return tuple(math.sqrt(self.features * p) for p in self.frequencies)

    @property
    def effective_strengths(self) -> tuple[float, ...]:
        """alpha_l (K p_l)^(1/(2q)), q the degree of phi: the strengths whose answers phi are sqrt(K p_l) times as large.

        The order parameters of a model with an odd phi move as if these were its strengths and all features alike.
        """
        if self.probabilities is None:
            return self.strengths  # type: ignore[return-value]  # a tuple since `__post_init__`
        degree = activation_records.ACTIVATIONS[self.activation].degree
        pairs = zip(self.strengths or (), self.frequencies, strict=True)
        return tuple(alpha * (self.features * p) ** (0.5 / degree) for alpha, p in pairs)

    @property
    def feature_gram(self) -> tuple[tuple[float, ...], ...]:
        """The Gram matrix <v_l, v_k> (K, K) of the features."""
        return _gram(self.correlation, self.features)

    @property
    def feature_rows(self) -> tuple[tuple[float, ...], ...]:
        """The features v_l (K, K) on the axes that they span, row l being v_l: the Cholesky factor of their Gram matrix.

        v_1 is the first axis, v_2 lies in the plane of the first two, and so on.
        """
        rows = cholesky(self.feature_gram)
        assert rows is not None  # checked in `__post_init__`
        return rows

    @property
    def units(self) -> int:
        """Number M of hidden units of all neurons together; unit h of neuron j is row j * hidden + h of the weights."""
        return self.neurons * self.hidden

    @property
    def layered(self) -> bool:
        """Whether the neurons are two-layer networks, rather than the paper's phi of one neuron each."""
        return self.hidden > 1 or self.readout != "fixed"

    def _comparable(self) -> None:
        """Sizes whose twelfth powers, with those of weights, are numbers; strengths and noise that do not drown."""
        for name, size in (("strong", self.strong), ("weak", self.weak), ("noise", self.noise)):
            require(size == 0.0 or SIZES[0] <= size <= SIZES[1], name, size, f"from {SIZES[0]:g} to {SIZES[1]:g} in size")
        noise = self.noise
        require(noise <= APART * self.weak, "weak", self.weak, f"at least {1.0 / APART:g} of the noise ({noise:g})")
        seen = noise == 0.0 or self.strong <= APART * noise
        require(seen, "strong", self.strong, f"at most {APART:g} times the noise ({noise:g}), or the noise 0")

    def _strengths(self) -> tuple[float, ...]:
        if self.strengths is None:
            strong = real("strong", self.strong, above=0.0)
            weak = real("weak", self.weak, above=0.0, at_most=strong, why="strong")
            return strong, weak
        allowed = "one or more positive finite numbers, none above the one before"
        try:
            strengths = tuple(real("strengths", alpha, above=0.0) for alpha in self.strengths)
        except (TypeError, SettingError):  # not a sequence; or one of its members
            raise SettingError("strengths", self.strengths, allowed) from None
        ordered = all(after <= before for before, after in pairwise(strengths))
        require(len(strengths) > 0 and ordered, "strengths", self.strengths, allowed)
        self._agrees("strong", self.strong, strengths[0])
        self._agrees("weak", self.weak, strengths[-1])
        return strengths

    def _probabilities(self, features: int) -> tuple[float, ...] | None:
        if self.probabilities is None:
            return None
        allowed = f"{features} positive numbers of sum 1, one for each feature"
        try:
            given = tuple(real("probabilities", p, above=0.0) for p in self.probabilities)
        except (TypeError, SettingError):  # not a sequence; or one of its members
            raise SettingError("probabilities", self.probabilities, allowed) from None
        total = math.fsum(given)
        require(len(given) == features and abs(total - 1.0) <= SUM_SLACK, "probabilities", self.probabilities, allowed)
        return None if all(p == given[0] for p in given) else given

    def _correlation(self, features: int) -> float | tuple[tuple[float, ...], ...] | None:
        given = self.correlation
        if given is None:
            return None
        least = f"above {-1.0 / (features - 1):.6g} and below 1" if features > 1 else "that is 0"
        shape = f"symmetric positive definite {features} x {features} matrix with unit diagonal"
        allowed = f"a number {least} (of every pair), or a {shape}"
        wrong = SettingError("correlation", given, allowed)
        try:
            found: Any = tuple(tuple(real("correlation", x) for x in row) for row in given)  # type: ignore[union-attr]
        except TypeError:  # not a sequence of sequences
            try:
                found = real("correlation", given)
            except SettingError:
                raise wrong from None
            if features == 1 and found != 0.0:
                raise wrong from None
        except SettingError:
            raise wrong from None
        gram = _gram(found, features)
        size = range(features)
        fits = len(gram) == features and all(len(row) == features for row in gram)
        if not fits or any(gram[i][i] != 1.0 or gram[i][j] != gram[j][i] for i in size for j in size):
            raise wrong
        if cholesky(gram) is None:
            raise wrong
        return None if all(gram[i][j] == 0.0 for i in size for j in range(i)) else found

    @staticmethod
    def _agrees(name: str, given: object, strength: float) -> None:
        # dataclasses.replace(model, weak=0.2) hands the old strengths on: refuse rather than ignore the 0.2.
        if not isinstance(given, _Default):
            require(given == strength, name, given, f"{strength} as in strengths (or give strengths=None)")


def _gram(correlation: Any, features: int) -> tuple[tuple[float, ...], ...]:
    """The Gram matrix that a correlation means: None, a number for all pairs, or the matrix itself."""
    if isinstance(correlation, tuple):
        return correlation
    rho = 0.0 if correlation is None else float(correlation)
    return tuple(tuple(1.0 if l == k else rho for k in range(features)) for l in range(features))


def cholesky(gram: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...] | None:
    """The lower triangular L with L L^T = gram, as rows of full length; None unless gram is positive definite."""
    rows: list[list[float]] = []
    for i, given in enumerate(gram):
        row = [0.0] * len(gram)
        for j in range(i + 1):
            other = row if i == j else rows[j]
            rest = given[j] - math.fsum(row[k] * other[k] for k in range(j))
            if i == j:
                if not rest > SINGULAR:
                    return None
                row[i] = math.sqrt(rest)
            else:
                row[j] = rest / other[j]
        rows.append(row)
    return tuple(tuple(row) for row in rows)
