"""A write-ahead log is taken down beside who writes: nobody waits, nothing is lost, and a file that is gone is none's fault."""

import itertools
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from feature_repo import write_ahead
from feature_repo.write_ahead import Lowering, lower


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Who writes, and never takes the log down itself."""
    with closing(sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA wal_autocheckpoint = 0")
        conn.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text)")
        yield conn


def in_file(path: Path) -> int:
    """Return how many rows the file has without its log."""
    alone = path.with_name("alone.sqlite")
    shutil.copyfile(path, alone)
    with closing(sqlite3.connect(alone)) as conn:
        try:
            [[rows]] = conn.execute("SELECT count(*) FROM t").fetchall()
        except sqlite3.OperationalError:  # the table itself is in the log
            return 0
    return int(rows)


def written(conn: sqlite3.Connection, rows: int) -> None:
    conn.execute("BEGIN IMMEDIATE")
    conn.executemany("INSERT INTO t (text) VALUES (?)", (("x" * 100,) for _ in range(rows)))
    conn.execute("COMMIT")


def test_what_was_written_is_in_the_file_though_who_writes_goes_on(
    tmp_path: Path, conn: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_ahead, "ROWS", 500)
    path, lowering = tmp_path / "a.sqlite", Lowering()
    written(conn, 400)
    lowering.wrote(path, 400)
    lowering.join()
    assert in_file(path) == 0, "there is too little for it"
    written(conn, 400)
    lowering.wrote(path, 400)
    written(conn, 400)  # beside it
    lowering.join()
    assert in_file(path) in (800, 1200)
    lowering.wrote(path, 500)
    lowering.join()
    assert in_file(path) == 1200


def test_neither_who_reads_nor_who_writes_is_waited_for(tmp_path: Path, conn: sqlite3.Connection) -> None:
    path = tmp_path / "a.sqlite"
    written(conn, 100)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (100,)
        written(conn, 100)
        conn.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        lower(path)
        assert time.monotonic() - began < 2
        conn.execute("COMMIT")
        assert in_file(path) < 200, "what is newer than what somebody reads stays in the log"
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (100,)
    lower(path)
    assert in_file(path) == 200


def test_a_file_that_is_gone_is_told_and_not_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        lower(tmp_path / "none.sqlite")
    assert "none.sqlite is not taken down for now" in caplog.text
    assert not (tmp_path / "none.sqlite").exists()


def test_the_online_store_has_its_log_taken_down(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterfoil.settings import Settings
    from feature_repo import recent
    from feature_repo.pushed import RecentStore

    monkeypatch.setattr(write_ahead, "ROWS", 10)
    settings = Settings(home=home)
    store = RecentStore(settings)
    store.write([(f"p{n:020d}", recent.RINGS[1].field(0), b"[0]") for n in range(10)])
    store._online._log.join()
    path = settings.features / "online.sqlite"
    alone = home / "alone.sqlite"
    shutil.copyfile(path, alone)
    with closing(sqlite3.connect(alone)) as conn:
        [[name]] = conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%recent%'"
        ).fetchall()
        assert conn.execute(f'SELECT count(*) FROM "{name}"').fetchone() == (10,)


def test_who_is_forgotten_is_gone_though_the_log_is_being_taken_down(home: Path) -> None:
    from counterfoil.settings import Settings
    from feature_repo import recent
    from feature_repo.pushed import RecentStore

    settings = Settings(home=home)
    writing, forgetting, place = RecentStore(settings), RecentStore(settings), recent.RINGS[1].field(0)
    path, stop = settings.features / "online.sqlite", threading.Event()

    def write() -> None:
        for turn in itertools.count():
            if stop.is_set():
                return
            writing.write([(f"q{n:020d}", place, b"[%d,%b]" % (turn, b"1" * 900)) for n in range(2000)])

    def take_down() -> None:
        while not stop.is_set():
            lower(path)

    with ThreadPoolExecutor() as pool:
        going = [pool.submit(write), pool.submit(take_down)]
        try:
            for turn in range(25):
                key = f"she{turn:018d}"
                forgetting.write([(key, place, b"[0,1]")])
                forgetting.forget([key])
                assert forgetting.newest([key]) == {key: [None, None]}
        finally:
            stop.set()
        for one in going:
            one.result()
