"""`make bench-growth`: how the cost of a fit grows from one million to ten million events, family by family.

    python -m bench.growth [--families a,b] [--small 1000000] [--large 10000000]

People grow with the events (FEW each on average, a long tail of many), the catalogue with their square root; everybody has a
few tastes, within which items follow a power law. Each fit has a process of its own. Prints a line per family, writes JSON below
bench/results, and ends with 1 when a family grows faster than the events; one that refuses such data is shown with its sentence.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench import report
from counterfoil import settings, terminal
from counterfoil.errors import CounterfoilError, InputError
from counterfoil.settings import Settings
from flows.benchmark.compare import in_process
from flows.benchmark.measure import cpu_seconds, leave, peak_bytes
from models import splits
from models.data import Interactions
from models.families import FAMILIES, config_from

FEW = 25  # events of a person, on average
ITEMS_OF_A_MILLION = 20_000
TASTES, SHELF, TAIL = 3, 100, 0.8
# Content, or features at cut-offs; and assemblies, which cost what their members do.
LEFT_OUT = {
    "tfidf",
    "item2vec",
    "sentences",
    "attributes",
    "pictures",
    "twostage",
    "logistic",
    "mlp",
    "dcn",
    "fusion",
    "cascade",
    "exposure",
}
NOISE = 1.15  # two fits of the same differ by so much on a shared machine


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fit `family` on so many planted events, and leave what it cost in `out`."""

    family: str
    events: int
    out: str


def planted(events: int, seed: int = 0) -> Interactions:
    """Return histories with planted tastes; about `events` of them, since nobody takes an item twice at once."""
    random = np.random.default_rng(seed)
    people = events // FEW
    items = int(ITEMS_OF_A_MILLION * np.sqrt(events / 1e6))
    length_P = np.minimum(
        1 + random.geometric(1 / FEW, people) + (random.pareto(2.5, people) * 5).astype(int), 500
    )
    person_N = np.repeat(np.arange(people, dtype=np.int32), length_P)
    taste_PT = random.integers(0, items // SHELF, (people, TASTES))
    shelf_N = taste_PT[person_N, random.integers(0, TASTES, len(person_N))]
    place_N = np.minimum((SHELF ** random.random(len(person_N)) ** TAIL).astype(np.int64) - 1, SHELF - 1)
    item_N = (shelf_N * SHELF + place_N).astype(np.int32)
    step_N = np.arange(len(person_N)) - np.repeat(np.cumsum(length_P) - length_P, length_P)
    _, first_N = np.unique(person_N.astype(np.int64) * items + item_N, return_index=True)
    kept_N = np.sort(first_N)
    return Interactions(
        person_N=person_N[kept_N],
        item_N=item_N[kept_N],
        time_N=step_N[kept_N].astype(np.int64),
        weight_N=np.ones(len(kept_N), np.float32),
        people=people,
        items=items,
    )


def fit(asked: Fit, threads: int) -> dict[str, Any]:
    """Fit once and return CPU seconds of all threads, seconds, and the most memory that the process held."""
    training = splits.leave_one_out(planted(asked.events)).training
    family = FAMILIES[asked.family]
    started, cpu = time.perf_counter(), cpu_seconds()
    family.fit(config_from(asked.family, {}), training, 0)
    return {
        "events": len(training.interactions),
        "fit_cpu_seconds": cpu_seconds() - cpu,
        "fit_seconds": time.perf_counter() - started,
        "peak_bytes": peak_bytes(),
        "threads": threads,
    }


def growth(small: Mapping[str, Any], large: Mapping[str, Any]) -> dict[str, float]:
    """Return by what factor events and CPU seconds grew, and whether the cost stayed within that."""
    events = large["events"] / small["events"]
    cost = large["fit_cpu_seconds"] / max(small["fit_cpu_seconds"], 0.05)
    return {"events": events, "cost": cost, "held": cost <= events * NOISE}


def main() -> int:
    """Measure the families that were asked for; 0 when none grows faster than the events."""
    if sys.argv[1:] == ["--child"]:
        asked, current = Fit(**orjson.loads(sys.stdin.buffer.read())), settings.load()
        return leave(Path(asked.out), lambda: fit(asked, current.threads))
    options = _arguments()
    current = settings.load()
    found = {}
    try:
        with terminal.stages() as stages, tempfile.TemporaryDirectory(prefix="counterfoil-growth-") as folder:
            for name in options.families:
                with stages.stage("grow", name):
                    found[name] = _of_family(name, (options.small, options.large), Path(folder), current)
                sys.stdout.write(_line(name, found[name]))
                sys.stdout.flush()
    except CounterfoilError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    report.write({"growth": found}, "growth-")
    return 0 if all(one.get("held", True) for one in found.values()) else 1


def _of_family(name: str, sizes: tuple[int, int], folder: Path, current: Settings) -> dict[str, Any]:
    fits = []
    for events in sizes:
        out = folder / f"{name}-{events}.json"
        try:
            fits.append(
                in_process(
                    "bench.growth",
                    asdict(Fit(family=name, events=events, out=str(out))),
                    out,
                    current,
                    f"{name} is left out",
                    "--child",
                )
            )
        except InputError as refusal:  # a fit that dies is no refusal: it ends the verb
            return {"refused": str(refusal), "events": events}
    return {"fits": fits, **growth(*fits)}


def _line(name: str, found: Mapping[str, Any]) -> str:
    if "refused" in found:
        return f"left   {name:<12} {found['refused']}\n"
    small, large = found["fits"]
    return (
        f"{'held  ' if found['held'] else 'BROKEN'} {name:<12} events x{found['events']:.1f}, CPU x{found['cost']:.1f}"
        f" ({small['fit_cpu_seconds']:.1f} to {large['fit_cpu_seconds']:.1f} s),"
        f" peak {small['peak_bytes'] / 1e6:,.0f} to {large['peak_bytes'] / 1e6:,.0f} MB\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--families", type=lambda text: text.split(","), default=[n for n in FAMILIES if n not in LEFT_OUT]
    )
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    asked = parser.parse_args()
    if unknown := [name for name in asked.families if name not in FAMILIES]:
        parser.error(f"no family is called {unknown[0]!r}; there are {', '.join(FAMILIES)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
