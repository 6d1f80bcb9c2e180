"""What hypothesis draws does not depend on which modules are loaded."""

import os
import subprocess
import sys
from pathlib import Path

import tests

DRAWN = """
import sys
sys.path[:0] = [{tests!r}, {folder!r}]
import tests.conftest
{before}
from hypothesis import given, strategies as st

drawn = []

@given(st.lists(st.integers(0, 10**6) | st.floats(0, 1e6), min_size=9))
def draw(numbers):
    drawn.append(numbers)

draw()
print(drawn)
"""


def drawn(folder: Path, before: str) -> str:
    """What a process draws that ran `before` first, in a folder where constants.py can be imported."""
    (folder / "constants.py").write_text(f"NUMBERS = {[*range(1000, 1200), *(0.1 + k for k in range(200))]}\n")
    code = DRAWN.format(tests=str(Path(tests.__file__).parent.parent), folder=str(folder), before=before)
    environment = os.environ | {"HYPOTHESIS_PROFILE": "ci"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_constants_of_loaded_modules_are_not_drawn(tmp_path):
    without = drawn(tmp_path, "")
    assert len(without) > 1000
    assert drawn(tmp_path, "import constants") == without


def test_constants_would_be_drawn(tmp_path):
    """The same with hypothesis as it comes: the draws differ, so the test above can fail."""
    as_it_comes = "from hypothesis.internal import constants_ast\ntests.conftest.providers.is_local_module_file = "
    as_it_comes += "constants_ast.is_local_module_file\n"
    assert drawn(tmp_path, as_it_comes + "import constants") != drawn(tmp_path, as_it_comes)
