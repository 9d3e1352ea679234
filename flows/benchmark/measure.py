"""One family on a prepared set: fitted, asked, measured; in a process of its own, so that its peak of memory is its own.

`python -m flows.benchmark.measure` reads a JSON object (`Task`) from standard input and writes what it found into a folder.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import canonical, settings
from counterfoil.errors import CounterfoilError
from flows.benchmark.sets import Named, read
from models.evaluate import Scores, evaluate, write_units
from models.families import FAMILIES, config_from

RESULT, UNITS, LISTS = "result.json", "units.parquet", "lists.parquet"
CURVE = "curve.json"  # what a family may leave in its artefact


@dataclass(frozen=True, kw_only=True)
class Task:
    """Fit `family` with `config` and `seed` on the set prepared in the home, ask for `k` items, leave the findings in `out`."""

    family: str
    config: dict[str, Any]
    seed: int
    k: int
    out: str
    lists: bool


def measure(task: Task, named: Named, threads: int) -> dict[str, Any]:
    """Fit, save, load, ask; write units (and lists) into `out`, and return the figures.

    CPU seconds are those of the fit on all its threads; `peak_bytes` is the most that this process ever held, data and imports
    included.
    """
    family, split = FAMILIES[task.family], named.split
    config = config_from(task.family, task.config)
    started, cpu = time.perf_counter(), cpu_seconds()
    model = family.fit(config, split.training, task.seed)
    fit_seconds, fit_cpu_seconds = time.perf_counter() - started, cpu_seconds() - cpu
    fit_peak_bytes = peak_bytes()
    out = Path(task.out)
    artefact = out / "artefact"
    artefact.mkdir(parents=True)
    model.save(artefact)
    scores = evaluate(
        family.load(artefact),
        split.trial.query,
        split.trial.truth,
        slices={},
        train_popularity_I=split.training.interactions.matrix().getnnz(axis=0),
        k=task.k,
        unit_P=np.arange(split.trial.query.people),
        category_I=split.training.category_I,
    )
    write_units(scores, out / UNITS)
    if task.lists:
        pq.write_table(lists_of(scores, named), out / LISTS, compression="zstd")
    return {
        "family": task.family,
        "seed": task.seed,
        "config": canonical.plain(config),
        "metrics": scores.metrics,
        "fit_seconds": fit_seconds,
        "fit_cpu_seconds": fit_cpu_seconds,
        "peak_bytes": fit_peak_bytes,
        "artefact_bytes": sum(file.stat().st_size for file in artefact.rglob("*") if file.is_file()),
        "score_ms": scores.score_ms,
        "batch_ms": scores.batch_ms,
        "threads": threads,
        "curve": artefact_curve(artefact),
    }


def artefact_curve(artefact: Path) -> list[dict[str, float]]:
    """Return how a family learned, where its artefact tells: a value per step."""
    path = artefact / CURVE
    told: list[dict[str, float]] = orjson.loads(path.read_bytes()) if path.is_file() else []
    return told


def lists_of(scores: Scores, named: Named) -> pa.Table:
    """Return the top lists: unit, rank (from 1), item, score, with the names that the data give them."""
    row_M, place_M = np.nonzero(scores.ranking.item_PK >= 0)
    item_M = scores.ranking.item_PK[row_M, place_M]
    return pa.table(
        {
            "unit": named.unit_ids[row_M],
            "rank": (place_M + 1).astype(np.int32),
            "item": named.item_ids[item_M],
            "score": scores.ranking.score_PK[row_M, place_M],
        }
    )


def cpu_seconds() -> float:
    """Return the CPU seconds that this process has used on all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes() -> int:
    """Return the peak of resident memory of this process.

    Linux says it of this very program; what `getrusage` says there is at least the peak of whoever started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def leave(result: Path, work: Callable[[], dict[str, Any]]) -> int:
    """Do the work of a process of its own and leave what it found, or one sentence about a fault; return the exit code."""
    try:
        found = work()
    except CounterfoilError as fault:
        result.write_bytes(orjson.dumps({"error": str(fault), "kind": type(fault).__name__}))
        return fault.exit_code
    result.write_bytes(orjson.dumps(found))
    return 0


def main() -> int:
    """Read a task, do it, write its result; a fault is written as one sentence."""
    current = settings.load()
    task = Task(**orjson.loads(sys.stdin.buffer.read()))
    return leave(Path(task.out) / RESULT, lambda: measure(task, read(current), current.threads))


if __name__ == "__main__":
    sys.exit(main())
