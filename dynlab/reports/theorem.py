"""The theorem's report: findings as JSON, tables, Markdown and a figure, and as lines to read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from dynlab.claims import CLAIMS
from dynlab.claims.claim import Finding
from dynlab.claims.judgement import scale_of
from dynlab.tools import show
from dynlab.tools.files import csv_text, json_text, write_whole

if TYPE_CHECKING:
    from dynlab.claims.judgement import Settings
    from dynlab.tools.provenance import Call

VERDICT_WIDTH = 12


def write_files(settings: Settings, findings: dict[int, Finding], call: Call) -> None:
    """Write theorem.json, .csv, .md, points.csv, settings.json and the figure: equal runs give equal bytes."""
    import pandas as pd

    out = settings.out
    records = [asdict(record) for finding in findings.values() for record in finding.records]
    write_whole(out / "theorem.json", json_text(records))
    write_whole(out / "theorem.csv", csv_text(pd.DataFrame(records)))
    write_whole(out / "theorem.md", "\n".join(markdown(findings)) + "\n")
    write_whole(out / "points.csv", csv_text(pd.DataFrame(_plotted(findings))))
    scale = asdict(scale_of(settings))
    options = call.options | {"claims": ",".join(map(str, settings.claims))}
    record = {"program": call.program, "options": options, "claims": settings.claims, **scale}
    write_whole(out / "settings.json", json_text(record))
    if settings.plots:
        from dynlab.drawing import style
        from dynlab.drawing.theorem import theorem_figure

        scale_now = scale_of(settings)
        seeds = f"{scale_now.seeds} seeds a point ({scale_now.rare_seeds} for rare events, {scale_now.slow_seeds} for relu)"
        figure = theorem_figure({n: finding.panel for n, finding in findings.items()}, seeds)
        style.save(figure, out / "theorem", "The theorem, claim by claim")


def print_report(settings: Settings, findings: dict[int, Finding]) -> None:
    """One line a statement, under the claim's name, then where the files are."""
    lines = []
    for n, finding in findings.items():
        lines.append(f"{n}. {CLAIMS[n].NAME}")
        for record in finding.records:
            numbers = f"predicted {_number(record.predicted)}, measured {_number(record.measured)}"
            interval = f" [{_number(record.low)}, {_number(record.high)}]"
            text = f"{record.verdict.upper():<{VERDICT_WIDTH}}  {record.name}: {record.statement}: {numbers}{interval}"
            lines += show.paragraph(text, 118, initial_indent="  ", subsequent_indent=" " * (VERDICT_WIDTH + 4))
    counts: dict[str, int] = {}
    for finding in findings.values():
        for record in finding.records:
            counts[record.verdict] = counts.get(record.verdict, 0) + 1
    lines.append(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    files = ", ".join(sorted(path.name for path in settings.out.iterdir() if path.is_file()))
    lines.append(f"files in {settings.out}: {files}")
    print("\n".join(lines), flush=True)


def markdown(findings: dict[int, Finding]) -> list[str]:
    """The lines of a Markdown table, a row a statement."""
    lines = ["| claim | statement | predicted | measured | 95 % | verdict |", "|---|---|---|---|---|---|"]
    for finding in findings.values():
        for record in finding.records:
            text = f"{record.name}: {record.statement}".replace("|", "\\|")
            interval = f"{_number(record.low)} to {_number(record.high)}"
            cells = (str(record.claim), text, _number(record.predicted), _number(record.measured), interval)
            lines.append(f"| {' | '.join(cells)} | {record.verdict} |")
    return lines


def _plotted(findings: dict[int, Finding]) -> list[dict]:
    """The points that the figure draws, one row each."""
    rows = []
    for n, finding in findings.items():
        for curve in finding.panel.curves:
            count = len(curve.x)
            lows, highs = curve.low or [None] * count, curve.high or [None] * count
            for x, y, low, high in zip(curve.x, curve.y, lows, highs, strict=True):
                rows.append({"claim": n, "curve": curve.label, "x": x, "y": y, "low": low, "high": high})
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
