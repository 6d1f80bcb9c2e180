"""The table of ablations as text."""

from __future__ import annotations

from pathlib import Path

from dynlab.ensembles.ablations import Settings
from dynlab.population.status import SUCCESS, remedy
from dynlab.tools.show import feature_words


def ablations_text(settings: Settings, rows: list[dict], place: Path) -> list[str]:
    """The table to read: a line an ablation."""
    from dynlab.ensembles.ablations import early_end

    model = settings.model
    heading = f"{'changed':<16}{'to':<26}{'learnt: share of seeds':<40}{'all':<20}{'early':>6}{'rank':>6}{'loss':>9}"
    early = early_end(model, settings.dim)
    lines = [
        f"{model.activation}, strong {model.strong:g}, weak {model.weak:g}{feature_words(model)}, "
        f"noise {model.noise:g}, dim {settings.dim:g}, eta_head {settings.training.eta_head:g}, until {settings.until:g}, "
        f"{settings.seeds} seeds",
        f"(all features learnt at the end: share with its 95 % interval; early: the share at time {early:.2g};",
        " effective rank of the outputs, loss and times: medians)",
        "",
        heading + f"{'T first':>10}{'T second':>10}",
    ]
    before = None
    for row in rows:
        group = row["group"] if row["group"] != before else ""
        before = row["group"]
        shares = "  ".join(
            f"{n}: {100 * row[f'learnt_{n}']:.0f} %" for n in range(row["features"] + 1) if row[f"learnt_{n}"] > 0.0
        )
        shares += f"  failed: {100 * row['failed']:.1f} %" if row["failed"] > 0.0 else ""
        interval = f"{row['all']:.3f} [{row['all_low']:.2f}, {row['all_high']:.2f}]"
        times = "".join(f"{row[name]:>10.2g}" for name in ("time_first", "time_second"))
        words = f"{group:<16}{row['name']:<26}{shares:<40}{interval:<20}"
        lines.append(f"{words}{row['early']:>6.2f}{row['rank']:>6.2f}{row['loss']:>9.3g}{times}".rstrip())
    ended = sorted({part.rsplit(" ", 1)[0] for row in rows for part in row["ended"].split(", ")})
    told = [f"{status}: {remedy(status)}" for status in ended if status not in SUCCESS]
    return [*lines, "", *told, f"trajectories ended: {', '.join(ended)}; files in {place}: ablate.csv, run.json"]
