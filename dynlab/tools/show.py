"""How objects show themselves: one line for `repr`, plain tables for `_repr_html_` in a notebook.

The tables carry no colours, so that they look right in light and dark themes alike; all that is put into them is escaped.
Nothing but the standard library is imported here: settings must stay quick to load.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from html import escape
from numbers import Integral, Real
from typing import Any

LONGEST = 118  # characters of a line
WORD = 40  # characters of a value within a line
FEW = 4  # numbers of an array that are written out
OTHERS = (
    "neurons",
    "hidden",
    "readout",
    "noise",
    "patches",
    "feature_patches",
    "mask",
    "probabilities",
    "correlation",
    "bias",
)  # a caption names them where they are not the defaults


def brief(value: Any) -> str:
    """A value in a few characters: numbers exactly, arrays by their shape."""
    if isinstance(value, str):
        return repr(value if len(value) <= WORD else value[: WORD - 3] + "...")
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, Integral):
        return repr(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    shape = getattr(value, "shape", None)
    if shape is not None:
        if len(shape) == 1 and 0 < shape[0] <= FEW and not hasattr(value, "columns"):
            return "[" + ", ".join(number(part) for part in value) + "]"
        return "<" + (" x ".join(str(size) for size in shape) or "no numbers") + ">"
    text = " ".join(repr(value).split())
    if len(text) <= WORD:
        return text
    return f"<{type(value).__name__} of {len(value)}>" if hasattr(value, "__len__") else text[: WORD - 3] + "..."


def number(value: Any, digits: int = 4) -> str:
    """A measured number to a few digits; anything else as `brief` says it, words as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return str(value) if isinstance(value, bool) else str(int(value))
    if isinstance(value, Real):
        return f"{float(value) + 0.0:.{digits}g}"  # no minus zero
    if isinstance(value, complex):
        real = number(value.real, digits)
        return f"{real}{value.imag:+.{digits}g}i" if value.imag else real
    return brief(value)


def percent(share: float, sign: str = "") -> str:
    """A share as 98.2 %; sign: "+" for a difference."""
    return f"{100 * share:{sign}.1f} %"


def line(name: str, parts: Iterable[str]) -> str:
    """name(part, part, ...) in one line of at most `LONGEST` characters: parts that do not fit are counted."""
    words = [" ".join(str(part).split()) for part in parts]
    for kept in range(len(words), -1, -1):
        rest = len(words) - kept
        text = f"{name}({', '.join([*words[:kept], *([f'and {rest} more'] if rest else [])])})"
        if len(text) <= LONGEST:
            break
    return text


def paragraph(text: str, width: int, **more: str) -> list[str]:
    """The lines of a text; never a number on one and its % on the next, nor an option broken at its hyphens."""
    held = text.replace(" %", "\u00a0%")
    lines = textwrap.wrap(held, width, break_on_hyphens=False, break_long_words=False, **more)  # type: ignore[arg-type]
    return [one.replace("\u00a0%", " %") for one in lines]


def fields_line(instance: Any) -> str:
    """The `repr` of a dataclass of arrays and numbers: every field, briefly."""
    parts = [f"{field.name}={brief(getattr(instance, field.name))}" for field in fields(instance)]
    return line(type(instance).__name__, parts)


def changed(instance: Any, left_out: Sequence[str] = ()) -> list[str]:
    """name=value of the fields of a dataclass that differ from their defaults."""
    named = ((field, getattr(instance, field.name)) for field in fields(instance) if field.name not in left_out)
    return [f"{field.name}={brief(value)}" for field, value in named if field.default is MISSING or value != field.default]


def settings_table(instance: Any, left_out: Sequence[str] = ()) -> str:
    """A table of a dataclass of settings: name, value, default."""
    rows = []
    for field in fields(instance):
        if field.name not in left_out:
            default = "" if field.default is MISSING else brief(field.default)
            rows.append((field.name, brief(getattr(instance, field.name)), default))
    return table(rows, ("setting", "value", "default"), type(instance).__name__)


def fields_table(instance: Any) -> str:
    """A table of a dataclass of arrays and numbers: name, value or shape."""
    rows = [(field.name, number(getattr(instance, field.name), 6)) for field in fields(instance)]
    return table(rows, ("field", "value"), type(instance).__name__)


def pairs_table(values: Mapping[str, Any], caption: str = "") -> str:
    """A table of names and values."""
    return table(list(values.items()), (), caption)


def table(rows: Iterable[Sequence[Any]], head: Sequence[str] = (), caption: str = "") -> str:
    """An HTML table: the first cell of a row names it. Numbers are written to six digits, everything is escaped."""
    parts = ["<table>"]
    if caption:
        parts.append(f"<caption>{escape(caption)}</caption>")
    if head:
        parts.append("<thead><tr>" + "".join(f"<th>{escape(word)}</th>" for word in head) + "</tr></thead>")
    parts.append("<tbody>")
    for name, *cells in rows:
        filled = "".join(f"<td>{escape(number(cell, 6))}</td>" for cell in cells)
        parts.append(f"<tr><th>{escape(number(name, 6))}</th>{filled}</tr>")
    return "".join([*parts, "</tbody></table>"])


def matrix_table(values: Any, caption: str = "") -> str:
    """A table of a (rows, columns) array of numbers, of its first eight rows and columns where it is larger."""
    rows, columns = values.shape
    shown = [(str(i + 1), *(float(x) for x in values[i, :8])) for i in range(min(rows, 8))]
    size = f" ({rows} x {columns}, its corner)" if max(rows, columns) > 8 else ""
    return table(shown, ("", *(str(i + 1) for i in range(min(columns, 8)))), caption + size)


def model_words(model: Any, activation: bool = True, without: Collection[str] = ()) -> str:
    """A model in a caption: its activation, its strengths, and what differs from the defaults; not what is in `without`."""
    parts = [model.activation] * activation
    if model.features == 2:
        parts += [f"{name} {getattr(model, name):g}" for name in ("strong", "weak") if name not in without]
    else:
        parts += ["strengths " + ", ".join(f"{strength:g}" for strength in model.strengths or ())]
    changed = [name for name in OTHERS if name not in without and getattr(model, name) != getattr(type(model)(), name)]
    return ", ".join(parts + [f"{name.replace('_', ' ')} {getattr(model, name)}" for name in changed])


def feature_words(model: Any) -> str:
    """How often features are shown and how they correlate, behind their strengths; nothing where they are the paper's."""
    often, alike = model.probabilities, model.correlation
    text = "" if often is None else ", of probabilities " + " and ".join(f"{p:g}" for p in often)
    return text if alike is None else f"{text}, of correlation {alike}"


def head_words(settings: Mapping[str, Any]) -> str:
    """The head in a caption, from the settings of a run."""
    rule, rate = settings.get("head", "none"), settings.get("eta_head")
    return "no head" if rule == "none" else f"{rule} head" + ("" if rate is None else f" at rate {rate:g}")
