"""A process that dies by SIGKILL at every step of landing in turn; run by test_landing_killed.py, prints what it saw as JSON.

It forks before DuckDB or a thread exists, so that every trial starts from the same state without paying for imports.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from counterfoil.importers import open_source
from counterfoil.landing import land, quarantine, read_manifest, resubmit
from counterfoil.landing.erase import erase
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings

Step = Callable[[Settings, Callable[[str, int], None]], Any]


def main(root: Path) -> dict[str, Any]:
    """Try each scenario: never killed, killed at the n-th step for every n, killed and killed again while mending."""
    return {name: trial(root / name, *steps) for name, steps in scenarios(root).items()}


def scenarios(root: Path) -> dict[str, tuple[Step, Step]]:
    """Return what is done before, and what is killed."""

    def first(settings: Settings, progress: Callable[[str, int], None]) -> Any:
        return land(open_source("contract", root / "first"), settings, progress)

    def second(settings: Settings, progress: Callable[[str, int], None]) -> Any:
        return land(open_source("contract", root / "second"), settings, progress)

    def fix(settings: Settings, progress: Callable[[str, int], None]) -> Any:
        return resubmit(
            settings, next(b.batch for b in read_manifest(settings).batches), root / "fixed.csv", progress
        )

    def nothing(settings: Settings, progress: Callable[[str, int], None]) -> None:
        return None

    def both(settings: Settings, progress: Callable[[str, int], None]) -> None:
        first(settings, progress)
        second(settings, progress)

    def forget(settings: Settings, progress: Callable[[str, int], None]) -> None:
        erase(settings, pseudonym("bob", settings.pseudonym_key), (), "bob", progress)

    return {
        "somebody forgotten": (both, forget),
        "into nothing": (nothing, first),
        "into history": (first, second),
        "out of quarantine": (first, fix),
    }


def trial(root: Path, before: Step, killed: Step) -> dict[str, Any]:
    """Return what a home looks like that was never killed, and what those look like that were."""
    plain = Settings(home=root / "plain", threads=1)
    steps = child(lambda: [before(plain, quiet), counted(killed, plain)][1])
    start = Settings(home=root / "start", threads=1)
    child(lambda: before(start, quiet))
    out: dict[str, Any] = {"steps": steps, "plain": state(plain), "killed": []}
    for n in range(1, steps + 1):
        home = root / f"killed-{n}"
        if start.home.exists():
            shutil.copytree(start.home, home)
        out["killed"].append(
            run_killed(Settings(home=home, threads=1), killed, n, again=n % 3 if n > steps - 10 else 0)
        )
        shutil.rmtree(home)
    return out


def run_killed(settings: Settings, step: Step, n: int, again: int) -> dict[str, Any]:
    """Kill the step at its n-th effect, perhaps kill the second run too, let the last end; return what is there then."""
    died = child(lambda: step(settings, killer(n)))
    if again:
        child(lambda: step(settings, killer(again)))
    child(lambda: step(settings, quiet) and None)
    return {"n": n, "died": died == "killed", **state(settings)}


def killer(n: int) -> Callable[[str, int], None]:
    """Return a progress callable that kills its process at the n-th call."""
    left = [n]

    def tell(stage: str, rows: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return tell


def quiet(stage: str, rows: int) -> None:
    """Tell nobody."""


def counted(step: Step, settings: Settings) -> int:
    """Return how many effects a step has."""
    told: list[str] = []
    step(settings, lambda stage, rows: told.append(stage))
    return len(told)


def child(what: Callable[[], Any]) -> Any:
    """Run in a forked process; return its JSON answer, or `killed`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            answer = what()
            os.write(writer, json.dumps(answer if isinstance(answer, int) else None).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    if status:
        raise SystemExit("a trial failed; its traceback stands above")
    return json.loads(said)


def state(settings: Settings) -> dict[str, Any]:
    """Return every file's digest, the counts of the batches, and what is in quarantine."""
    files = sorted(p for p in settings.landing.rglob("*") if p.is_file() and p.name != ".lock")
    manifest = read_manifest(settings)
    return {
        "files": {
            str(p.relative_to(settings.landing)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        },
        "counts": [[b.rows_in, b.landed, b.duplicates, b.quarantined] for b in manifest.batches],
        "quarantine": [[q.batch, q.rows] for q in quarantine(settings)],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
