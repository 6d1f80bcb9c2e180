"""The page in a real browser, Debian's chromium by playwright: `python -m tests.thorough --only browser`.

Not collected with the other tests, which need neither. Screenshots go to the folder DYNLAB_SHOTS names, where it is set.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

import dynlab
from dynlab import __main__
from dynlab.explorer import panels
from dynlab.explorer.explored import Explored

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (1400, 390)
LINES = """() => { try {
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type == "ColumnDataSource" && model.data.w11 && model.data.w11.length > 2)
      return Object.fromEntries(Object.entries(model.data).map(([name, values]) => [name, Array.from(values)]))
} catch (error) {} }"""
TEXT = """(name) => { for (const model of Bokeh.documents[0]._all_models.values())
  if (model.name == name) return model.tags.length ? model.tags[0] : model.text }"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def url():
    served = dynlab.explore()
    yield served.url
    served.stop()


class Watched:
    """A page, with what its console says and what it asks for."""

    def __init__(self, browser, url, width, **more):
        context = browser.new_context(viewport={"width": width, "height": 1000}, accept_downloads=True, **more)
        self.context, self.page, self.said, self.asked = context, context.new_page(), [], []
        self.page.on("console", lambda told: self.said.append((told.type, told.text)))
        self.page.on("pageerror", lambda error: self.said.append(("error", str(error))))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda opened: self.asked.append(opened.url))
        self.page.goto(url)
        self.page.wait_for_function(LINES)

    def lines(self):
        return self.page.evaluate(LINES)

    def changed(self, before):
        """The lines, once they are others."""
        self.page.wait_for_function(f"(before) => JSON.stringify(({LINES})().w11) != before", arg=compact(before["w11"]))
        return self.lines()

    def shot(self, name):
        if "DYNLAB_SHOTS" in os.environ:
            self.page.wait_for_timeout(4000)
            self.page.screenshot(path=str(Path(os.environ["DYNLAB_SHOTS"]) / name), full_page=True)

    def end(self, *places):
        """Nothing went wrong, and nothing was asked for elsewhere."""
        assert [line for line in self.said if line[0] in ("error", "warning")] == []
        assert self.asked and all(one.startswith((*places, "data:", "blob:")) for one in self.asked), self.asked
        self.context.close()


def compact(values):
    import json

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
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    watched.shot(f"page_{width}.png")
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
    assert __main__.main([*shlex.split(line)[1:], "--quiet", "--no-plots", "--out", "repeated"]) == 0
    import pandas as pd

    repeated = pd.read_csv("repeated/trajectory.csv")
    repeated = repeated[repeated["head"] == "off-diagonal"].reset_index(drop=True)
    kept = panels.followed(Explored(weak=0.33)).kept
    shown = watched.lines()
    for name, column in (("time", "time"), ("w21", "signal_2_1"), ("E12", "head_1_2"), ("loss", "loss")):
        assert np.array_equal(np.abs(repeated[column].to_numpy()[kept]), np.array(shown[name])), name
    with watched.page.expect_download() as begun:
        watched.page.get_by_role("button", name="download CSV").click()
    assert Path(begun.value.path()).read_bytes() == (tmp_path / "repeated" / "trajectory.csv").read_bytes()
    watched.end(*own(url))


def test_touch_moves_a_slider_and_the_cursor(browser, url):
    watched = Watched(browser, url, 390, has_touch=True, is_mobile=True)
    before = watched.lines()
    track = watched.page.locator(".noUi-target").nth(1)
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    watched.page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert max(watched.changed(before)["w11"]) > 0.0
    assert "--weak 0.3 " not in settled(watched)
    watched.page.get_by_text("T₁", exact=True).last.tap()
    watched.end(*own(url))


def test_the_page_that_stands_alone_moves_without_a_network(browser, tmp_path):
    from dynlab.explorer import static_page

    file = tmp_path / "page.html"
    assert static_page.write_page(file, Explored()) < 5e6
    for width in WIDTHS:
        watched = Watched(browser, file.as_uri(), width, offline=True)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
        first, computed = watched.lines(), panels.followed(Explored())
        for name in ("w21", "w12", "E12"):  # a float32 of the lines' points
            largest = float(computed.lines[name].max())
            assert max(first[name]) == pytest.approx(largest, rel=1e-3), name
        assert first["place"][0] == 0.0 and first["place"][-1] == 1.0 and len(first["place"]) == static_page.POINTS
        watched.page.get_by_role("button", name="none").click()
        without = watched.changed(first)
        assert max(without["E12"]) == 0.0 and max(first["E12"]) > 0.05
        watched.shot(f"alone_{width}.png")
        watched.end(file.as_uri())
