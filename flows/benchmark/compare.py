"""All asked families on one set, each fit in a process of its own, and the table that compares them unit by unit.

The spread over seeds is shown beside the standard error over units: the larger one says how far a figure may be trusted.
A family that refuses the data, or whose process dies, is named with its sentence beside the figures of the others.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil import settings, terminal
from counterfoil.errors import CounterfoilError, InputError, UnavailableError
from counterfoil.files import write_durably
from counterfoil.settings import Settings
from flows.benchmark.measure import LISTS, RESULT, UNITS, Task
from flows.benchmark.sets import Named, Terms, prepare, read
from flows.benchmark.tuning import TUNED, Search
from flows.report.bench import html
from models.bootstrap import intervals
from models.evaluate import read_units
from models.families import FAMILIES

LENGTH = {"leave-one-out": 10, "time": 10, "next-item": 20}
# Of whoever is measured: Arrow's own allocator keeps what reading freed, 70 MB at the peak of a small fit; the system's does not.
LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system"}
PRIMARY = {"leave-one-out": "ndcg", "time": "ndcg", "next-item": "mrr"}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What to measure: the set and how it is cut, families, seeds, where lists go. `configs` overrides defaults by family."""

    terms: Terms
    families: tuple[str, ...]
    seeds: int = 1
    budget_minutes: float = 0.0
    lists: Path | None = None
    html: Path | None = None
    configs: Mapping[str, dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Raise InputError that names every fault."""
        faults = [
            f"no family is called {name!r}; there are {', '.join(FAMILIES)}"
            for name in self.families
            if name not in FAMILIES
        ]
        if not self.families:
            faults.append("no family was named; give --families a,b")
        if len(set(self.families)) != len(self.families):
            faults.append("a family was named twice")
        if self.seeds < 1:
            faults.append(f"{self.seeds} seeds were asked for; give 1 or more")
        if not 0 <= self.budget_minutes < float("inf"):
            faults.append(f"a budget of {self.budget_minutes:g} minutes was given; give 0 (none) or more")
        for what, path in (("the lists", self.lists), ("the page", self.html)):
            if path is not None and not path.absolute().parent.is_dir():
                faults.append(f"there is no folder {path.absolute().parent} to write {what} into")
        if faults:
            raise InputError("; ".join(faults))


def run(asked: Benchmark, stages: terminal.Stages) -> dict[str, Any]:
    """Measure every family with every seed and return the findings; the folder that this works in is removed afterwards.

    Families that could not be measured stand under `refused`. InputError or UnavailableError when none could.
    """
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        home = settings.load().model_copy(update={"home": Path(folder)})
        with stages.stage("land", asked.terms.format):
            terms = prepare(asked.terms, home, stages.advance)
        named = read(home)
        k = LENGTH[terms.protocol]
        found: list[dict[str, Any]] = []
        refused: dict[str, CounterfoilError] = {}
        for name in asked.families:
            try:
                tuned = _tuned(asked, name, f"{PRIMARY[terms.protocol]}@{k}", home, stages)
                found += [
                    {**_measured(asked, name, tuned, seed, k, home, stages), "tuning": tuned}
                    for seed in range(asked.seeds)
                ]
            except (InputError, UnavailableError) as refusal:
                refused[name] = refusal
        found = [one for one in found if one["family"] not in refused]
        if not found:
            raise next(iter(refused.values()))
        if asked.lists is not None:
            _write_lists(found, asked.lists)
        report = _report(terms, named, found, k) | {"refused": [_refusal(*one) for one in refused.items()]}
        if asked.html is not None:
            write_durably(asked.html, html(report).encode())
        return report


def _tuned(
    asked: Benchmark, family: str, metric: str, home: Settings, stages: terminal.Stages
) -> dict[str, Any] | None:
    """Search a family's space for the minutes that were given, once for all seeds; None when there is no budget."""
    if not asked.budget_minutes:
        return None
    out = home.home / "tuned" / family
    out.mkdir(parents=True)
    config = dict((asked.configs or {}).get(family, {}))
    search = Search(
        family=family, config=config, seed=0, metric=metric, minutes=asked.budget_minutes, out=str(out)
    )
    with stages.stage("tune", family):
        return in_process(
            "flows.benchmark.tuning", asdict(search), out / TUNED, home, f"{family} cannot be tuned"
        )


def _measured(
    asked: Benchmark,
    family: str,
    tuned: dict[str, Any] | None,
    seed: int,
    k: int,
    home: Settings,
    stages: terminal.Stages,
) -> dict[str, Any]:
    """Fit and ask one family with one seed."""
    out = home.home / "measured" / f"{family}-{seed}"
    out.mkdir(parents=True)
    config = tuned["config"] if tuned else (asked.configs or {}).get(family, {})
    task = Task(family=family, config=config, seed=seed, k=k, out=str(out), lists=asked.lists is not None)
    with stages.stage("measure", f"{family}, seed {seed}" if asked.seeds > 1 else family):
        found = in_process(
            "flows.benchmark.measure", asdict(task), out / RESULT, home, f"{family} cannot be measured"
        )
    shutil.rmtree(out / "artefact", ignore_errors=True)
    return {**found, "folder": str(out)}


def in_process(
    module: str, task: dict[str, Any], result: Path, home: Settings, fails: str, *arguments: str
) -> dict[str, Any]:
    """Run a task in a process of its own and return what it wrote; `fails` begins the sentence when it cannot."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        input=orjson.dumps(task),
        env=os.environ | LEAN | {"COUNTERFOIL_HOME": str(home.home)},
        capture_output=True,
        check=False,
    )
    found: dict[str, Any] = orjson.loads(result.read_bytes()) if result.is_file() else {}
    if "error" in found:
        raise InputError(f"{fails} here: {found['error']}")
    if done.returncode or not found:
        told = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise UnavailableError(f"{fails}: its process ended with {done.returncode}: {told[0]}")
    return found


def _report(terms: Terms, named: Named, found: Sequence[dict[str, Any]], k: int) -> dict[str, Any]:
    primary = f"{PRIMARY[terms.protocol]}@{k}"
    split = named.split
    families = [
        _summary(name, [one for one in found if one["family"] == name], primary) for name in _names(found)
    ]
    values = {name: _units(found, name, primary) for name in _names(found)}
    best = max(families, key=lambda one: one["metrics"][primary]["mean"])["family"]
    return {
        "data": str(terms.path),
        **{name: value for name, value in asdict(terms).items() if name != "path"},
        "people": split.training.interactions.people,
        "items": split.trial.query.items,
        "learned_from": len(split.training.interactions),
        "holdout_from": _moment(split.training.until_us) if terms.protocol == "time" else None,
        "units": split.trial.query.people,
        "k": k,
        "primary": primary,
        "best": best,
        "families": families,
        "leads": [_lead(best, other, values) for other in values if other != best],
    }


def _refusal(family: str, fault: CounterfoilError) -> dict[str, str]:
    """Return who could not be measured and why; `kind` tells a family that refuses from a process that died."""
    return {"family": family, "kind": type(fault).__name__, "reason": str(fault)}


def _moment(time_us: int) -> str:
    return f"{np.datetime64(time_us, 'us').astype('datetime64[s]')}Z"


def _names(found: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["family"] for one in found))


def _summary(family: str, runs: Sequence[dict[str, Any]], primary: str) -> dict[str, Any]:
    """Return means over seeds with their spread, the standard error over units, and medians of costs."""
    units = np.mean([read_units(Path(one["folder"]) / UNITS).values[primary] for one in runs], axis=0)
    metrics = {
        name: {
            "mean": float(np.mean([one["metrics"][name] for one in runs])),
            "seeds": [one["metrics"][name] for one in runs],
        }
        for name in runs[0]["metrics"]
    }
    costs = ("fit_seconds", "fit_cpu_seconds", "peak_bytes", "artefact_bytes", "score_ms", "batch_ms")
    return {
        "family": family,
        "paper": FAMILIES[family].paper,
        "config": runs[0]["config"],
        "tuning": runs[0]["tuning"],
        "curve": runs[0]["curve"],
        "metrics": metrics,
        "standard_error": float(units.std(ddof=1) / np.sqrt(len(units))) if len(units) > 1 else None,
        **{name: float(np.median([one[name] for one in runs])) for name in costs},
    }


def _units(found: Sequence[dict[str, Any]], family: str, metric: str) -> np.ndarray:
    """Return the metric per unit, the mean of the seeds."""
    runs = [
        read_units(Path(one["folder"]) / UNITS).values[metric] for one in found if one["family"] == family
    ]
    return np.mean(runs, axis=0)


def _lead(best: str, other: str, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return by how much the best leads another family, paired by unit: 95% bootstrap interval and p of the paired t-test."""
    from scipy import stats  # 50 MB, which each process that measures a family would hold

    difference = values[best] - values[other]
    low, high = intervals(difference[None], 0.95, seed=0)[0]
    p = float(stats.ttest_1samp(difference, 0.0).pvalue) if difference.std() > 0 else 1.0
    return {
        "family": best,
        "over": other,
        "lead": float(difference.mean()),
        "low": float(low),
        "high": float(high),
        "p": p,
    }


def _write_lists(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the lists of all families and seeds into one file, whole or not at all."""
    parts = []
    for one in found:
        table = pq.read_table(Path(one["folder"]) / LISTS)
        rows = len(table)
        parts.append(
            table.append_column("family", pa.repeat(pa.scalar(one["family"]), rows)).append_column(
                "seed", pa.repeat(pa.scalar(one["seed"], pa.int32()), rows)
            )
        )
    half = path.with_name(path.name + ".part")
    pq.write_table(pa.concat_tables(parts), half, compression="zstd")
    half.replace(path)


def show(report: dict[str, Any]) -> None:
    """Print the table, best first, and by how much the best leads."""
    k, primary = report["k"], report["primary"]
    columns = [f"ndcg@{k}", f"recall@{k}", f"mrr@{k}", f"coverage@{k}", f"popularity_ratio@{k}"]
    ranked = sorted(report["families"], key=lambda one: -one["metrics"][primary]["mean"])
    rows = [
        [
            one["family"],
            *(one["metrics"][name]["mean"] if name in one["metrics"] else None for name in columns),
            one["standard_error"],
            round(one["fit_cpu_seconds"], 1),
            round(one["peak_bytes"] / 1e6),
            round(one["score_ms"], 2),
        ]
        for one in ranked
    ]
    title = (
        f"{report['data']}, {report['protocol']}: {report['units']:,} units, {report['items']:,} items,"
        f" learned from {report['learned_from']:,} events"
    )
    terminal.table(title, ["family", *columns, "se", "fit CPU s", "peak MB", "answer ms"], rows)
    for one in ranked:
        if one["tuning"]:
            terminal.OUT.print(_tuned_in_words(one), highlight=False, markup=False, soft_wrap=True)
    for lead in report["leads"]:
        interval = f"({lead['low']:+.4f} to {lead['high']:+.4f}), p {lead['p']:.2g}"
        terminal.OUT.print(
            f"{lead['family']} leads {lead['over']} by {lead['lead']:+.4f} {interval}", highlight=False
        )
    for one in report["refused"]:
        terminal.OUT.print(one["reason"], highlight=False, markup=False, soft_wrap=True)


def _tuned_in_words(one: dict[str, Any]) -> str:
    """Say what tuning found for a family, how many trials it made, and what it cost beside the fit."""
    tuning = one["tuning"]
    if not tuning["trials"]:
        return f"{tuning['ended']}; its config is used as it is"
    gained = f"{tuning['metric']} on the validation {tuning['base_value']:.4f} to {tuning['value']:.4f}"
    cost = f"{len(tuning['trials'])} trials, {tuning['cpu_seconds']:.1f} CPU s, {tuning['ended']}"
    changed = ", ".join(f"{name} {value}" for name, value in tuning["changed"].items()) or "the defaults"
    return f"{one['family']} tuned: {gained} ({cost}): {changed}"
