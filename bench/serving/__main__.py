"""`make bench-serving`: what answers, events and releases cost, beside the floor of their parts.

    python -m bench.serving [--only floor,answer,start,events,switch,soak] [--minutes 15] [--quick]

The shop is made once, below .bench (minutes); measures run one after another, print a table, and leave one JSON file below
bench/results with medians, ratios, load, versions and commit, and a page with plots beside it.
"""

import argparse
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import psutil

from bench import report
from bench.serving import answer, events, home, plot, running, soak, start, switch, table
from bench.serving.answer import Effort
from bench.serving.floor import ROUNDS
from counterfoil import settings
from counterfoil.errors import CounterfoilError
from flows.place import code_version

QUICK = Effort(rounds=1, takes=2, answers=50, warm_up=10, seconds=3.0, loads=(0.5,), halves=3, floor_rounds=1)
VERSIONS = (
    "fastapi",
    "starlette",
    "uvicorn",
    "torch",
    "xgboost-cpu",
    "numpy",
    "usearch",
    "orjson",
    "httptools",
)


def floor(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure the floor alone, three times."""
    below = running.Floor(shop)
    try:
        return {"floor": answer._typical([below.measure(1 if asked.quick else ROUNDS) for _ in range(3)])}
    finally:
        below.close()


def answers(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure answers beside the floor."""
    return answer.measure(shop, QUICK if asked.quick else Effort())


def starts(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure how long bentos take until they are ready."""
    sizes = [shop] if asked.quick else [shop, home.opened(home.HUGE)]
    return {
        f"{one.size.items:,} items": start.measure(one, 1 if asked.quick else start.TIMES) for one in sizes
    }


def incoming(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure events coming in."""
    return events.measure(shop, *((2.0, 5) if asked.quick else ()))


def long(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure what minutes of load do."""
    return soak.measure(shop, 0.5 if asked.quick else asked.minutes)


def switches(shop: home.Home, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure releases under load."""
    return switch.measure(shop, *((4_000, 2.0, ("empty",), 0.0) if asked.quick else ()))


MEASURES = {
    "floor": floor,
    "answer": answers,
    "start": starts,
    "events": incoming,
    "switch": switches,
    "soak": long,
}


def main() -> int:
    """Measure what was asked for; 0 unless something could not be measured."""
    asked = _arguments()
    settings.load()
    found: dict[str, Any] = {}
    tables: dict[str, str] = {}
    path: Path | None = None
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    try:
        shop = home.opened(home.Size(items=4_000, people=800) if asked.small else home.LARGE)
        for name in asked.only:
            sys.stderr.write(f"{name}\n")
            before = psutil.getloadavg()[0]
            told = MEASURES[name](shop, asked)
            found[name] = {**told, "load": [before, psutil.getloadavg()[0]]}
            path = report.write({"serving": found, "versions": versions}, "serving-", path)
            tables[name] = table.of(name, told)
            sys.stdout.write(tables[name])
            sys.stdout.flush()
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    assert path is not None  # what was not measured has said so
    about = f"{code_version()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f} at the end"
    path.with_suffix(".html").write_text(plot.page(found, tables, about))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.serving", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(MEASURES))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that it runs")
    parser.add_argument("--small", action="store_true", help="a shop of 4,000 items")
    asked = parser.parse_args()
    if unknown := [name for name in asked.only if name not in MEASURES]:
        parser.error(f"there is no measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
