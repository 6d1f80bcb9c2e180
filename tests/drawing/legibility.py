"""What makes a figure legible in print, measured on the drawn artists: no picture is compared with another.

`faults(figure)` lists what is wrong: two entries of a key that are alike in grey, a line that no key explains, a panel
without a label, words that overlap or leave the page, print too small, a figure wider than the page, no caption.
"""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.offsetbox import DrawingArea, TextArea
from matplotlib.patches import Patch
from matplotlib.quiver import Quiver

APART = 25 / 255  # of luminance, that areas and lines need who differ in nothing else
PAGE = 6.9  # inches
SMALLEST = 6.0  # points
GUIDE = 0.7  # width up to which a grey line is a guide to the eye, not a curve
WHITE = np.ones(3)


def luminance(colour, alpha=None) -> float:
    """Of a colour on white paper, 0 to 1 (ITU-R 601, as printers and Pillow convert)."""
    *rgb, opacity = colors.to_rgba(colour, alpha)
    mixed = opacity * np.array(rgb) + (1.0 - opacity) * WHITE
    return float(mixed @ (0.299, 0.587, 0.114))


def hue(colour) -> tuple:
    """A colour without its opacity."""
    return tuple(round(part, 3) for part in colors.to_rgb(colour))


def dash(line: Line2D) -> tuple | None:
    """The dash pattern in units of the line's width; () for a solid line, None for none."""
    if line.get_linestyle() in ("None", "none", "", " "):
        return None
    _, pattern = line._unscaled_dash_pattern
    return () if pattern is None else tuple(round(part, 2) for part in pattern)


def marker(line: Line2D) -> tuple | None:
    """Shape of the marker, how much of it is filled, and whether with white."""
    if line.get_marker() in ("None", "none", "", None, " "):
        return None
    white = luminance(line.get_markerfacecolor()) > 0.95 if line.get_fillstyle() != "none" else True
    return str(line.get_marker()), line.get_fillstyle(), white


def parts(entry) -> list:
    """The artists of an entry of a key, but for error bars."""
    found = [artist for artist in entry.get_children() if isinstance(artist, (Line2D, Patch))]
    caps = ("_", "|")
    return [artist for artist in found if not (isinstance(artist, Line2D) and artist.get_marker() in caps)]


def entries(legend) -> list[tuple[str, list]]:
    """(words, artists) of every entry of a legend."""
    found = []

    def walk(box):
        inside = box.get_children() if hasattr(box, "get_children") else []
        areas = [part for part in inside if isinstance(part, DrawingArea)]
        words = [part for part in inside if isinstance(part, TextArea)]
        if areas and words:
            found.append((words[0].get_text(), parts(areas[0])))
            return
        for part in inside:
            walk(part)

    walk(legend._legend_handle_box)
    return found


def shape(artists) -> set:
    """All of a look but its colour."""
    looks = set()
    for artist in artists:
        if isinstance(artist, Line2D):
            looks.add(("line", dash(artist), round(artist.get_linewidth(), 1) if dash(artist) is not None else 0))
            looks.add(("marker", marker(artist)))
        else:
            looks.add(("area", artist.get_hatch() or ""))
    return looks


def grey(artists) -> float:
    """Luminance of the last thing that is drawn."""
    artist = artists[-1]
    if isinstance(artist, Line2D):
        return luminance(artist.get_color(), artist.get_alpha())
    return luminance(artist.get_facecolor())


def alike(one, two) -> bool:
    """Whether two looks cannot be told apart in a print in grey."""
    return shape(one) == shape(two) and abs(grey(one) - grey(two)) < APART


def keys(figure, axes) -> list:
    """The entries of all keys that a panel has."""
    own = axes.get_legend()
    return [entry for legend in [*figure.legends, *([own] if own else [])] for entry in entries(legend)]


def panels(figure) -> list:
    """The visible panels, without colour bars."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def alike_entries(figure, apart: bool) -> list:
    """Pairs of entries with different words that are alike; apart: each panel is a figure of its own.

    What stands in a panel under its own name (as phases do, in order) need differ from the next one alone.
    """
    named = {text.get_text() for axes in panels(figure) for text in axes.texts}
    groups = [keys(figure, axes) for axes in panels(figure)]
    if not apart:
        groups = [[entry for group in groups for entry in group]]
    bad = set()
    for group in groups:
        for (words, one), (others, two) in itertools.combinations(group, 2):
            order = [entry for entry, _ in group]
            if named >= {words.split()[0], others.split()[0]} and abs(order.index(words) - order.index(others)) > 1:
                continue
            if words != others and one and two and alike(one, two):
                bad.add(f"alike in grey: {words!r} and {others!r}")
            if words == others and not alike(one, two):
                bad.add(f"two looks for {words!r}")
    return sorted(bad)


def unexplained(figure) -> list:
    """Lines and areas with a colour or a dash pattern that no key has; labels that are in no key."""
    bad = []
    for axes in panels(figure):
        found = keys(figure, axes)
        artists = [artist for _, some in found for artist in some]
        lines = [artist for artist in artists if isinstance(artist, Line2D)]
        hues = {hue(part.get_color()) for part in lines}
        hues |= {hue(part.get_facecolor()) for part in artists if isinstance(part, Patch)}
        dashes = {dash(line) for line in lines}
        curves = [line for line in axes.lines if len(line.get_xdata()) > 1 and not guide(line)]
        looks = {(hue(line.get_color()), dash(line)) for line in curves if dash(line) is not None}
        where = axes.get_title() or axes.get_title("left") or axes.get_ylabel()
        if len(looks) > 1:
            bad += [f"{where}: no key for a line of {c}, {d}" for c, d in looks if c not in hues or d not in dashes]
        filled = [area for area in axes.collections if isinstance(area, PolyCollection) and not isinstance(area, Quiver)]
        areas = {hue(area.get_facecolor()[0]) for area in filled}
        bad += [f"{where}: no key for an area of {c}" for c in areas if c not in hues]
        _, labels = axes.get_legend_handles_labels()
        bad += [f"{where}: {label!r} is in no key" for label in labels if label not in [words for words, _ in found]]
    return bad


def guide(line: Line2D) -> bool:
    """A thin grey line, as at the end of a phase, or one behind everything."""
    return line.get_linewidth() <= GUIDE and len(set(hue(line.get_color()))) == 1


def unlabelled(figure) -> list:
    """Panels without labels of their own or of those below (x) and beside (y) that share the axis."""
    bad = []
    for axes in panels(figure):
        place = axes.get_subplotspec()
        for name, shared in (("x", axes.get_shared_x_axes()), ("y", axes.get_shared_y_axes())):
            span = "colspan" if name == "x" else "rowspan"
            mine = [
                other for other in panels(figure)
                if other is axes or (
                    shared.joined(axes, other) and getattr(other.get_subplotspec(), span) == getattr(place, span)
                )
            ]  # fmt: skip
            if not any(getattr(other, f"get_{name}label")().strip() for other in mine):
                bad.append(f"panel {axes.get_title() or place}: no {name} label")
    return bad


def words(figure) -> list:
    """All text that is drawn: titles, labels, numbers on axes, keys, remarks."""
    found = list(figure.texts)  # the title is one of them
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_visible() and axes.get_legend())]
    for legend in legends:
        found += [legend.get_title(), *legend.get_texts()]
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def boxes(figure) -> list:
    """(words, box on the page) of all text."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in words(figure)]


def overlapping_words(figure) -> list:
    """Pairs of words of the figure whose boxes overlap on the page, and words that leave the page."""
    found, page = boxes(figure), figure.bbox
    bad = [text for text, b in found if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]
    return bad + [(one, two) for (one, a), (two, b) in itertools.combinations(found, 2) if a.overlaps(b)]


def covered(figure) -> list:
    """Panels whose key covers points or error bars."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    bad = []
    for axes in panels(figure):
        legend = axes.get_legend()
        if legend is None:
            continue
        box = legend.get_window_extent(canvas.get_renderer())
        points = [line.get_xydata() for line in axes.lines if marker(line) is not None and len(line.get_xdata())]
        bars = [some for some in axes.collections if isinstance(some, LineCollection)]
        points += [np.array(bar) for some in bars for bar in some.get_segments()]
        drawn = [axes.transData.transform(some[np.isfinite(some).all(1)]) for some in points]
        if any(box.contains(x, y) for some in drawn for x, y in some):
            bad.append(f"the key of {axes.get_title() or axes.get_title('left')!r} covers points")
    return bad


def caption(figure) -> str:
    """What the figure says of itself: its title, and those of the keys above it."""
    titles = [legend.get_title().get_text() for legend in figure.legends]
    return "\n".join([figure._suptitle.get_text() if figure._suptitle else "", *titles]).strip()


def faults(figure, apart: bool = False) -> list:
    """All that is wrong with a figure. apart: its panels are figures of their own, each with its key."""
    bad = [*alike_entries(figure, apart), *unexplained(figure), *unlabelled(figure), *overlapping_words(figure)]
    bad += covered(figure)
    bad += [f"{text.get_text()!r}: {text.get_fontsize()} points" for text in words(figure) if text.get_fontsize() < SMALLEST]
    bad += [] if figure.get_size_inches()[0] <= PAGE + 1e-9 else [f"{figure.get_size_inches()[0]} inches wide"]
    return bad + ([] if caption(figure) else ["no caption"])
