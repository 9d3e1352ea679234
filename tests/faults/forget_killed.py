"""A process that dies by SIGKILL at chosen steps of forgetting; run by test_forget_killed.py, prints what it saw as JSON.

It forks per trial, from a home that was planted once.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from counterfoil.pseudonym import pseudonym
from counterfoil.settings import EMBEDDED_KEY
from counterfoil.types import Erasure
from flows import verify
from flows.people import forget, places
from tests.loop_shop import place_of
from tests.planted_home import NAME, SESSION, plant, scan


def main(root: Path, wanted: list[int]) -> list[dict[str, Any]]:
    """Kill at each of these steps (0: never; negative: counted from the last; none: at all of them), ask again, and look."""
    child(lambda: plant(place_of(root / "of" / "home")))
    import dvc.repo  # noqa: F401  imported once, for all who are forked

    from feature_repo.light import import_feast

    import_feast()
    steps = trial(root, 0)["steps"]
    return [trial(root, n if n >= 0 else steps + 1 + n) for n in wanted or range(1, steps + 1)]


def trial(root: Path, n: int) -> dict[str, Any]:
    """Copy the home, forget in a child that dies at step `n`, forget again in another, and return what is there then."""
    copy = root / f"killed-{n}"
    shutil.copytree(root / "of", copy)
    config = copy / "home" / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(root / "of"), str(copy)))
    first = child(lambda: ended(copy, killer(n)))
    before = child(lambda: len(scan(copy / "home", *needles())))
    handed = copy / "certificate.json"
    out = json.loads(handed.read_bytes())["certificate"]["removed"] if handed.is_file() else None
    again = first if n == 0 else child(lambda: ended(copy, killer(0), "again.json"))
    if again is not None and out is not None:  # it was handed out before the kill
        again["removed"] = out
    seen = child(lambda: looked(copy))
    shutil.rmtree(copy)
    return {"n": n, "died": first is None, "before": before, "steps": again["steps"], **again, **seen}


def ended(copy: Path, effect: Callable[[], int], file: str = "certificate.json") -> dict[str, Any]:
    """Forget, each effect told to `effect`; return how many effects there were, and what was certified."""
    count = [0]

    def told(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> Any:
            result = do(*args, **kwargs)
            count[0] += 1
            effect()
            return result

        return done

    for module, name in EFFECTS:
        setattr(module, name, told(getattr(module, name)))
    said = forget.forget(place_of(copy / "home"), NAME, "tester", copy / file)
    return {"steps": count[0], "removed": said["removed"]}


def effects() -> list[tuple[Any, str]]:
    """Return every function by which forgetting changes the disk."""
    from counterfoil.landing import staging
    from counterfoil.objects import Objects
    from counterfoil.receipts import sealed
    from feature_repo import erase
    from flows import sealing
    from flows.people import certificate, journal, raw, record, retrain, traces, versions

    return [
        (journal, "keep"), (journal, "close"), (staging, "write_durably"), (staging, "_move"), (Objects, "drop"),
        (sealed, "redact"), (sealed, "write"), (sealing, "_one"), (erase, "_rewrite"), (erase, "erase_online"),
        (raw, "_filter"), (raw, "_take_away"), (traces, "log_remove"), (traces, "write_durably"),
        (versions, "remove_copies"), (certificate, "write"), (record, "_recorded"), (retrain, "ask"),
    ]  # fmt: skip


EFFECTS = effects()


def killer(n: int) -> Callable[[], None]:
    """Return what kills its process at the n-th call; never for 0."""
    left = [n]

    def effect() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return effect


def needles() -> list[str]:
    """What a scan looks for."""
    return [NAME, SESSION, pseudonym(NAME, EMBEDDED_KEY)]


def looked(copy: Path) -> dict[str, Any]:
    """Return what a scan finds, and what `verify` says."""
    place = place_of(copy / "home")
    told = verify.verify(place)
    left = scan(copy / "home", *needles()) | scan(copy / "remote", *needles())
    return {
        "left": sorted(left),
        "faults": told["faults"],
        "erasures": len(place.catalog.find(Erasure)),
        "notes": told["notes"],
    }


def child(what: Callable[[], Any]) -> Any:
    """Run in a forked process; return its JSON answer, None when it was killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writer, json.dumps(what()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return None
    if status:
        raise SystemExit("a trial failed; its traceback stands above")
    return json.loads(said)


if __name__ == "__main__":
    assert places.PLACES
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), [int(n) for n in sys.argv[2:]])))
