"""Releases in stages: what each ends, one transaction or nothing, an entry of the outbox each, whoever races or dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError

from counterfoil.catalog import Catalog, tables
from counterfoil.catalog.served import served
from counterfoil.errors import ConflictError, InputError
from counterfoil.types import Release

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
SHARES = {"champion": 1.0, "canary": 0.05, "shadow": 0.0, "retired": 0.0}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.engine.dispose()


def release(epoch: int, stage: str, **changes: Any) -> Release:
    at = NOON + timedelta(hours=epoch)
    values: dict[str, Any] = {
        "use_case": "shop",
        "decision": f"decision-{epoch:016d}",
        "bento": "bento-0000000000000000",
        "tag": f"shop:{epoch:016d}",
        "epoch": epoch,
        "stage": stage,
        "share": SHARES[stage],
        "valid_from": at,
        "valid_to": at if stage == "retired" else None,
    }
    return Release(**{**values, **changes})


def record(catalog: Catalog, made: Release) -> Release:
    catalog.record("release", f"{made.use_case} {made.epoch} {made.decision}", [made], [], [], 0.0)
    return made


def active(catalog: Catalog) -> list[tuple[int, str]]:
    return [
        (row["epoch"], row["stage"]) for row in reversed(catalog.releases("shop")) if row["valid_to"] is None
    ]


# what a stage ends


def test_stages_follow_each_other_and_each_ends_what_it_takes_the_place_of(catalog: Catalog) -> None:
    story = [
        ("champion", [(1, "champion")]),
        ("shadow", [(1, "champion"), (2, "shadow")]),
        ("canary", [(1, "champion"), (3, "canary")]),
        ("canary", [(1, "champion"), (4, "canary")]),
        ("champion", [(5, "champion")]),
        ("shadow", [(5, "champion"), (6, "shadow")]),
        ("retired", [(5, "champion")]),
        ("canary", [(5, "champion"), (8, "canary")]),
        ("champion", [(9, "champion")]),
    ]
    for epoch, (stage, then) in enumerate(story, start=1):
        made = record(catalog, release(epoch, stage))
        assert active(catalog) == then
        at = made.valid_from + timedelta(minutes=1)
        assert sorted((one.release.epoch, one.release.stage) for one in served(catalog, at)) == then
    challenger = catalog.challenger("shop")
    assert challenger is None and catalog.epoch("shop") == 9
    assert catalog.epoch("another") == 0


@pytest.mark.parametrize(
    ("stage", "share"),
    [("shadow", 0.1), ("canary", 0.0), ("canary", 1.0), ("champion", 0.5), ("retired", 0.1)],
)
def test_a_share_that_is_not_the_stages_is_refused_and_changes_nothing(
    catalog: Catalog, stage: str, share: float
) -> None:
    record(catalog, release(1, "champion"))
    record(catalog, release(2, "shadow"))
    with pytest.raises(InputError, match="no stage"):
        record(catalog, release(3, stage, share=share))
    assert active(catalog) == [(1, "champion"), (2, "shadow")]
    assert len(list(catalog.rows())) == 2 and len(told(catalog)) == 2


def test_nothing_is_taken_back_where_there_is_no_challenger(catalog: Catalog) -> None:
    record(catalog, release(1, "champion"))
    with pytest.raises(ConflictError, match="no challenger any more"):
        record(catalog, release(2, "retired"))
    assert catalog.epoch("shop") == 1 and len(told(catalog)) == 1


def test_the_database_itself_refuses_a_second_challenger(catalog: Catalog) -> None:
    record(catalog, release(1, "champion"))
    record(catalog, release(2, "shadow"))
    record(catalog, release(3, "canary"))
    with pytest.raises(DatabaseIntegrityError), catalog.engine.begin() as connection:
        connection.execute(text("UPDATE release SET valid_to = NULL WHERE epoch = 2"))


# the outbox


def told(catalog: Catalog) -> list[dict[str, Any]]:
    with catalog.reader.connect() as connection:
        rows = connection.execute(select(tables.OUTBOX).order_by(tables.OUTBOX.c.epoch)).mappings()
        return [{**row, "body": json.loads(row["body"])} for row in rows]


def test_each_release_lays_one_entry_into_the_outbox_with_what_it_ends(catalog: Catalog) -> None:
    made = [
        record(catalog, release(epoch, stage))
        for epoch, stage in enumerate(("champion", "shadow", "champion"), 1)
    ]
    assert [(entry["release"], entry["body"]["stage"], entry["body"]["ends"]) for entry in told(catalog)] == [
        (made[0].id, "champion", []),
        (made[1].id, "shadow", []),
        (made[2].id, "champion", [made[0].id, made[1].id]),
    ]
    record(catalog, made[2])  # the reply was lost, and it is written once more
    assert len(told(catalog)) == 3 and catalog.epoch("shop") == 3


# who races


def test_fifty_promotions_at_once_leave_one_champion_and_at_most_one_challenger(tmp_path: Path) -> None:
    """Fifty threads, each with a catalog of its own, promote to every stage; a watcher never sees none or two champions."""
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    first = Catalog(url)
    record(first, release(1, "champion"))
    seen: set[tuple[int, int]] = set()
    won: list[int] = []
    over, barrier = threading.Event(), threading.Barrier(50)
    stages = ("champion", "shadow", "canary", "retired", "champion")

    def contend(number: int) -> None:
        mine = Catalog(url)
        barrier.wait()
        made = release(mine.epoch("shop") + 1, stages[number % 5], decision=f"decision-of-{number:03d}")
        try:
            record(mine, made)
            won.append(made.epoch)
        except ConflictError:
            pass
        mine.engine.dispose()

    def watch() -> None:
        count = text(
            "SELECT (SELECT count(*) FROM release WHERE stage = 'champion' AND valid_to IS NULL),"
            " (SELECT count(*) FROM release WHERE stage IN ('shadow', 'canary') AND valid_to IS NULL)"
        )
        with create_engine(url).connect() as connection:
            while not over.is_set():
                seen.add(tuple(connection.execute(count).one()))  # type: ignore[arg-type]
                connection.rollback()

    watcher = threading.Thread(target=watch)
    watcher.start()
    contenders = [threading.Thread(target=contend, args=(number,)) for number in range(50)]
    for thread in contenders:
        thread.start()
    for thread in contenders:
        thread.join()
    over.set()
    watcher.join()
    epochs = [row["epoch"] for row in reversed(first.releases("shop"))]
    first.engine.dispose()
    assert epochs == list(range(1, len(won) + 2)) and sorted(won) == epochs[1:]
    assert won and seen <= {(1, 0), (1, 1)}


# kill -9

KILLED = """
import os, signal, sys
from sqlalchemy import event
from counterfoil.catalog import Catalog
from tests.unit.test_releases import record, release
catalog, number = Catalog(sys.argv[1]), int(sys.argv[2])
count = 0
def dies(*_):
    global count
    count += 1
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(catalog.engine, "before_cursor_execute", dies)
event.listen(catalog.engine, "commit", dies)
record(catalog, release(3, "champion"))
print(count)
"""


def test_kill_9_before_any_statement_of_a_promotion_leaves_the_old_or_the_new_whole(tmp_path: Path) -> None:
    """The Nth statement for N = 1, 2, .. until none is left: all of it is there or nothing, and a re-run finishes it."""
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    catalog = Catalog(url)
    record(catalog, release(1, "champion"))
    record(catalog, release(2, "shadow"))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = (
        "import os, sys\n"
        "from tests.unit import test_releases\n"
        "for number in range(1, 100):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.argv[1:] = [sys.argv[1], str(number)]\n"
        "        exec(test_releases.KILLED)\n"
        "        os._exit(0)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "    print(os.waitstatus_to_exitcode(status), test_releases.state(sys.argv[1]), flush=True)\n"
        "    if not status:\n"
        "        break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", driver, url], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("-9", "0"))]
    old = "[(1, 'champion'), (2, 'shadow')] 2 2"
    assert len(lines) > 8 and lines[:-1] == [[str(-signal.SIGKILL), old]] * (len(lines) - 1)
    assert lines[-1] == ["0", "[(3, 'champion')] 3 3"]
    record(catalog, release(3, "champion"))
    assert state(url) == "[(3, 'champion')] 3 3"
    catalog.engine.dispose()


def state(url: str) -> str:
    """Return who is active, how many entries the outbox has, and how many nouns there are."""
    catalog = Catalog(url)
    said = f"{active(catalog)} {len(told(catalog))} {len(list(catalog.rows()))}"
    catalog.engine.dispose()
    return said


def test_a_challenger_of_another_use_case_is_left_alone(catalog: Catalog) -> None:
    for epoch, stage in ((1, "champion"), (2, "canary")):
        record(catalog, release(epoch, stage))
        record(catalog, replace(release(epoch, stage), use_case="search"))
    record(catalog, release(3, "retired"))
    assert catalog.challenger("shop") is None
    search = catalog.challenger("search")
    assert search is not None and search.stage == "canary"
