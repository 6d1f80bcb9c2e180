"""Names of types that many hints use; imported for type checkers alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Triple = tuple[Array, Array, Array]
