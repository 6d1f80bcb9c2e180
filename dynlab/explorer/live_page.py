"""The page while it lives: what is moved is computed in a thread of the session, the newest settings only, and drawn.

Lines follow every move of a slider. Fixed points and the strips of outcomes, which take longer, follow its release. Nothing
that comes from the page is run or opened: its settings are numbers and words, checked as those of a command are.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.events import ButtonClick, Tap
from bokeh.layouts import column
from bokeh.models import Button, CustomJS, Div, RadioButtonGroup, Slider

from dynlab.explorer import panels, plane_field
from dynlab.explorer.bokeh_panels import BarPanel, PortraitPanel, StripPanel, TimePanels, outcome_key
from dynlab.explorer.controls import FOREMOST, Controls
from dynlab.explorer.explored import Explored
from dynlab.explorer.page_template import INSIDE, TEMPLATE, TITLE
from dynlab.tools.checks import SettingError

if TYPE_CHECKING:
    from bokeh.document import Document

PAUSE = 0.25  # seconds that a slider must stand still before outcomes are computed anew
FIRST_PLACE = 0.5  # of the cursor, before anything is known of the trajectory
MOMENTS = ("start", "T₁", "T₂", "T₃", "end")
# Bytes that the page asked for are kept by the browser under a name; both are set by this program.
SAVE = """
const [name, text] = cb_obj.tags
const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
const link = document.createElement("a")
link.href = URL.createObjectURL(new Blob([bytes]))
link.download = name
link.click()
URL.revokeObjectURL(link.href)
"""
COPY = """
navigator.clipboard.writeText(words.tags[0])
const before = button.label
button.label = "copied"
setTimeout(() => { button.label = before }, 1200)
"""


class LivePage:
    """One session: its widgets, its panels, and the thread that computes for it."""

    def __init__(self, document: Document, chosen: Explored) -> None:
        self.document, self.chosen = document, chosen
        self.controls = Controls(chosen)
        self.time, self.portrait, self.bars = TimePanels(), PortraitPanel(), BarPanel()
        self.strips = {True: StripPanel("With the head"), False: StripPanel("Without")}
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        self.cursor = Slider(
            title="moment", start=0.0, end=1.0, step=0.001, value=FIRST_PLACE, show_value=False, tooltips=False,
            name="moment", **wide,
        )  # fmt: skip
        self.jump = RadioButtonGroup(labels=list(MOMENTS), active=None, name="jump")
        self.neuron = RadioButtonGroup(labels=["the borrower", "neuron 1", "neuron 2"], active=0, name="neuron")
        words = (Div(name=name, stylesheets=[INSIDE], **wide) for name in ("told", "command", "note", "key"))
        self.told, self.command, self.note, self.key = words
        self.key.text = outcome_key()
        self.download = Div(visible=False, name="download")  # hands files over, in its tags
        self.shown: panels.Followed | None = None
        self.wanted: Explored | None = None
        self.turn = 0  # counts releases: strips of an earlier one are given up
        self.closed, self.first_time, self.pause = False, True, Event()
        self.lines_thread, self.strip_thread = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._connect()
        self._lay_out()
        self.moved()
        self.released()

    def _connect(self) -> None:
        self.controls.on_move(self.moved, self.released)
        self.cursor.on_change("value", lambda attr, old, new: self.at_cursor())
        self.cursor.on_change("value_throttled", lambda attr, old, new: self.settle())
        self.jump.on_change("active", lambda attr, old, new: self.jump_to(new))
        self.neuron.on_change("active", lambda attr, old, new: self.other_plane())
        for drawn in self.time.figures:
            drawn.on_event(Tap, self.tapped)
        self.download.js_on_change("tags", CustomJS(code=SAVE))
        self.document.on_session_destroyed(lambda _: self.close())

    def _lay_out(self) -> None:
        copy, table, picture = (Button(label=label, sizing_mode="stretch_width") for label in
                                ("copy this command", "download CSV", "download PDF"))  # fmt: skip
        copy.js_on_event(ButtonClick, CustomJS(args={"words": self.command, "button": copy}, code=COPY))
        table.on_click(partial(self.save, "trajectory.csv", lambda shown: panels.table_text(shown).encode()))
        picture.on_click(partial(self.save, "phases.pdf", panels.figure_bytes))
        wide: dict[str, Any] = {"sizing_mode": "stretch_width"}
        first = [self.controls.widgets[name] for name in FOREMOST]
        more = [widget for name, widget in self.controls.widgets.items() if name not in FOREMOST]
        times = [part for pair in zip(self.time.headings, self.time.figures, strict=True) for part in pair]
        strips = [part for strip in self.strips.values() for part in (strip.heading, strip.figure)]
        roots = {
            "controls": column(*first, **wide),
            "told": self.told,
            "times": column(*times, self.cursor, self.jump, **wide),
            "portrait": column(self.portrait.heading, self.neuron, self.portrait.figure, **wide),
            "bars": column(self.bars.heading, self.bars.figure, self.note, **wide),
            "strips": column(*strips, self.key, **wide),
            "more": column(*more, **wide),
            "repeat": column(self.command, copy, table, picture, self.download, **wide),
        }
        for name, root in roots.items():
            root.name = f"root_{name}"
            self.document.add_root(root)
        self.document.template, self.document.title = TEMPLATE, TITLE

    def close(self) -> None:
        """Stop computing: the session is over."""
        self.closed = True
        self.turn += 1
        self.pause.set()
        for pool in (self.lines_thread, self.strip_thread):
            pool.shutdown(wait=False, cancel_futures=True)

    def later(self, pool: ThreadPoolExecutor, work: Callable[[], Callable[[], None]]) -> None:
        """Compute in a thread; what comes back draws, in the session's turn. What goes wrong is said on the page."""

        def task() -> None:
            try:
                draw = work()
            except (SettingError, ValueError, ArithmeticError) as error:
                draw = partial(self.refuse, str(error))
            if not self.closed:
                self.document.add_next_tick_callback(draw)

        if not self.closed:
            pool.submit(task)

    def refuse(self, why: str) -> None:
        """Say in one line what is not allowed; the panels stay as they are."""
        self.told.text = f'<p class="refused"><b>Not possible:</b> {escape(why)}</p>'

    def moved(self) -> None:
        """Something was set: follow the newest settings, once what is being followed is drawn."""
        try:
            chosen = self.controls.chosen()
        except SettingError as error:
            self.refuse(str(error))
            return
        idle, self.wanted = self.wanted is None, chosen
        if idle:
            self.follow()

    def follow(self) -> None:
        """Compute the trajectory that is wanted."""
        chosen = self.wanted
        assert chosen is not None

        def work() -> Callable[[], None]:
            try:
                found = panels.followed(chosen)
                return partial(self.draw, found, found.lines)  # worked out here, in the thread
            except (SettingError, ValueError, ArithmeticError) as error:
                return partial(self.gave_up, chosen, str(error))

        self.later(self.lines_thread, work)

    def gave_up(self, chosen: Explored, why: str) -> None:
        """These settings cannot be followed."""
        self.refuse(why)
        self.next_one(chosen)

    def next_one(self, done: Explored) -> None:
        """Go on with the settings that came since, if any did."""
        if self.wanted == done:
            self.wanted = None
        else:
            self.follow()

    def draw(self, shown: panels.Followed, _: Any) -> None:
        """Draw a trajectory, all panels in one message."""
        self.shown, self.chosen = shown, shown.chosen
        self.document.hold("combine")
        self.time.show(shown)
        self.told.text = f"<p>{escape(panels.story(shown))}</p>"
        line = shown.chosen.command()
        self.command.text, self.command.tags = f"<pre>{escape(line)}</pre>", [line]
        self.at_cursor(plane=True)
        self.document.unhold()
        self.next_one(shown.chosen)
        if self.first_time and "T₂" in shown.marks:  # where the head lends most
            self.first_time, self.cursor.value = False, shown.marks["T₂"]
        if self.wanted is None:
            self.settle()

    def plane_neuron(self) -> int:
        """The neuron whose plane is drawn."""
        assert self.shown is not None
        return self.shown.borrower if self.neuron.active == 0 else self.neuron.active - 1

    def at_cursor(self, plane: bool = False) -> None:
        """Show the moment at the cursor; plane: whether the portrait's plane is new."""
        shown = self.shown
        if shown is None:
            return
        index, neuron = shown.nearest(self.cursor.value), self.plane_neuron()
        moment = plane_field.HeldMoment(shown, index, neuron)
        if plane:
            reach = moment.reach if not moment.why else plane_field.ROOM * float(np.abs(shown.run.answers[:, neuron]).max())
            self.portrait.show(shown, neuron, reach)
        self.time.move(self.cursor.value)
        self.portrait.move(shown, neuron, index, None if moment.why else plane_field.plane_field(moment))
        self.bars.show(panels.force_bars(shown, index))
        when = f"t = {shown.run.time[index]:.4g}"
        self.cursor.title = f"moment: {when}"
        notes = [note for note in (moment.why, panels.why_no_terms(shown.chosen)) if note]
        self.note.text = f"<p>{escape(' '.join(notes))}</p>" if notes else ""

    def other_plane(self) -> None:
        """The plane of another neuron was chosen."""
        self.at_cursor(plane=True)
        self.settle()

    def settle(self) -> None:
        """Find the resting points of the plane at the cursor."""
        shown = self.shown
        if shown is None:
            return
        index, neuron, turn = shown.nearest(self.cursor.value), self.plane_neuron(), (self.cursor.value, self.neuron.active)

        def work() -> Callable[[], None]:
            moment = plane_field.HeldMoment(shown, index, neuron)
            if moment.why:
                return lambda: None
            points = plane_field.resting_points(moment, plane_field.plane_field(moment))
            return lambda: self.rest(shown, turn, points)

        self.later(self.lines_thread, work)

    def rest(self, shown: panels.Followed, turn: tuple, points: list) -> None:
        """Draw resting points, unless something was moved since."""
        if shown is self.shown and turn == (self.cursor.value, self.neuron.active):
            self.portrait.rest(points)

    def tapped(self, event: Any) -> None:
        """A panel of time was touched: the cursor goes there."""
        self.cursor.value = float(min(max(event.x, 0.0), 1.0))
        self.settle()

    def jump_to(self, number: int | None) -> None:
        """Go to one of `MOMENTS`, where it happened."""
        if number is None or self.shown is None:
            return
        ends = {"start": 0.0, "end": 1.0}
        self.cursor.value = (ends | self.shown.marks).get(MOMENTS[number], self.cursor.value)
        self.jump.active = None
        self.settle()

    def released(self) -> None:
        """A slider was let go: outcomes of many starts, with the head and without."""
        try:
            chosen = self.controls.chosen()
        except SettingError:
            return
        self.turn += 1
        with_head = chosen.head != "none"
        self.strips[True].figure.visible = self.strips[True].heading.visible = with_head
        for strip in self.strips.values():
            strip.show([], "")
        for headed in (True, False) if with_head else (False,):
            self.strip_thread.submit(self.fill, self.turn, headed, chosen if headed else chosen.without_head)

    def fill(self, turn: int, headed: bool, chosen: Explored) -> None:
        """Compute a strip piece by piece, in a thread, until it is full or another is wanted."""
        known: list[int] = []
        if turn == self.turn:  # with the keys of a keyboard every step is a release
            self.pause.wait(PAUSE)
        try:
            for piece in panels.outcome_pieces(chosen):
                if self.closed or turn != self.turn:
                    return
                known += piece.tolist()
                words = panels.outcome_words(np.array(known)) if len(known) == panels.STARTS else ""
                self.document.add_next_tick_callback(partial(self.filled, turn, headed, tuple(known), words))
        except (SettingError, ValueError, ArithmeticError) as error:
            if not self.closed:
                self.document.add_next_tick_callback(partial(self.refuse, str(error)))

    def filled(self, turn: int, headed: bool, known: tuple[int, ...], words: str) -> None:
        """Draw a piece of a strip."""
        if turn == self.turn:
            self.strips[headed].show(known, words)

    def save(self, name: str, made: Callable[[panels.Followed], bytes]) -> None:
        """Hand a file to the browser, which keeps it."""
        shown = self.shown
        if shown is None:
            return

        def work() -> Callable[[], None]:
            text = base64.b64encode(made(shown)).decode()
            return lambda: setattr(self.download, "tags", [name, text])

        self.later(self.lines_thread, work)
