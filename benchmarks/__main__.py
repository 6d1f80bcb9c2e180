"""Run the benchmarks: python -m benchmarks [--quick] [PART ...], all parts unless some are named.

Parts: gradients, ensembles, switches, samples, augmentation, images, start-up.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import augmentation, ensembles, gradients, images, samples, start_up, switches
from benchmarks.machine import machine

PARTS = {
    "gradients": lambda quick: gradients.run(),
    "ensembles": ensembles.run,
    "switches": switches.run,
    "samples": samples.run,
    "augmentation": augmentation.run,
    "images": images.run,
    "start-up": lambda quick: start_up.run(),
}


def main() -> None:
    """Run what is asked for (default: all) and write results.json beside this file or to --out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few seeds: shows that it works, not what it reaches")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.json", help="results as JSON")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]!r}: must be one of {', '.join(PARTS)}")
    results = {"machine": machine(), "quick": arguments.quick}
    print(results["machine"]["processor"], results["machine"]["cores"], "cores", flush=True)
    for part in arguments.parts or PARTS:
        results[part] = PARTS[part](arguments.quick)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
