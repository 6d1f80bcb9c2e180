r"""Activations from outside the package: `register_activation`, and the numbers that the formulas need of them.

**What can be registered.** phi positively homogeneous of an integer degree q >= 2 (phi(lambda z) = lambda^q phi(z) for
lambda > 0) with phi(1) = 1, odd or zero for z < 0: the family of the built-in ones. So phi is sign(z)|z|^q or max(0, z)^q,
which `dynlab.settings.registration_checks` makes sure of, and all it needs follows from q. With eps = pi - theta and
phi+ = max(0, z)^q, polar coordinates give for standard normals at the angle theta

    M_q(eps) = E phi+(z_1) phi+(z_2) = 2^q q!/(2 pi) int_{-eps/2}^{eps/2} [sin(eps/2 + psi) sin(eps/2 - psi)]^q dpsi,

an integral over a positive function, and so accurate relative to itself for every angle. Then (Price's theorem)

    rectified  E phi phi = M_q(eps)                           cross = q^2 M_{q-1}(eps)
    odd        E phi phi = 2 [M_q(eps) - M_q(pi - eps)]       cross = 2 q^2 [M_{q-1}(eps) + M_{q-1}(pi - eps)]

and, again without a difference, C = int_theta^{pi/2} cross sin, 1 - kappa = int_0^theta cross sin / C(0), and for rectified
phi kappa - kappa(pi) = M_q(eps)/C(0). Gauss's rule of 80 points does each to rounding; the four functions B, X, G, F of
`dynlab.formulas.expansions`, analytic beyond [0, pi], are interpolated in 40 Chebyshev points. (Worst relative error against
60 digits, all angles: 1e-14 for q up to 5, 6e-13 at q = 9.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.polynomial import chebyshev

from dynlab.formulas import activations as formulas
from dynlab.formulas import expansions, number_table
from dynlab.settings import registration_checks
from dynlab.settings.activation_records import ACTIVATIONS, BUILT_IN, ActivationRecord, definition
from dynlab.tools.checks import integer, require

MOST_DEGREE = 9
NEGLIGIBLE = 1e-15
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(80)
_HALF_NODES, _HALF_WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2
# T_k at the Chebyshev points, cos(k (2 i + 1) pi/(2 n)); the multiples reduced before they are rounded.
_TURNS = np.arange(expansions.LENGTH) * (2 * np.arange(expansions.LENGTH)[:, None] + 1) % (4 * expansions.LENGTH)
_CHEBYSHEV = np.cos(_TURNS * (math.pi / (2 * expansions.LENGTH)))
_LOCK = Lock()


def activations() -> tuple[str, ...]:
    """Names that `Model(activation=...)` takes in this process: the built-in ones, then those registered."""
    return tuple(ACTIVATIONS)


def register_activation(
    name: str,
    function: Callable[[float], float],
    *,
    degree: int,
    odd: bool | None = None,
    slope: Callable[[float], float] | None = None,
    mean: float | None = None,
    covariance: Callable[[float, float, float], float] | None = None,
    cross: Callable[[float, float, float], float] | None = None,
) -> ActivationRecord:
    """Add an activation, for this process, to those that `Model(activation=...)` takes.

    Only name, function and degree are needed. The rest is your own derivation, if you have one: whatever you give is
    checked here against quadrature of `function`, to 1e-10 of its size at parallel noise parts, and refused with the first
    number that disagrees. Kernels never call what you give (plain Python will do): they compute from the degree, in a form
    that loses no digits at any angle, which is held against the same quadrature.

    Parameters
    ----------
    name : str
        A word that is not taken.
    function : phi(z), a float of a float. phi(lambda z) = lambda^degree phi(z) for lambda > 0; phi(1) = 1 (a factor changes
        no normalised output, and the weights can take it up); phi(-z) = -phi(z), or phi(z) = 0 for z < 0.
    degree : int
        q, 2 to 9. (Degree 1 has kinks that a flow reaches and must be held at; relu and linear are built in.)
    odd : bool
        Which of the two it is.
    slope : phi'(z), a float of a float.
    mean : float
        mu = E phi(z) of a standard normal z.
    covariance, cross : f(c, s, eps), floats
        Cov(phi(z_1), phi(z_2)) of standard normals with correlation c = cos(theta), and its derivative by c, which is
        E phi'(z_1) phi'(z_2) (Price); s = sin(theta), eps = pi - theta. Noise sigma and weights w_j, w_r multiply them by
        sigma^(2q) (|w_j||w_r|)^q and sigma^(2q) (|w_j||w_r|)^(q-1).

    Returns
    -------
    Activation : its record, also `dynlab.settings.activation_records.ACTIVATIONS[name]`.

    Raises
    ------
    SettingError
        One line: what was given, and what it must be. The same again is no error, another under the same name is.

    Examples
    --------
    >>> register_activation("quintic", lambda z: z**5, degree=5, covariance=lambda c, s, eps: 225*c + 600*c**3 + 120*c**5)
    >>> register_activation("relu2", lambda z: max(0.0, z) ** 2, degree=2, mean=0.5,
    ...                     covariance=lambda c, s, eps: (3*s*c + eps*(1 + 2*c*c)) / (2*np.pi) - 0.25)
    >>> dynlab.simulate(dynlab.Model(activation="quintic"), start)

    What works: gradients, flows, descent, ensembles, all switches of `Training`, minibatches, for any m and K, on the CPU,
    in all threads. What is refused by name: a CUDA device, `pair_gradients`, phase maps and portraits (whose stores outlive
    the process), stability. Other processes must register it themselves.

    How exact: as the built-in ones, with one reservation. Where contributions to a component of the gradient cancel further
    than the formulas foresee (3 of 1500 drawn states of relu2, at edges), it keeps 6 to 10 digits.
    """
    require(isinstance(name, str) and name.isidentifier(), "name", name, "a word (letters, digits and _)")
    require(name not in BUILT_IN, "name", name, f"another: {', '.join(BUILT_IN)} are built in")
    q = integer("degree", degree, at_least=2, at_most=MOST_DEGREE, why="relu and linear are those of degree 1")
    odd = registration_checks.check_function(function, q, odd, slope)
    registration_checks.check_moments(function, q, odd, slope, mean, covariance, cross)
    with _LOCK:
        taken = ACTIVATIONS.get(name)
        if taken is not None:
            words = f"another: it is registered as {definition(name)}"
            require((taken.degree, taken.odd) == (q, odd), "name", name, words)
            return taken
        slot = len(ACTIVATIONS) - len(BUILT_IN)
        room = number_table.SIZE // expansions.WIDTH
        require(slot < room, "name", name, f"one of at most {room} that are registered")
        kind = expansions.REGISTERED + 2 * slot + int(odd)
        _fill(expansions.slot_of(kind), q, odd)
        # What kernels will compute with is held against the same quadrature, whether or not anything was claimed.
        registration_checks.check_moments(function, q, odd, None, *_forms(kind))
        rate = slope or (lambda z: q * abs(function(z) / z) if z else 0.0)  # Euler's identity
        ACTIVATIONS[name] = ActivationRecord(name, kind, function, rate, q, odd)
    return ACTIVATIONS[name]


def _forms(kind: int) -> tuple[float, Callable, Callable]:
    """Mean, covariance and cross of a kind as the formulas compute them, for standard normals."""
    return (
        formulas.mean_factor(kind, 1.0),
        lambda c, s, eps: formulas.pair_covariance(kind, 1.0, 1.0, c, s, eps)[0],
        lambda c, s, eps: formulas.pair_covariance(kind, 1.0, 1.0, c, s, eps)[1],
    )


def _sinc(x: np.ndarray) -> np.ndarray:
    return np.sinc(x / math.pi)


def _wedge(q: int, eps: np.ndarray) -> np.ndarray:
    """M_q(eps) / sin(eps/2)^(2q+1) at angles eps (n,) in [0, pi]."""
    half = np.asarray(eps)[..., None] / 2
    shape = (1 - _NODES**2) * _sinc(half * (1 + _NODES)) * _sinc(half * (1 - _NODES))
    return 2.0**q * math.factorial(q) / (2 * math.pi) * (shape**q @ _WEIGHTS) / _sinc(half[..., 0]) ** (2 * q + 1)


def _wedge_moment(q: int, eps: np.ndarray) -> np.ndarray:
    return np.sin(np.asarray(eps) / 2) ** (2 * q + 1) * _wedge(q, eps)


def numbers_of(q: int, odd: bool) -> tuple[float, float]:
    """(mu, C_jj) of a unit noise part, sigma = 1."""
    double_factorial = math.prod(range(1, 2 * q, 2))
    if odd:
        return 0.0, float(double_factorial)
    mean = 2.0 ** (q / 2) * math.gamma((q + 1) / 2) / (2 * math.sqrt(math.pi))
    return mean, double_factorial / 2 - mean * mean


def cross_of(q: int, odd: bool, eps: np.ndarray) -> np.ndarray:
    """dC/dQ at angles eps (...), unit noise parts, sigma = 1."""
    if odd:
        return 2.0 * q * q * (_wedge_moment(q - 1, eps) + _wedge_moment(q - 1, math.pi - np.asarray(eps)))
    return q * q * _wedge_moment(q - 1, eps)


def functions_of(q: int, odd: bool, eps: np.ndarray) -> tuple[np.ndarray, ...]:
    """(B, X, G, F) of `dynlab.formulas.expansions` at angles eps (n,); F is 0 for odd activations."""
    eps = np.asarray(eps, dtype=np.float64)
    _, variance = numbers_of(q, odd)
    # C = int_0^{sin delta} of cross by c; c = sin u.
    delta = eps - math.pi / 2
    along = delta[:, None] * _HALF_NODES
    covariance = (cross_of(q, odd, math.pi / 2 + along) * np.cos(along)) @ _HALF_WEIGHTS / _sinc(delta)
    theta = (math.pi - eps)[:, None] * _HALF_NODES
    near = (cross_of(q, odd, math.pi - theta) * _HALF_NODES * _sinc(theta)) @ _HALF_WEIGHTS
    near = 2.0 * near / (_sinc((math.pi - eps) / 2) ** 2 * variance)
    cross = cross_of(q, True, eps) if odd else q * q * _wedge(q - 1, eps)
    far = np.zeros_like(eps) if odd else _wedge(q, eps) / variance
    return covariance, cross, near, far


def _powers(values: np.ndarray) -> np.ndarray:
    """Coefficients, the highest first, of a polynomial in x = 2 eps/pi - 1 through values at the Chebyshev points, cut
    where what is left out is below rounding of the function everywhere."""
    vander, series = _CHEBYSHEV, values @ _CHEBYSHEV * (2.0 / expansions.LENGTH)
    series[0] /= 2.0
    full = vander @ series
    for length in range(1, expansions.LENGTH):
        if (abs(vander[:, :length] @ series[:length] - full) <= NEGLIGIBLE * abs(full)).all():
            return chebyshev.cheb2poly(series[:length])[::-1]
    return chebyshev.cheb2poly(series)[::-1]


def _fill(first: int, q: int, odd: bool) -> None:
    """Write the slot that begins at `first` of the table."""
    mean, variance = numbers_of(q, odd)
    slot = np.zeros(expansions.WIDTH)
    slot[[expansions.DEGREE, expansions.MEAN, expansions.SELF]] = q, mean, variance
    eps = (_CHEBYSHEV[:, 1] + 1) * (math.pi / 2)
    places = expansions.COVARIANCE, expansions.CROSS, expansions.NEAR, expansions.FAR
    for place, values in zip(places, functions_of(q, odd, eps), strict=True):
        powers = _powers(values)
        slot[place : place + 1 + len(powers)] = len(powers), *powers
    number_table.TABLE[first : first + expansions.WIDTH] = type(number_table.TABLE)("d", slot.tolist())
