"""How objects show themselves: one short line, and a table that is well formed, escaped and holds the numbers."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab import LinearModel, Model, SettingError, Training
from dynlab.tools import show
from tests.tools.objects import HOSTILE, objects
from tests.waiting import HANGS

OBJECTS = objects()
TABLES = {name: value for name, value in OBJECTS.items() if value[1] is not None}


def cells(html: str) -> list[str]:
    """The texts of all cells and captions; fails where the markup is not well formed or carries any attribute."""
    root = ElementTree.fromstring(f"<div>{html}</div>")
    for element in root.iter():
        assert element.tag in {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}, element.tag
        assert not element.attrib, element.attrib  # no colours, no styles
    for table in root.iter("table"):
        assert len({len(row) for row in table.iter("tr")}) == 1, "rows of different lengths"
    return [element.text or "" for element in root.iter() if element.tag in {"caption", "th", "td"}]


@pytest.mark.parametrize("name", OBJECTS)
def test_repr_is_one_short_line(name):
    text = repr(OBJECTS[name][0])
    assert "\n" not in text and 0 < len(text) < 120
    assert not text.startswith("<"), "the default of Python"


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_well_formed_and_hold_the_numbers(name):
    thing, wanted = TABLES[name]
    found = cells(thing._repr_html_())
    assert wanted
    for value in wanted:
        text = value if isinstance(value, str) else show.number(value, 6)
        assert any(text in cell for cell in found), f"{text} is not in {found}"


def test_what_is_put_into_a_table_is_escaped():
    for html in (show.table([(HOSTILE, HOSTILE)], (HOSTILE, HOSTILE), HOSTILE), show.pairs_table({HOSTILE: HOSTILE})):
        assert "<script" not in html and cells(html).count(HOSTILE) == (5 if "caption" in html else 2)


def test_numbers_of_a_cell_are_those_of_the_value():
    assert show.number(1234567.0, 6) == "1.23457e+06" and show.number(-0.0) == "0" and show.number(True) == "True"
    assert show.number(1.0 - 2.0j) == "1-2i" and show.number(np.float64(0.1), 6) == "0.1"
    assert show.brief(np.eye(3)) == "<3 x 3>" and show.brief(np.array([1.0, 2.5])) == "[1, 2.5]"
    big = show.matrix_table(np.arange(100.0).reshape(10, 10), "m")
    assert "m (10 x 10, its corner)" in cells(big) and "77" in cells(big) and "99" not in cells(big)


def test_settings_show_what_is_not_the_default():
    assert repr(Model()) == "Model()" and repr(Training()) == "Training()"
    assert repr(Model(weak=0.5, noise=1)) == "Model(weak=0.5, noise=1.0)"
    assert repr(Model(strengths=(3, 2, 1))) == "Model(strengths=(3.0, 2.0, 1.0))"
    assert repr(LinearModel(2)) == "LinearModel(X=2, sigma=1.0)"
    with pytest.raises(SettingError):
        Model(weak=2.0)  # the error, not the line, is what a bad value meets


@given(
    weak=st.floats(0.01, 1.0), noise=st.just(0.0) | st.floats(1e-9, 1e3),
    neurons=st.integers(1, 10**6), patches=st.integers(2, 40),
    mask=st.sampled_from(("half", "independent")), activation=st.sampled_from(("relu", "cubic")),
)  # fmt: skip
def test_a_model_can_be_typed_from_its_line(weak, noise, neurons, patches, mask, activation):
    model = Model(1.0, weak, 2 * patches, 1, noise, activation, neurons, mask)
    text = repr(model)
    assert len(text) < 120 and "\n" not in text
    assert "more" in text or eval(text, {"Model": Model}) == model


@given(st.lists(st.text(max_size=50), max_size=9), st.text(max_size=20).filter(lambda name: "\n" not in name))
def test_a_line_never_grows_long(parts, name):
    text = show.line("N", parts)
    assert len(text) <= show.LONGEST and len(text.splitlines()) <= 1
    hidden = [part for part in parts if " ".join(part.split()) not in text]
    assert not hidden or f"and {len(parts) - parts.index(hidden[0])} more" in text


def test_importing_and_showing_settings_stays_light():
    code = (
        "import sys, dynlab\n"
        "heavy = lambda: [m for m in ('numpy', 'numba', 'pandas', 'matplotlib', 'scipy') if m in sys.modules]\n"
        "assert not heavy(), heavy()\n"
        "repr(dynlab.Model()), dynlab.Training()._repr_html_(); assert not heavy(), heavy()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr


def test_a_number_and_its_percent_sign_stay_on_one_line():
    """At every width, and options are not broken at their hyphens."""
    text = "with it 97.5 % of the seeds learn both, without 0.0 % (of 100 only 3 % more), and --eta-head moves it by 12 %"
    for width in range(12, 60):
        lines = show.paragraph(text, width)
        assert " ".join(lines) == text and not any(line.startswith("%") for line in lines)
        assert "--eta-head" in " ".join(lines) and not any(line.endswith("--eta-") for line in lines)
