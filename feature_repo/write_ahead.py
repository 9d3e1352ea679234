"""Takes SQLite's write-ahead log down into its file beside whoever writes to it.

A commit that takes the log down (autocheckpoint) copies tens of megabytes and waits for the disk while nothing else is written. A
checkpoint by another connection (PASSIVE, https://sqlite.org/wal.html) stops neither who writes nor who reads; it leaves what a
reader still needs, and what is written meanwhile, to the next one.
"""

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)
ROWS = 8000  # written to one file between two times
# of the log; then who writes takes it down as well, of which little is left to do as a rule
MOST_PAGES = 40_000


class Lowering:
    """Of one file: begins anew each time that enough was written, one at a time."""

    def __init__(self) -> None:
        self._rows = 0
        self._thread: threading.Thread | None = None

    def wrote(self, path: Path, rows: int) -> None:
        """Take note of rows that were committed; never waits."""
        self._rows += rows
        if self._rows < ROWS or (self._thread is not None and self._thread.is_alive()):
            return
        self._rows = 0
        self._thread = threading.Thread(target=lower, args=(path,), name="lower", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until nothing is taken down any more."""
        if self._thread is not None:
            self._thread.join()


def lower(path: Path) -> None:
    """Take down what nobody reads any more. What fails is logged: whoever writes meets it as well, or tries again."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as conn:
            conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error as fault:
        log.warning("the log of %s is not taken down for now: %s", path, fault)
