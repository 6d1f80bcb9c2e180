"""The theorem's run: ensembles computed or taken from the store, claims judged, results written and printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab import _show
from dynlab.claims import CLAIMS
from dynlab.claims.base import Finding, Point, Scale
from dynlab.files import FolderTaken, csv_text, json_text, write_whole
from dynlab.store import Store

if TYPE_CHECKING:
    from dynlab._cli import Call
    from dynlab.theorem import Settings

POINTS = "points"
VERDICT_WIDTH = 12
DECADES = (*range(2, 11), 12)


def scale_of(settings: Settings) -> Scale:
    """How large the run is."""
    if settings.quick:
        return Scale(
            dims=tuple(10**n for n in (3, 5, 7, 9)),
            seeds=200,
            rare_seeds=600,
            rates=(1e-3, 1e-2, 1e-1, 1.0),
            slow_seeds=60,
            seed=settings.seed,
        )
    return Scale(
        dims=tuple(10**n for n in DECADES),
        seeds=2000,
        rare_seeds=10_000,
        rates=tuple(10.0 ** (n / 2) for n in range(-8, 1)),
        slow_seeds=2000,
        seed=settings.seed,
    )


def open_folder(out: Path) -> Store:
    """The store inside the results' folder; FolderTaken where something else stands there or another process has it open."""
    ours = (out / POINTS).is_dir()
    if (out.exists() or out.is_symlink()) and not ours and (not out.is_dir() or any(out.iterdir())):
        raise FolderTaken(out, "holds other files; must be a new or an empty folder, or one of dynlab.theorem")
    store = Store(out / POINTS)
    for leftover in out.glob(".*.partial"):  # of a process that was killed
        leftover.unlink()
    return store


def judge(settings: Settings, store: Store) -> dict[int, Finding]:
    """The findings of the claims asked for; every ensemble is computed once and kept in the store."""
    from dynlab._progress import progress

    scale = scale_of(settings)
    asked = list(dict.fromkeys(point for n in settings.claims for point in CLAIMS[n].points(scale)))
    missing = [point for point in asked if point.settings() not in store]
    for line in store.damage:
        print(line, file=sys.stderr)
    done = 0
    with progress(sum(point.seeds for point in missing), "trajectories", settings.quiet) as show:
        for point in missing:
            compute(point, settings, store, _from(done, show))
            done += point.seeds
    findings = {}
    for n in settings.claims:
        # Loaded for each claim anew: all of them together would not be small.
        runs = {point: store.get(point.settings()) for point in dict.fromkeys(CLAIMS[n].points(scale))}
        findings[n] = CLAIMS[n].judge(scale, runs)
    return findings


def compute(point: Point, settings: Settings, store: Store, show: Callable[[int], None]) -> None:
    """Run one ensemble and keep it."""
    from dynlab.sweep import ensemble

    run = ensemble(
        point.model,
        dim=point.dim,
        seeds=point.seeds,
        seed=point.seed,
        head=point.head,
        eta_head=point.eta_head,
        until=point.until,
        rtol=point.rtol,
        threads=settings.threads,
        device=settings.device,
        progress=show,
    )
    store.put(point.settings(), run)


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
        from dynlab import plotting
        from dynlab.claims.figure import theorem_figure

        scale_now = scale_of(settings)
        seeds = f"{scale_now.seeds} seeds a point ({scale_now.rare_seeds} for rare events, {scale_now.slow_seeds} for relu)"
        figure = theorem_figure({n: finding.panel for n, finding in findings.items()}, seeds)
        plotting.save(figure, out / "theorem", "The theorem, claim by claim")


def print_report(settings: Settings, findings: dict[int, Finding]) -> None:
    """One line a statement, under the claim's name, then where the files are."""
    lines = []
    for n, finding in findings.items():
        lines.append(f"{n}. {CLAIMS[n].NAME}")
        for record in finding.records:
            numbers = f"predicted {_number(record.predicted)}, measured {_number(record.measured)}"
            interval = f" [{_number(record.low)}, {_number(record.high)}]"
            text = f"{record.verdict.upper():<{VERDICT_WIDTH}}  {record.name}: {record.statement}: {numbers}{interval}"
            lines += _show.paragraph(text, 118, initial_indent="  ", subsequent_indent=" " * (VERDICT_WIDTH + 4))
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


def _from(before: int, show: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: show(before + done)
