"""The version, the one place that has it, and when this process loaded it."""

import time

__version__ = "0.1.0"
_IMPORTED = time.time()  # `dynlab.machine.cache` keeps no kernels of sources that were edited later
