"""A process that turns the loop and is killed with SIGKILL again and again: amid long verbs, before and after each verb's record.

    python loop_killed.py HOME LOG

Imports are paid for once: every turn runs in a fork, and the fork is what dies. Each turn appends a line of JSON to LOG: what
killed it (null when it finished), the verbs that it ran, and the ids that it came to.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from counterfoil.catalog import Catalog, Outcome
from counterfoil.store import Store
from flows.place import Place
from tests.loop_shop import END, place_of, small_case, turn

AMID_SECONDS = 0.1
LONG = ("validate", "snapshot", "inspect", "package")  # each takes several times as long as that
HEAVY = (
    "feast",
    "great_expectations",
    "bentoml",
    "dvc_data.hashfile.build",
    "dvc_data.hashfile.transfer",
    "openlineage.client.event_v2",
    "openlineage.client.facet_v2",
)


class Mortal(Catalog):
    """A catalog whose process is killed at the first record of its life: just before it is written, or just after."""

    def __init__(self, whole: Catalog, when: str) -> None:
        super().__init__(whole.engine.url.render_as_string(hide_password=False), whole.notary)
        self.when = when

    def record(self, *args: Any, **kwargs: Any) -> None:
        """Record, and die."""
        if self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().record(*args, **kwargs)
        if self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)


def one_turn(home: Path, log: Path, when: str) -> None:
    """Turn the loop once, and note the verbs as they begin."""
    whole = place_of(home)
    place = Place(settings=whole.settings, store=Store(home), catalog=Mortal(whole.catalog, when))
    note = log.with_suffix(".ran")
    note.write_text("")

    def on_start(verb: str, label: str) -> None:
        with note.open("a") as file:
            file.write(f"{verb} {label}".strip() + "\n")
        if when == "amid" and verb in LONG:
            threading.Timer(AMID_SECONDS, os.kill, (os.getpid(), signal.SIGKILL)).start()
        elif when == "amid":
            os.kill(os.getpid(), signal.SIGKILL)

    advanced, _ = turn(place, small_case(), END, on_start=on_start, on_end=ended)
    with log.open("a") as file:
        ids = [
            advanced.dataset.id,
            *[c.id for c in advanced.candidates],
            *[e.id for e in advanced.evaluations],
        ]
        release = advanced.release
        ids += [advanced.decision.id, release.bento if release else None, release.id if release else None]
        file.write(json.dumps({"killed": None, "ran": note.read_text().splitlines(), "ids": ids}) + "\n")


def ended(_outcome: Outcome) -> None:
    """Nothing to show."""


def forked(home: Path, log: Path, when: str) -> bool:
    """Turn the loop in a fork that dies `when` (amid, before, after); return whether it was killed."""
    child = os.fork()
    if not child:
        try:
            one_turn(home, log, when)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        with log.open("a") as file:
            said = {"killed": when, "ran": log.with_suffix(".ran").read_text().splitlines()}
            file.write(json.dumps(said) + "\n")
        return True
    if os.WEXITSTATUS(status):
        sys.exit(1)
    return False


def main(home: Path, log: Path) -> None:
    """Die amid the first verb, before its record, then right after it, in turn after turn, until nothing is left to do."""
    for name in HEAVY:
        __import__(name)
    import feature_repo.build
    import feature_repo.offline
    import feature_repo.repo  # noqa: F401

    while forked(home, log, "amid"):
        forked(home, log, "before")
        forked(home, log, "after")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
