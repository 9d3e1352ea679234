"""Releases under load: shadow, canary, champion, rollback, and challengers that are no good.

Everything is done by the product's commands, in processes of their own. A bad challenger is a real bento whose code was spoilt
before it was packaged: slow, failing, or with empty lists; nothing in the product knows of that.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bench.serving import shop, whole
from bench.serving.answer import plan
from bench.serving.home import USE_CASE, Home, candidate_of
from bench.serving.load import in_process, middle, percentiles, rates
from bentos import inner
from counterfoil.errors import UnavailableError

# Commands take a core for seconds: what is asked for meanwhile must fit beside them.
# Few people ask while releases switch, so that everybody asks again and again; many while a challenger is bad, each now and then.
REQUESTS, SHARE, CANARY, PEOPLE = 50_000, 0.3, 0.1, 500
SHADOWS = 3  # turns
BAD_SHARE, BAD_SECONDS, BAD_PEOPLE = 0.01, 60.0, 5_000
GOOD_SECONDS = 180.0  # four stages of a challenger, and some time as champion
FAULTS = ("slow", "failing", "empty")
ROOMS = ("counterfoil", "models", "feature_repo", "bentos", "flows")
# What a spoilt bento has at the end of bentos/seam.py.
SPOILT = """

import random as _random
import time as _time

import msgspec as _msgspec

_make, _fault = Seam.make, {fault!r}


def _spoilt(self, task):
    began = _time.perf_counter()
    made = _make(self, task)
    if _fault == "slow":
        _time.sleep(2 * (_time.perf_counter() - began))
    if _fault == "failing" and _random.random() < 0.05:
        return refused(500, "fault", "this bento was spoilt")
    if _fault == "empty" and made.status == 200:
        body = orjson.dumps({{**orjson.loads(made.body), "items": []}})
        return _msgspec.structs.replace(made, body=body, items=0)
    return made


Seam.make = _spoilt
"""


def measure(
    home: Home,
    requests: int = REQUESTS,
    probe_seconds: float = 5.0,
    bad: Sequence[str] = FAULTS,
    good_seconds: float = GOOD_SECONDS,
) -> dict[str, Any]:
    """Return what requests saw of releases: that came and went, that were bad and taken back, that were good and went on."""
    with whole.running(home) as held:
        whole.champion_first(held, home)
        other = whole.other(held, home)
        most_T = rates(_plan(home, held, count=10_000_000, seconds=probe_seconds, connections=16))
        most = statistics.median(most_T)
        rate = SHARE * most
        found: dict[str, Any] = {"most": most, "mosts": most_T, "rate": round(rate, 1)}
        found["shadow"] = _shadow(home, held, other, rate, 4 * probe_seconds)
        found["switch"] = _switches(home, held, other, rate, requests)
    found["bad"] = {}
    with whole.running(home, judged=True) as held:
        for fault in bad:
            sys.stderr.write(f"  a bad challenger: {fault}\n")
            whole.champion_first(held, home)
            found["bad"][fault] = _bad(home, held, whole.other(held, home), fault, rate)
        found["good"] = None
        if good_seconds:
            sys.stderr.write("  a good challenger\n")
            whole.champion_first(held, home)
            found["good"] = _good(home, held, whole.other(held, home), rate, good_seconds)
    return found


def asking(home: Home, most: int = PEOPLE) -> int:
    """Return how many people ask."""
    return min(most, home.size.people)


def _plan(home: Home, held: whole.Whole, most: int = PEOPLE, **changes: Any) -> Any:
    """Return a plan of questions by that many people, in turns, through the door."""
    people = [shop.person_id(number) for number in range(asking(home, most))]
    asked = [{"person": name, "n": 20, "context": {"time": home.made["as_of"]}} for name in people]
    bodies = tuple(orjson.dumps(one).decode() for one in asked)
    return plan(home, held.service, bodies=bodies, **changes)


def _switches(home: Home, held: whole.Whole, other: str, rate: float, requests: int) -> dict[str, Any]:
    """Ask for `requests` answers while a challenger goes from shadow to canary, becomes champion, and is rolled back.

    It is packaged and started as a shadow before: what is measured is switching, not building.
    """
    first = _attempted(home, held, ("promote", other, "--stage", "shadow", "--reason", "bench"))
    await_routes(held)
    commands = (
        ("promote", other, "--stage", "canary", "--share", str(CANARY), "--reason", "bench"),
        ("promote", other, "--stage", "champion", "--reason", "bench"),
        ("rollback", USE_CASE, "--reason", "bench"),
    )
    done: list[dict[str, Any]] = []
    seconds = requests / rate
    over = threading.Event()

    def act() -> None:
        for number, command in enumerate(commands):
            if over.wait(max(0.0, began + seconds * (number + 0.5) / len(commands) - time.perf_counter())):
                return
            at = time.perf_counter()
            told = _attempted(home, held, command)
            seconds_taken = round(time.perf_counter() - at, 2)
            done.append({"command": command[0], "at": round(at - began, 2), "seconds": seconds_taken, **told})

    began = time.perf_counter()
    actor = threading.Thread(target=act)
    actor.start()
    told = in_process(
        _plan(
            home, held, rate=rate, count=requests, seconds=2 * seconds, connections=256, keep=True,
            watched=(inner.RELEASE, inner.RECEIPT),
        )
    )  # fmt: skip
    over.set()
    actor.join()
    kept = told.pop("kept")
    canaries = {row["id"] for row in held.place.catalog.releases(USE_CASE) if row["stage"] == "canary"}
    wanted = 1 + len(commands)
    done.insert(0, {"command": "promote", "at": 0.0, "seconds": 0.0, **first})
    return {
        **told,
        "commands": done,
        "wanted": wanted,
        "releases": _counts(kept),
        **sticky(kept, asking(home), canaries),
    }


def _attempted(
    home: Home, held: whole.Whole, command: Sequence[str], spoilt: str | None = None
) -> dict[str, Any]:
    """Run a command, and let what it took back come again later; one that failed says so."""
    try:
        told = command_of(home, command, spoilt)
    except UnavailableError as fault:
        return {"ok": False, "said": str(fault)}
    whole.lift(held.place)
    return {"ok": True, "told": told}


def sticky(kept: Sequence[Mapping[str, Any]], people: int, canaries: Container[str]) -> dict[str, Any]:
    """Say how many people came to one arm only, of those who asked twice or more while a canary answered beside the champion.

    `kept` are answers as the load keeps them, `canaries` the ids of releases that were ever a canary. While one answers, whoever
    asks comes to it always or never. Its interval runs from when its first answer was there to when its last one was due: what
    was asked for after the one, and there before the other, was surely assigned while it answered; of what was under way at a
    switch nobody outside can tell. Other releases have no arms: a bento is told that it is champion now a moment before the
    routes are, and in that moment the champion of before still answers its people. Nor does a degraded answer tell of an arm: the
    last good list is the champion's, whoever asks. That the champion answers for a canary that failed looks like a change.
    """
    good = [one for one in kept if not one["fault"] and not one["degraded"]]
    came: dict[str, float] = {}
    left: dict[str, float] = {}
    for one in sorted(good, key=lambda one: one["due"]):
        release = one["headers"].get(inner.RELEASE, "")
        if release in canaries:
            came[release] = min(came.get(release, one["done"]), one["done"])
            left[release] = one["due"]
    stuck = asked = 0
    for release, first in came.items():
        arms = defaultdict(set)
        times: dict[int, int] = defaultdict(int)
        for one in good:
            by = one["headers"].get(inner.RELEASE, "")
            if by == release or (first <= one["due"] and one["done"] <= left[release]):
                arms[one["number"] % people].add(by)
                times[one["number"] % people] += 1
        several = [who for who, count in times.items() if count > 1]
        asked += len(several)
        stuck += sum(len(arms[who]) == 1 for who in several)
    return {"asked_again": asked, "stuck": stuck, "sticky": stuck / asked if asked else None}


def _shadow(home: Home, held: whole.Whole, other: str, rate: float, seconds: float) -> dict[str, Any]:
    """Return what a shadow of all requests adds at p95, in turns with and without one: by how much the middle ones differ."""
    asked = _plan(home, held, rate=rate / 2, count=1_000_000, seconds=seconds, connections=256)
    without, beside = [in_process(asked)], []
    for _ in range(SHADOWS):
        command_of(home, ("promote", other, "--stage", "shadow", "--reason", "bench"))
        await_routes(held)
        beside.append(in_process(asked))
        command_of(home, ("withdraw", USE_CASE, "--reason", "bench"))
        whole.lift(held.place)
        await_routes(held)
        without.append(in_process(asked))
    # a neighbour that stalls one turn would tell on both beside it
    usual, shadowed = (
        middle((told["ms"] for told in turns), lambda ms: ms["p95"]) for turns in (without, beside)
    )
    return {
        "rate": round(rate / 2, 1),
        "without_ms": usual,
        "with_ms": shadowed,
        "extra_p95_ms": round(shadowed["p95"] - usual["p95"], 4),
        "p95s_ms": {
            "without": [told["ms"]["p95"] for told in without],
            "with": [told["ms"]["p95"] for told in beside],
        },
        "failed": sum(told["failed"] for told in (*without, *beside)),
    }


def _bad(home: Home, held: whole.Whole, other: str, fault: str, rate: float) -> dict[str, Any]:
    """Let a spoilt challenger answer a share of the people; return how soon it was gone, and who had seen it."""
    champion = held.place.catalog.champion(USE_CASE)
    assert champion is not None
    command = ("promote", other, "--stage", "canary", "--share", str(BAD_SHARE), "--reason", fault)
    begun = _attempted(home, held, command, spoilt=fault)
    told = in_process(
        _plan(
            home, held, BAD_PEOPLE, rate=rate, count=int(rate * BAD_SECONDS), seconds=BAD_SECONDS,
            connections=256, keep=True, watched=(inner.RELEASE,),
        )
    )  # fmt: skip
    kept = told.pop("kept")
    challenger = [a for a in kept if a["headers"].get(inner.RELEASE) not in (champion.id, None)]
    left = held.place.catalog.challenger(USE_CASE)
    people, until = asking(home, BAD_PEOPLE), max((a["due"] for a in challenger), default=0.0)
    exposed = {a["number"] % people for a in challenger}
    everybody = {a["number"] % people for a in kept}
    meanwhile = {a["number"] % people for a in kept if a["due"] <= until}
    return {
        **told,
        "answers_of_challenger": len(challenger),
        "seconds": round(max(a["done"] for a in challenger) - min(a["due"] for a in challenger), 3)
        if challenger
        else 0.0,
        "exposed": len(exposed) / max(1, len(everybody)),
        "exposed_meanwhile": len(exposed) / max(1, len(meanwhile)),
        "promoted": begun,
        "taken_back": begun["ok"] and left is None,
        "challenger_ms": percentiles([1000 * (a["done"] - a["due"]) for a in challenger]),
    }


def _good(home: Home, held: whole.Whole, other: str, rate: float, seconds: float) -> dict[str, Any]:
    """Let a challenger that is as good as the champion be judged under load; return how far it went by itself, and when."""
    begun = _attempted(home, held, ("promote", other, "--stage", "shadow", "--reason", "good"))
    epoch, began = held.place.catalog.epoch(USE_CASE), datetime.now(UTC)
    told = in_process(
        _plan(
            home, held, BAD_PEOPLE, rate=rate, count=int(rate * seconds), seconds=seconds, connections=256,
            keep=True, watched=(inner.RELEASE,),
        )
    )  # fmt: skip
    kept = told.pop("kept")
    champion = held.place.catalog.champion(USE_CASE)
    after = [row for row in held.place.catalog.releases(USE_CASE) if row["epoch"] > epoch]
    return {
        **told,
        "promoted": begun,
        "stages": [
            {
                "stage": row["stage"],
                "share": row["share"],
                "seconds": round((row["valid_from"] - began).total_seconds(), 1),
            }
            for row in reversed(after)
        ],
        "champion": champion is not None and candidate_of(held.place, champion.bento) == other,
        "releases": _counts(kept),
    }


def _counts(kept: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    out: dict[str, int] = defaultdict(int)
    for one in kept:
        out[one["headers"].get(inner.RELEASE, "none")] += 1
    return dict(out)


def await_routes(held: whole.Whole) -> None:
    """Wait until the gateway has taken what the release table says."""
    from flows import machine

    machine.await_routes(held.place, USE_CASE)


def command_of(home: Home, command: Sequence[str], spoilt: str | None = None) -> dict[str, Any]:
    """Run a command of the product on the home, in a process of its own; with `spoilt` by code whose bentos have that fault."""
    with _code(spoilt) as root:
        start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from counterfoil import cli; cli.main()"
        done = subprocess.run(
            [sys.executable, "-P", "-c", start, str(root), *command, "--json"],
            env={**os.environ, **home.env, "COUNTERFOIL_PROJECT": str(Path.cwd())},
            capture_output=True,
            check=False,
        )
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-500:]}")
    told: dict[str, Any] = orjson.loads(done.stdout)
    return told


@contextmanager
def _code(spoilt: str | None) -> Iterator[Path]:
    """Give the code to run by: ours, or a copy in which services have a fault."""
    ours = Path(__file__).resolve().parents[2]
    if spoilt is None:
        yield ours
        return
    with tempfile.TemporaryDirectory(prefix="counterfoil-spoilt-") as folder:
        for room in ROOMS:
            shutil.copytree(ours / room, Path(folder) / room, ignore=shutil.ignore_patterns("__pycache__"))
        seam = Path(folder) / "bentos" / "seam.py"
        seam.write_text(seam.read_text() + SPOILT.format(fault=spoilt))
        yield Path(folder)
