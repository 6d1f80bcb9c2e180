"""The figures, where dynlab runs from its source: the folder figures beside it. A wheel holds it in place of this."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "figures"
_SPEC = spec_from_file_location(__name__, _BESIDE / "__init__.py", submodule_search_locations=[str(_BESIDE)])
if _SPEC is None or _SPEC.loader is None:
    raise ImportError(f"{_BESIDE}: holds no package")
sys.modules[__name__] = module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules[__name__])
