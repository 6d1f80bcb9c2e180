"""The panels of the page as figures of bokeh, and what puts numbers into them. It computes nothing.

A browser draws them up to thirty times a second, so each panel is a few long lines (gaps are nan) and no legend, annotation
or title of bokeh's, whose styles are looked up anew at every repaint: keys and headings are HTML above the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import ColumnDataSource, Div, FactorRange, FixedTicker, Range1d
from bokeh.plotting import figure

from dynlab.drawing.phases import PHASE_NAMES, PHASE_SHADES
from dynlab.drawing.style import COLOURS
from dynlab.explorer.page_template import INSIDE
from dynlab.explorer.panels import OUTCOME_WORDS, STARTS, superscript

if TYPE_CHECKING:
    from dynlab.explorer.panels import Bar, Followed
    from dynlab.explorer.plane_field import PlaneField, RestingPoint

STRONG, WEAK, DARK, PALE_BLUE, PALE_RED, GREEN = COLOURS[0], COLOURS[1], "#222222", "#7FB8DA", "#EBAE7F", "#009E73"
NOW = "#E69F00"
# Of each line of the time panels: colour, dashes (of bokeh and of SVG), width, words. The feature has the colour, the first
# neuron a broad pale line: both show where they lie on each other; dashes tell in grey.
LOOKS: dict[str, tuple[str, list[int], float, str]] = {
    "w11": (PALE_BLUE, [], 5.0, "neuron 1, strong"), "w21": (STRONG, [7, 3], 2.2, "neuron 2, strong"),
    "w12": (PALE_RED, [5, 3], 5.0, "neuron 1, weak"), "w22": (WEAK, [2, 2], 2.2, "neuron 2, weak"),
    "E21": (DARK, [], 2.2, "E₂₁: output 2 borrows"), "E12": ("#CC79A7", [4, 3], 2.2, "E₁₂: output 1 borrows"),
    "first": (DARK, [], 2.2, "larger eigenvalue"), "second": ("#777777", [6, 3], 2.2, "smaller"),
    "loss": (GREEN, [2, 2], 2.2, "loss"),
}  # fmt: skip
LINE_NAMES = ("place", "time", *LOOKS)
# Of the strip: colour, hatch of bokeh, and the same as CSS; they tell in grey.
OUTCOME_LOOKS = (
    (GREEN, " ", "none"),
    (PALE_BLUE, "horizontal_line", "repeating-linear-gradient(0deg, #333 0 1px, transparent 1px 5px)"),
    (PALE_RED, "vertical_line", "repeating-linear-gradient(90deg, #333 0 1px, transparent 1px 5px)"),
    ("#F0F0F0", "dot", "radial-gradient(#333 1px, transparent 1px)"),
    ("#CCCCCC", "right_diagonal_line", "repeating-linear-gradient(135deg, #333 0 1px, transparent 1px 5px)"),
    ("#FFFFFF", "cross", "repeating-linear-gradient(45deg, #333 0 1px, transparent 1px 4px)"),
)
STRIP_ROWS = 8  # of the strip
APART = 0.075  # of the axis: from one label of time to the next
BAR_COLOURS = {
    "learning": GREEN, "borrowing": "#CC79A7", "centring": "#999999", "lending": NOW,
    "drive": DARK, "noise": "#56B4E9", "mismatch": WEAK,
}  # fmt: skip
GAP = np.array([np.nan])


def plain(height: int, **more: Any) -> Any:
    """A figure without tools, as wide as its column; its heading stands above it, where it can wrap."""
    made = figure(height=height, sizing_mode="stretch_width", tools="", toolbar_location=None, min_border_right=12, **more)
    made.outline_line_color = "#bbbbbb"
    made.grid.grid_line_color = None
    for axis in made.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
        axis.minor_tick_line_color = None
    return made


def heading(text: str, more: str = "") -> Div:
    """A heading above a figure; more: HTML below it."""
    return Div(text=heading_text(text, more), stylesheets=[INSIDE], sizing_mode="stretch_width")


def heading_text(text: str, more: str = "") -> str:
    """The HTML of a heading."""
    return f"<h3>{escape(text)}</h3>{more}"


def line_key(looks: Sequence[tuple[str, list[int], float, str]]) -> str:
    """A key of lines as HTML."""
    drawn = (
        f'<span><svg width="30" height="8"><line x1="0" y1="4" x2="30" y2="4" stroke="{colour}" stroke-width="{width}" '
        f'stroke-dasharray="{" ".join(map(str, dashes)) or "none"}"/></svg>{words}</span>'
        for colour, dashes, width, words in looks
    )
    return f'<div class="keys">{"".join(drawn)}</div>'


class TimePanels:
    """Signals, head, and spectrum with loss against time, one axis for all, phases shaded and a cursor through them."""

    def __init__(self) -> None:
        self.lines = ColumnDataSource({name: np.zeros(2) for name in LINE_NAMES})
        self.phases = ColumnDataSource({name: [] for name in ("left", "right", "bottom", "top", "colour", "middle", "name")})
        self.cursor = ColumnDataSource({"x": [0.5, 0.5], "y": [-1e3, 1e3]})
        self.across, self.ticker = Range1d(0.0, 1.0), FixedTicker(ticks=[])
        phases = "; ".join(f"<b>{name}</b> {what}" for name, what in PHASE_NAMES.items())
        shaded = f"<p>Shaded: {phases}</p>"
        told = (
            ("Signals: how much of each feature each neuron has", ("w11", "w21", "w12", "w22"), shaded, 230),
            ("Head: what each output borrows from the other neuron", ("E21", "E12"), "", 150),
            ("Outputs: eigenvalues of their correlations (1, 1: two numbers; 2, 0: collapsed onto one) and the loss",
             ("first", "second", "loss"), "", 190),
        )  # fmt: skip
        self.headings, self.figures, self.names = [], [], [names for _, names, _, _ in told]
        for title, names, more, height in told:
            self.headings.append(heading(title, more + line_key([LOOKS[name] for name in names])))
            self.figures.append(self._panel(names, height))
        self.figures[-1].xaxis.axis_label = "time t = steps × learning rate (log)"
        self.figures[0].text("middle", 0.0, text="name", source=self.phases, y_offset=-4, text_font_size="13px",
                             text_font_style="bold", text_align="center")  # fmt: skip

    def _panel(self, names: Sequence[str], height: int) -> Any:
        drawn = plain(height, x_range=self.across, y_range=Range1d(-0.03, 1.0))
        drawn.xaxis.ticker = self.ticker
        drawn.quad(left="left", right="right", bottom="bottom", top="top", source=self.phases, fill_color="colour",
                   line_color="#999999", line_width=0.5)  # fmt: skip
        for name in names:
            colour, dashes, width, _ = LOOKS[name]
            drawn.line("place", name, source=self.lines, line_color=colour, line_dash=dashes, line_width=width)
        drawn.line("x", "y", source=self.cursor, line_color=DARK, line_width=2)
        return drawn

    def show(self, shown: Followed) -> None:
        """Draw a trajectory."""
        lines, scale = shown.lines, shown.scale
        self.lines.data = {name: lines[name] for name in LINE_NAMES}
        decades = scale.decades(APART)
        places = scale.places(np.array([10.0**n for n in decades])).tolist() if decades else []
        if places != self.ticker.ticks:
            self.ticker.ticks = places
            for drawn in self.figures:
                drawn.xaxis.major_label_overrides = {p: superscript(n) for p, n in zip(places, decades, strict=True)}
        self.phases.data = phase_columns(shown)
        for drawn, names in zip(self.figures, self.names, strict=True):
            top = max([float(np.nanmax(lines[name], initial=0.0)) for name in names]) or 1.0
            drawn.y_range.update(start=-0.03 * top, end=1.12 * top)

    def move(self, place: float) -> None:
        """Put the cursor at a place of the axis."""
        self.cursor.data = {"x": [place, place], "y": [-1e3, 1e3]}


def phase_columns(shown: Followed) -> dict[str, list]:
    """The shaded phases as columns of rectangles."""
    spans = {name: [float(p) for p in shown.scale.places(np.array(window))] for name, window in shown.windows.items()}
    return {
        "left": [left for left, _ in spans.values()], "right": [right for _, right in spans.values()],
        "bottom": [-1e3] * len(spans), "top": [1e3] * len(spans), "colour": [PHASE_SHADES[name] for name in spans],
        "middle": [(left + right) / 2 for left, right in spans.values()], "name": list(spans),
    }  # fmt: skip


class PortraitPanel:
    """The plane of one neuron's two signals: the way it takes, where it is now, and the field at this moment."""

    LINES = ("way", "field", "strong", "weak")
    POINTS = ("stable", "other", "now")

    def __init__(self) -> None:
        self.sources = {name: ColumnDataSource({"x": [], "y": []}) for name in (*self.LINES, *self.POINTS)}
        looks: dict[str, tuple[str, list[int], float, str]] = {
            "way": (DARK, [], 3.0, "its way"), "field": ("#8a8a8a", [], 1.1, "direction of motion"),
            "strong": (STRONG, [], 2.0, "strong signal at rest"), "weak": (WEAK, [6, 4], 2.0, "weak signal at rest"),
        }  # fmt: skip
        self.key = line_key(list(looks.values())) + "<p>★ the cursor's moment; ● stable; ○ saddle or unstable</p>"
        self.heading = heading("Portrait", self.key)
        drawn = self.figure = plain(400, x_range=Range1d(-1, 1), y_range=Range1d(-1, 1))
        for name in ("field", "strong", "weak", "way"):
            colour, dashes, width, _ = looks[name]
            drawn.line("x", "y", source=self.sources[name], line_color=colour, line_dash=dashes, line_width=width)
        drawn.scatter("x", "y", source=self.sources["stable"], size=12, color=DARK)
        drawn.scatter("x", "y", source=self.sources["other"], size=11, line_color=DARK, fill_color="white", line_width=2)
        drawn.scatter("x", "y", source=self.sources["now"], marker="star", size=20, line_color="white", fill_color=NOW)

    def _set(self, name: str, x: Any, y: Any) -> None:
        self.sources[name].data = {"x": x, "y": y}

    def show(self, shown: Followed, neuron: int, reach: float) -> None:
        """Draw the way of a neuron on a plane that reaches from -reach to reach."""
        answers = shown.run.answers[shown.kept][:, neuron]
        self._set("way", answers[:, 0], answers[:, 1])
        what, whose = ("answers", "output") if shown.run.model.layered else ("signals", "neuron")
        told = f"Portrait: the two {what} of {whose} {neuron + 1}, the rest held as it is at the cursor"
        self.heading.text = heading_text(told, self.key)
        low = "₁₂"[neuron]
        self.figure.xaxis.axis_label, self.figure.yaxis.axis_label = f"⟨w{low}, v₁⟩ (strong)", f"⟨w{low}, v₂⟩ (weak)"
        for side in (self.figure.x_range, self.figure.y_range):
            side.update(start=-reach, end=reach)

    def move(self, shown: Followed, neuron: int, index: int, field: PlaneField | None) -> None:
        """Show one moment: the point, and the field where there is one."""
        at = shown.run.answers[index, neuron]
        self._set("now", at[:1], at[1:])
        self.rest([])
        if field is None:
            for name in self.LINES[1:]:
                self._set(name, [], [])
            return
        self._set("field", *arrows(field))
        for name, lines in (("strong", field.strong), ("weak", field.weak)):
            self._set(name, *one_line(lines))

    def rest(self, points: Sequence[RestingPoint]) -> None:
        """Draw the resting points."""
        for name, stable in (("stable", True), ("other", False)):
            kept = [point for point in points if (point.kind == "stable") == stable]
            if kept or len(self.sources[name].data["x"]):
                self._set(name, [point.x for point in kept], [point.y for point in kept])


def one_line(lines: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Polylines (n, 2) as one line with gaps."""
    parts = [part for line in lines for part in (line, np.full((1, 2), np.nan))]
    whole = np.concatenate(parts) if parts else np.zeros((0, 2))
    return whole[:, 0], whole[:, 1]


def arrows(field: PlaneField) -> tuple[np.ndarray, np.ndarray]:
    """Arrows of one length, which their direction alone tells, as one line with gaps; none where nothing moves."""
    speed = np.hypot(field.along, field.up)
    kept = np.isfinite(speed) & (speed > 0.0)
    centre = np.column_stack([field.x, field.y])[kept]
    half = 0.7 * field.reach / max(round(len(field.x) ** 0.5), 1)
    along = half * np.column_stack([field.along, field.up])[kept] / speed[kept, None]
    across = along[:, ::-1] * [-1.0, 1.0]
    tip, gap = centre + along, np.full_like(along, np.nan)
    barbs = [tip - 0.45 * along + side * 0.28 * across for side in (1.0, -1.0)]
    path = np.stack([centre - along, tip, barbs[0], tip, barbs[1], gap], axis=1).reshape(-1, 2)
    return path[:, 0], path[:, 1]


class BarPanel:
    """The force at the cursor, split into terms."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"term": [], "share": [], "colour": []})
        told = "<p>Share of all terms of each coordinate; to the right: it grows.</p>"
        self.heading = heading("Force at the cursor, split into its terms", told)
        # Of two levels from the beginning: a browser cannot go from none to two.
        self.figure = plain(290, y_range=FactorRange(factors=[("⟨w₁,v₁⟩", "learning")]), x_range=Range1d(-1.05, 1.05))
        self.figure.hbar(y="term", right="share", height=0.75, source=self.source, fill_color="colour", line_color=DARK)
        self.figure.ygrid.grid_line_color = None
        self.figure.xgrid.grid_line_color = "#cccccc"
        self.figure.y_range.range_padding = 0.03

    def show(self, bars: Sequence[Bar]) -> None:
        """Draw the bars, the first on top."""
        terms = [(bar.coordinate, bar.term) for bar in reversed(bars)]
        if terms and terms != list(self.figure.y_range.factors):
            self.source.data = {"term": [], "share": [], "colour": []}  # no bar is ever without its place on the axis
            self.figure.y_range.factors = terms
        shares, before = [round(bar.share, 4) for bar in reversed(bars)], self.source.data
        if terms != before["term"] or shares != before["share"]:
            colours = [BAR_COLOURS[bar.term] for bar in reversed(bars)]
            self.source.data = {"term": terms, "share": shares, "colour": colours}


class StripPanel:
    """Outcomes of many starts, a cell each; the first, framed, is the start that is shown.

    Each outcome is a glyph with a source of its own: a browser makes one canvas for the hatch of a glyph, but one for each
    cell where hatches are a column.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.sources = [ColumnDataSource({"x": [], "y": []}) for _ in OUTCOME_LOOKS]
        self.heading = heading(title)
        drawn = self.figure = plain(120, x_range=Range1d(0, STARTS // STRIP_ROWS), y_range=Range1d(0, STRIP_ROWS))
        looks: dict[str, Any] = {"line_color": "#999999", "line_width": 0.5}
        drawn.rect(*cell_places(range(STARTS)), 0.9, 0.86, fill_color="white", **looks)
        for source, (colour, hatch, _) in zip(self.sources, OUTCOME_LOOKS, strict=True):
            drawn.rect("x", "y", 0.9, 0.86, source=source, fill_color=colour, hatch_pattern=hatch, hatch_color="#333333",
                       hatch_scale=6, hatch_weight=0.7, **looks)  # fmt: skip
        drawn.rect([0.5], [STRIP_ROWS - 0.5], 0.9, 0.86, fill_color=None, line_color=DARK, line_width=2.5)
        drawn.axis.visible = False

    def show(self, outcomes: Sequence[int], words: str) -> None:
        """Draw the outcomes that are known, in order, and say their shares."""
        for number, source in enumerate(self.sources):
            x, y = cell_places([start for start, outcome in enumerate(outcomes) if outcome == number])
            if x != source.data["x"] or y != source.data["y"]:
                source.data = {"x": x, "y": y}
        self.heading.text = heading_text(f"{self.title}: {words or '…'}")


def cell_places(starts: Sequence[int]) -> tuple[list[float], list[float]]:
    """The middles of the cells of starts."""
    return [start // STRIP_ROWS + 0.5 for start in starts], [STRIP_ROWS - 0.5 - start % STRIP_ROWS for start in starts]


def outcome_key() -> str:
    """The looks of the outcomes as HTML."""
    pairs = zip(OUTCOME_LOOKS, OUTCOME_WORDS, strict=True)
    cells = (f'<span><i style="background: {hatch}, {colour}"></i>{word}</span>' for (colour, _, hatch), word in pairs)
    return f'<div class="keys">{"".join(cells)}</div>'
