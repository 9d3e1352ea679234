"""`make bench`: the figures of the README, measured here and now, as medians of several runs, printed and written as JSON.

What is run again, and who answers, comes from the loop turned in this home (`make demo`); it is turned first when it was not.
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any

from bench import measure, report
from counterfoil import settings
from counterfoil.errors import CounterfoilError
from flows.place import Place, open_place


def main() -> int:
    """Measure everything, print a line per figure, write one JSON file; 1 when a bound of the README does not hold."""
    settings.load()
    place = open_place()
    try:
        measure.turn_the_loop(place)
        figures = [_measured(place, *one) for one in measure.FIGURES]
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    report.write({"figures": figures})
    return 0 if all(figure["held"] for figure in figures) else 1


def _measured(
    place: Place, name: str, unit: str, bound: float, better: str, take: Callable[[Place], list[float]]
) -> dict[str, Any]:
    sys.stderr.write(f"measuring {name} ...\n")
    values = take(place)
    median = statistics.median(values)
    held = median >= bound if better == "more" else median <= bound
    sys.stdout.write(
        f"{'held ' if held else 'BROKEN'} {name:<48} {median:12,.2f} {unit:<10} bound {bound:,.2f}"
        f"  ({min(values):,.2f} .. {max(values):,.2f})\n"
    )
    return {"figure": name, "unit": unit, "median": median, "values": values, "bound": bound, "held": held}


if __name__ == "__main__":
    sys.exit(main())
