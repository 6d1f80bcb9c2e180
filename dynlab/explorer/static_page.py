"""The page as one file: a grid of trajectories in place of the solver. It opens from a disk, without a network or a server.

Numbers are float32, in units that a picture shows: to repeat them exactly there is the command beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, Div, RadioButtonGroup, Slider
from bokeh.resources import INLINE

from dynlab.explorer import panels
from dynlab.explorer.bokeh_panels import (
    APART,
    BAR_COLOURS,
    LOOKS,
    STRIP_ROWS,
    BarPanel,
    PortraitPanel,
    StripPanel,
    TimePanels,
    outcome_key,
    phase_columns,
)
from dynlab.explorer.explored import Explored
from dynlab.explorer.page_template import INSIDE, TITLE, page
from dynlab.explorer.plane_field import ROOM
from dynlab.tools.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

WEAK = (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)  # in units of the strong feature
RATES = (0.0, 0.001, 0.01, 0.1, 1.0)  # of the head; 0: none
SEEDS = 5
POINTS = 110  # of a trajectory
COLUMNS = ("place", "time", *LOOKS, "x", "y")
SHOW = """
const at = (weak.active * rates + rate.active) * seeds + seed.active
const told = runs[at], bars = told.bars.length, wide = columns.length + bars, N = points
const {buffer, byteOffset} = grid.data.numbers
const part = (k) => new Float32Array(buffer, byteOffset + 4 * (at * most + k) * N, N)
const place = part(0)
let now = 0
for (let i = 0; i < N; i++) if (Math.abs(place[i] - cursor.value) < Math.abs(place[now] - cursor.value)) now = i
const share = []
for (let k = 0; k < bars; k++) share.push(part(columns.length + k)[now])
if (at != shown.data.at[0]) {
  force.data = {term: [], share: [], colour: []}
  terms.factors = told.bars
}
force.data = {term: told.bars, share: share, colour: told.colours}
point.data = {x: [part(columns.indexOf("x"))[now]], y: [part(columns.indexOf("y"))[now]]}
line.data = {x: [cursor.value, cursor.value], y: [-1e3, 1e3]}
cursor.title = "moment: t = " + part(1)[now].toPrecision(4)
if (at == shown.data.at[0]) return
shown.data = {at: [at]}
const data = {}
for (const [k, name] of columns.entries()) data[name] = part(k)
way.data = {x: data.x, y: data.y}
delete data.x; delete data.y
lines.data = data
phases.data = told.phases
ticker.ticks = told.ticks
for (const [n, axis] of axes.entries()) {
  axis.major_label_overrides = new Map(told.ticks.map((tick, k) => [tick, told.labels[k]]))
  let top = 0
  for (const name of names[n]) for (const value of data[name]) if (value > top) top = value
  ranges[n].setv({start: -0.03 * (top || 1), end: 1.12 * (top || 1)})
}
for (const side of sides) side.setv({start: -told.reach, end: told.reach})
plane.text = told.heading
story.text = told.story
command.text = told.command
for (const [n, strip] of strips.entries()) {
  for (const [k, cells] of strip.entries()) {
    const starts = Array.from(told.outcomes[n]).flatMap((outcome, start) => Number(outcome) == k ? [start] : [])
    const x = starts.map((start) => Math.floor(start / rows) + 0.5)
    cells.data = {x, y: starts.map((start) => rows - 0.5 - start % rows)}
  }
  headings[n].text = told.shares[n]
}
"""


def grid_of(chosen: Explored) -> list[Explored]:
    """The settings of the grid, seeds fastest, then rates; other settings as they are chosen."""
    made = []
    for ratio in WEAK:
        for rate in RATES:
            changed = {"head": "off-diagonal", "eta_head": rate} if rate else {"head": "none"}
            made += [replace(chosen, weak=ratio * chosen.strong, seed=seed, **changed) for seed in range(SEEDS)]
    return made


def write_page(place: Path, chosen: Explored, progress: Callable[[int, int], Any] | None = None) -> int:
    """Compute the grid around `chosen` and write the page to the file `place`; returns its size in bytes.

    progress: called with trajectories done and to do.
    """
    made = grid_of(chosen)
    strips: dict[Explored, tuple[str, str]] = {}
    numbers, told = [], []
    for count, one in enumerate(made, 1):
        shown = panels.followed(one)
        values, names = samples(shown)
        numbers.append(values)
        told.append(words_of(shown, names) | strips_of(one, strips))
        if progress is not None:
            progress(count, len(made))
    most = max(map(len, numbers))
    whole = np.zeros((len(made), most, POINTS), np.float32)
    for n, values in enumerate(numbers):
        whole[n, : len(values)] = values
    text = _html(whole, told)
    write_whole(place, text)
    return len(text.encode())


def samples(shown: panels.Followed) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """(rows, `POINTS`) numbers of a trajectory: `COLUMNS`, then its bars; and the names of those."""
    # Points of the lines that are drawn, as evenly over the axis as over the solver's steps.
    places = shown.lines["place"]
    along = np.linspace(0.0, 1.0, len(places)) + (places - places[0]) / max(np.ptp(places), 1e-9)
    kept = np.abs(along[:, None] - np.linspace(0.0, along[-1], POINTS)).argmin(0)
    answers = shown.run.answers[shown.kept][:, shown.borrower]
    rows = [shown.lines[name][kept] for name in COLUMNS[:-2]] + [answers[kept, 0], answers[kept, 1]]
    bars = [panels.force_bars(shown, int(shown.kept[k])) for k in kept]
    names = max(([(bar.coordinate, bar.term) for bar in moment] for moment in bars), key=len)
    shares = np.zeros((len(names), POINTS))
    for k, moment in enumerate(bars):
        shares[: len(moment), k] = [bar.share for bar in moment]
    return np.vstack([*rows, shares[::-1]]).astype(np.float32), names[::-1]


def words_of(shown: panels.Followed, names: list[tuple[str, str]]) -> dict[str, Any]:
    """What the page says of a trajectory, and where its axes begin and end."""
    decades = shown.scale.decades(APART)
    ticks = [float(shown.scale.places(np.array(10.0**n))) for n in decades]
    reach = ROOM * float(np.abs(shown.run.answers[:, shown.borrower]).max())
    return {
        "bars": names, "colours": [BAR_COLOURS[term] for _, term in names],
        "phases": phase_columns(shown), "ticks": ticks, "labels": [panels.superscript(n) for n in decades],
        "reach": reach, "heading": f"<h3>Portrait: the way of neuron {shown.borrower + 1}, the borrower</h3>",
        "story": f"<p>{escape(panels.story(shown))}</p>", "command": f"<pre>{escape(shown.chosen.command())}</pre>",
    }  # fmt: skip


def strips_of(one: Explored, known: dict[Explored, tuple[str, str]]) -> dict[str, list[str]]:
    """Outcomes of 256 starts with the head and without, a digit each, and in words; known: those computed before."""
    found: dict[str, list[str]] = {"outcomes": [], "shares": []}
    for title, settings in (("With the head", replace(one, seed=0)), ("Without", replace(one.without_head, seed=0))):
        if settings not in known:
            outcomes = np.concatenate(list(panels.outcome_pieces(settings)))
            known[settings] = "".join(map(str, outcomes)), panels.outcome_words(outcomes)
        digits, words = known[settings]
        found["outcomes"].append(digits)
        found["shares"].append(f"<h3>{title if settings.head != 'none' else 'Without'}: {escape(words)}</h3>")
    return found


def _html(whole: np.ndarray, told: list[dict[str, Any]]) -> str:
    time, portrait, bars = TimePanels(), PortraitPanel(), BarPanel()
    strips = [StripPanel("With the head"), StripPanel("Without")]
    wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
    choices = {
        "weak": RadioButtonGroup(labels=[f"{weak:g}" for weak in WEAK], active=2, **wide),
        "rate": RadioButtonGroup(labels=["none", *(f"{rate:g}" for rate in RATES[1:])], active=2, **wide),
        "seed": RadioButtonGroup(labels=[str(seed) for seed in range(SEEDS)], active=0, **wide),
    }
    names = {"weak": "weak feature (strong: 1)", "rate": "head's rate", "seed": "random start"}
    controls = [part for name, widget in choices.items() for part in (_words(f"<h3>{names[name]}</h3>"), widget)]
    cursor = Slider(title="moment", start=0.0, end=1.0, step=0.001, value=0.6, show_value=False, tooltips=False, **wide)
    story, command, key = _words(""), _words(""), _words(outcome_key())
    code = CustomJS(code=SHOW, args=choices | {
        "grid": ColumnDataSource({"numbers": whole.ravel()}), "runs": told, "points": POINTS, "most": whole.shape[1],
        "columns": list(COLUMNS), "rates": len(RATES), "seeds": SEEDS, "cursor": cursor, "line": time.cursor,
        "lines": time.lines, "phases": time.phases, "ticker": time.ticker, "names": [list(part) for part in time.names],
        "axes": [drawn.xaxis[0] for drawn in time.figures], "ranges": [drawn.y_range for drawn in time.figures],
        "way": portrait.sources["way"], "point": portrait.sources["now"], "plane": portrait.heading,
        "sides": [portrait.figure.x_range, portrait.figure.y_range], "force": bars.source, "terms": bars.figure.y_range,
        "story": story, "command": command, "strips": [strip.sources for strip in strips],
        "headings": [strip.heading for strip in strips], "rows": STRIP_ROWS,
        "shown": ColumnDataSource({"at": [-1]}),
    })  # fmt: skip
    for widget in choices.values():
        widget.js_on_change("active", code)
    cursor.js_on_change("value", code)
    portrait.figure.xaxis.axis_label, portrait.figure.yaxis.axis_label = "signal of the strong feature", "of the weak"
    times = [part for pair in zip(time.headings, time.figures, strict=True) for part in pair]
    roots = {
        "controls": column(*controls, **wide), "told": story, "times": column(*times, cursor, **wide),
        "portrait": column(portrait.heading, portrait.figure, **wide),
        "bars": column(bars.heading, bars.figure, **wide),
        "strips": column(*(part for strip in strips for part in (strip.heading, strip.figure)), key, **wide),
        "repeat": command,
    }  # fmt: skip
    for name, root in roots.items():
        root.name = f"root_{name}"
    document = Document()
    for root in roots.values():
        document.add_root(root)
    document.js_on_event(DocumentReady, code)  # the first picture, by the same code as all others
    return file_html(document, INLINE, TITLE, template=_template())


def _words(text: str) -> Div:
    return Div(text=text, stylesheets=[INSIDE], sizing_mode="stretch_width")


def _template() -> str:
    sections = {
        "controls": "Move these", "told": "", "times": "", "portrait": "", "bars": "",
        "strips": "256 random starts of seed 0; the framed one is random start 0 above", "repeat": "This command repeats it",
    }  # fmt: skip
    more = " This file holds a grid of settings; <code>dynlab explore</code> computes any, with the field in the portrait."
    return page(sections, more)
