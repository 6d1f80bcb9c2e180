"""The page in a real browser, Debian's chromium by playwright: `python -m tests.thorough --only browser`.

Not collected with the other tests, which need neither.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import dynlab
from dynlab import __main__
from dynlab.explorer import panels
from dynlab.explorer.explored import Explored
from tests.browsing import WIDTHS, Tab, chromium

LINES = """() => { try {
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type == "ColumnDataSource" && model.data.w11 && model.data.w11.length > 2)
      return Object.fromEntries(Object.entries(model.data).map(([name, values]) => [name, Array.from(values)]))
} catch (error) {} }"""
TEXT = """(name) => { for (const model of Bokeh.documents[0]._all_models.values())
  if (model.name == name) return model.tags.length ? model.tags[0] : model.text }"""
TITLE = """(name) => { for (const model of Bokeh.documents[0]._all_models.values())
  if (model.name == name) return model.title }"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def url():
    served = dynlab.explore()
    yield served.url
    served.stop()


class Watched(Tab):
    """A page with sliders, once its lines are there."""

    def __init__(self, browser, url, width, **more):
        super().__init__(browser, width, **more)
        self.page.goto(url)
        self.page.wait_for_function(LINES)

    def lines(self):
        return self.page.evaluate(LINES)

    def changed(self, before):
        """The lines, once they are others."""
        self.page.wait_for_function(f"(before) => JSON.stringify(({LINES})().w11) != before", arg=compact(before["w11"]))
        return self.lines()


def compact(values):
    return json.dumps(values, separators=(",", ":"))


def own(url):
    return url, url.replace("http:", "ws:")


def settled(watched):
    """The command that is shown, once it no longer changes."""
    watched.page.wait_for_timeout(1500)
    return watched.page.evaluate(TEXT, "command")


@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_says_nothing_wrong(browser, url, width):
    watched = Watched(browser, url, width)
    assert watched.fits()
    watched.shot(f"page_{width}.png", wait=4000)
    watched.end(*own(url))


def test_the_keyboard_moves_a_slider_and_the_command_repeats_the_numbers(browser, url, tmp_path, monkeypatch):
    watched = Watched(browser, url, 1400)
    before = watched.lines()
    handle = watched.page.locator(".noUi-handle").nth(1)
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    watched.changed(before)
    line = settled(watched)
    assert "--weak 0.33 " in line
    monkeypatch.chdir(tmp_path)
    assert __main__.main([*shlex.split(line)[1:], "--quiet", "--out", "repeated"]) == 0
    import pandas as pd

    repeated = pd.read_csv("repeated/trajectory.csv")
    repeated = repeated[repeated["head"] == "off-diagonal"].reset_index(drop=True)
    kept = panels.followed(Explored(weak=0.33)).kept
    shown = watched.lines()
    for name, column in (("time", "time"), ("w21", "signal_2_1"), ("E12", "head_1_2"), ("loss", "loss")):
        assert np.array_equal(np.abs(repeated[column].to_numpy()[kept]), np.array(shown[name])), name
    for kind, name in (("CSV", "trajectory.csv"), ("PDF", "phases.pdf")):
        with watched.page.expect_download() as begun:
            watched.page.get_by_role("button", name=f"download {kind}").click()
        assert begun.value.suggested_filename == name
        assert Path(begun.value.path()).read_bytes() == (tmp_path / "repeated" / name).read_bytes(), kind
    watched.end(*own(url))


def slider(watched, name):
    """The track of a slider, by the name of its setting."""
    title = watched.page.evaluate(TITLE, name)
    return watched.page.locator(".bk-input-group", has_text=title).locator(".noUi-target")


def test_hidden_units_move(browser, url, tmp_path, monkeypatch):
    watched = Watched(browser, url, 1400)
    cubic = watched.lines()
    watched.page.locator(".bk-input-group", has_text="activation").locator("select").select_option("relu")
    before = watched.changed(cubic)
    handle = slider(watched, "hidden").locator(".noUi-handle")
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    watched.changed(before)
    watched.page.wait_for_function(f"(end) => ({TEXT})('command').includes(end)", arg="--hidden 4")
    line = settled(watched)
    note = watched.page.evaluate(TEXT, "note")
    assert "hidden units" in note.lower(), note
    monkeypatch.chdir(tmp_path)
    assert __main__.main([*shlex.split(line)[1:], "--quiet", "--no-plots", "--out", "repeated"]) == 0
    with watched.page.expect_download() as begun:
        watched.page.get_by_role("button", name="download CSV").click()
    assert Path(begun.value.path()).read_bytes() == (tmp_path / "repeated" / "trajectory.csv").read_bytes()
    watched.shot("page_hidden_1400.png", wait=4000)
    watched.end(*own(url))


def test_touch_moves_a_slider_and_the_cursor(browser, url):
    watched = Watched(browser, url, 390, has_touch=True, is_mobile=True)
    before = watched.lines()
    track = slider(watched, "weak")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    watched.page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    tapped = watched.changed(before)
    assert max(tapped["w11"]) > 0.0
    line = settled(watched)
    assert "--weak 0.3 " not in line
    # A finger that is put on the handle and drawn to the left.
    touch = watched.context.new_cdp_session(watched.page)
    box, handle = track.bounding_box(), track.locator(".noUi-handle").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in range(1, 11):
        at = x + part / 10 * (box["x"] + 0.3 * box["width"] - x)
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": at, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    watched.changed(tapped)
    assert settled(watched) != line
    moment = watched.page.evaluate(TITLE, "moment")
    watched.page.get_by_text("T₁", exact=True).last.tap()
    watched.page.wait_for_function(f"(before) => ({TITLE})('moment') != before", arg=moment)
    watched.shot("page_touched_390.png", wait=4000)
    watched.end(*own(url))


def test_the_page_that_stands_alone_moves_without_a_network(browser, tmp_path):
    from dynlab.explorer import static_page

    file = tmp_path / "page.html"
    assert static_page.write_page(file, Explored()) < 5e6
    for width in WIDTHS:
        watched = Watched(browser, file.as_uri(), width, offline=True)
        assert watched.fits()
        first, computed = watched.lines(), panels.followed(Explored())
        for name in ("w21", "w12", "E12"):  # a float32 of the lines' points
            largest = float(computed.lines[name].max())
            assert max(first[name]) == pytest.approx(largest, rel=1e-3), name
        assert first["place"][0] == 0.0 and first["place"][-1] == 1.0 and len(first["place"]) == static_page.POINTS
        watched.page.get_by_role("button", name="none").click()
        without = watched.changed(first)
        assert max(without["E12"]) == 0.0 and max(first["E12"]) > 0.05
        watched.shot(f"alone_{width}.png", wait=4000)
        watched.end(file.as_uri())
