"""One family tuned on a prepared set by its validation, in a process of its own: its cost stays apart from the measured fit's.

`python -m flows.benchmark.tuning` reads a JSON object (`Search`) from standard input and writes what it found into a folder.
"""

import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from counterfoil import canonical, settings
from flows.benchmark.measure import cpu_seconds, leave
from flows.benchmark.sets import Named, read
from models.choose import Chooser, chooser
from models.config import differing
from models.families import config_from
from models.tune import Budget, Outcome, Proposal, tune

TUNED = "tuned.json"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Search the space of `family` from `config` on for `minutes`, by `metric`, on the set prepared in the home, into `out`."""

    family: str
    config: dict[str, Any]
    seed: int
    metric: str
    minutes: float
    out: str


def search(asked: Search, named: Named) -> dict[str, Any]:
    """Tune and return the best config with the trials. What is tuned by is the training set's own; the trial is not looked at.

    InputError when there is nothing to choose by.
    """
    started, cpu = time.perf_counter(), cpu_seconds()
    base = config_from(asked.family, asked.config)

    @cache
    def chosen() -> Chooser:
        return chooser(named.split.training, asked.metric, seed=asked.seed)

    def attempt(proposal: Proposal) -> Outcome:
        return chosen().attempt(proposal)

    tuned = tune(base, attempt, Budget(minutes=asked.minutes), seed=asked.seed)
    return {
        "config": canonical.plain(tuned.config),
        "changed": canonical.plain(differing(tuned.config)),
        "ended": tuned.ended,
        "metric": asked.metric,
        "value": tuned.best.outcome.value if tuned.best else None,
        "base_value": tuned.trials[0].outcome.value if tuned.trials else None,
        "trials": [
            {"number": one.proposal.number, "state": one.outcome.state, "value": one.outcome.value}
            for one in tuned.trials
        ],
        "seconds": time.perf_counter() - started,
        "cpu_seconds": cpu_seconds() - cpu,
    }


def main() -> int:
    """Read a search, do it, write its result; a fault is written as one sentence."""
    asked = Search(**orjson.loads(sys.stdin.buffer.read()))
    return leave(Path(asked.out) / TUNED, lambda: search(asked, read(settings.load())))


if __name__ == "__main__":
    sys.exit(main())
