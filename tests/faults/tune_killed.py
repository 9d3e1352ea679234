"""A process that tunes and is killed with SIGKILL amid a trial, before a trial's record, or just after it.

python tune_killed.py HOME WHEN NUMBER TRIALS
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from counterfoil.catalog import Catalog
from counterfoil.store import Store
from flows.place import Place
from flows.steps import recorder
from flows.tune import tune_family
from models.tune import Budget
from tests.loop_shop import place_of, small_case


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Catalog):
    """A catalog whose process is killed at the record of one trial."""

    def __init__(self, whole: Catalog, when: str, number: int) -> None:
        super().__init__(whole.engine.url.render_as_string(hide_password=False), whole.notary)
        self.when, self.number = when, number

    def record(self, verb: str, key: str, nouns: Any, *rest: Any) -> None:
        """Record, and die if it is time."""
        mine = verb == "attempt" and nouns[0].number == self.number
        if mine and self.when == "before":
            die()
        super().record(verb, key, nouns, *rest)
        if mine and self.when == "after":
            die()


def main(home: Path, when: str, number: int, trials: int) -> None:
    """Tune until death."""
    whole = place_of(home)
    place = Place(settings=whole.settings, store=Store(home), catalog=Mortal(whole.catalog, when, number))
    memory = recorder(place)

    def on_start(verb: str, label: str) -> None:
        if when == "amid" and label.endswith(f"trial {number}"):
            die()

    memory.on_start = on_start
    tune_family(place, small_case(), "repurchase", Budget(trials=trials), memory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
