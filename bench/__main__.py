"""`make bench`: the figures of the README, measured here and now, as medians of several runs, printed and written as JSON.

The loop must have been turned in this home before (`make demo`): what is asked again, and who answers, comes from it.
"""

import statistics
import sys

from bench import measure, report
from counterfoil import settings
from counterfoil.errors import CounterfoilError
from flows.place import open_place


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
    report.write({"figures": figures})
    return 0 if all(figure["held"] for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
