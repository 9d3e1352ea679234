"""`make bench`: the figures of the README, measured here and now, as medians of several runs, printed and written as JSON.

The loop must have been turned in this home before (`make demo`): what is asked again, and who answers, comes from it.
"""

import json
import platform
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench import measure
from counterfoil import settings
from counterfoil.errors import CounterfoilError
from flows.place import code_version, open_place

OUT = Path("bench/results")


def main() -> int:
    """Measure everything, print a line per figure, write one JSON file; 1 when a bound of the README does not hold."""
    settings.load()
    place = open_place()
    figures = []
    for name, unit, bound, better, take in measure.FIGURES:
        sys.stderr.write(f"measuring {name} ...\n")
        try:
            values = take(place)
        except CounterfoilError as fault:
            sys.stderr.write(f"{name}: {fault}\n")
            return fault.exit_code
        median = statistics.median(values)
        held = median >= bound if better == "more" else median <= bound
        figures.append(
            {"figure": name, "unit": unit, "median": median, "values": values, "bound": bound, "held": held}
        )
        sys.stdout.write(
            f"{'held ' if held else 'BROKEN'} {name:<48} {median:12,.2f} {unit:<10} bound {bound:,.2f}"
            f"  ({min(values):,.2f} .. {max(values):,.2f})\n"
        )
    report = {
        "at": datetime.now(UTC).isoformat(),
        "code": code_version(),
        "machine": {
            "cores": psutil.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "python": platform.python_version(),
        },
        "load": psutil.getloadavg(),
        "figures": figures,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(report, indent=2))
    sys.stdout.write(f"written to {path}\n")
    return 0 if all(figure["held"] for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
