"""The journal of OpenLineage events: one line of JSON per event, durable, a file per day (UTC); it also notes what is under way.

A run that began and has not ended is a START without an end, and its START says which process it is in (facet
`counterfoil_process`: host, id and moment of creation). So the journal itself is the note of what was begun: who opens it next
writes the end for runs whose process is gone. `settled.json` says up to where all runs have ended, so that nothing is read twice.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import psutil
from filelock import FileLock

from counterfoil.files import sync, write_durably
from counterfoil.processes import lives

PROCESS = "counterfoil_process"
ENDS = ("COMPLETE", "FAIL", "ABORT")
Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Position:
    """A place in the journal: a file's name, and an offset in bytes."""

    file: str = ""
    offset: int = 0


@dataclass(kw_only=True)
class Journal:
    """The events of one home, in `folder`."""

    folder: Path

    def append(self, events: Iterable[Event]) -> None:
        """Write events at the end, whole and forced to the disk, or raise OSError."""
        lines = b"".join(orjson.dumps(event) + b"\n" for event in events)
        with self.locked:
            self._write(lines)

    def settle(self, ended: Callable[[Event], Event]) -> int:
        """Write `ended(START)` for every run whose process is gone; returns how many there were.

        Runs of another host are left alone: nobody can see from here whether they live.
        """
        if not self.folder.is_dir() or self.position("settled") == self.end():
            return 0
        with self.locked:
            begun: dict[str, tuple[Position, Event]] = {}
            for start, _, event in self.read(self.position("settled")):
                run = event["run"]["runId"]
                if event["eventType"] == "START":
                    begun[run] = (start, event)
                elif event["eventType"] in ENDS:
                    begun.pop(run, None)
            dead = [run for run, (_, event) in begun.items() if _is_dead(event)]
            gone = [begun.pop(run)[1] for run in reversed(dead)]  # stages before the flow that they are in
            self._write(b"".join(orjson.dumps(ended(event)) + b"\n" for event in gone))
            open_since = [position for position, _ in begun.values()]
            self.move("settled", min([*open_since, self.end()]))
        return len(gone)

    def read(self, since: Position) -> Iterator[tuple[Position, Position, Event]]:
        """Yield events from a position on, each with where it begins and ends; what is torn is passed over."""
        for path in self.files():
            if path.name < since.file:
                continue
            offset = since.offset if path.name == since.file else 0
            with path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # somebody is writing it now, or was killed over it
                    start = Position(file=path.name, offset=offset)
                    offset += len(line)
                    try:
                        event = orjson.loads(line)
                    except ValueError:
                        continue
                    yield start, Position(file=path.name, offset=offset), event

    def files(self) -> list[Path]:
        """Return the days' files, oldest first."""
        return sorted(self.folder.glob("????-??-??.jsonl"))

    def end(self) -> Position:
        """Return where the next event goes, unless a new day begins."""
        files = self.files()
        return Position(file=files[-1].name, offset=files[-1].stat().st_size) if files else Position()

    def position(self, reader: str) -> Position:
        """Return how far a reader has come; the beginning for one who was never here."""
        try:
            return Position(**orjson.loads((self.folder / f"{reader}.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return Position()

    def move(self, reader: str, to: Position) -> None:
        """Remember how far a reader has come."""
        content = orjson.dumps({"file": to.file, "offset": to.offset})
        write_durably(self.folder / f"{reader}.json", content)

    @cached_property
    def locked(self) -> FileLock:
        """The lock of whoever writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "journal.lock", timeout=30)

    def _write(self, lines: bytes) -> None:
        if not lines:
            return
        path = self.folder / f"{datetime.now(UTC).date()}.jsonl"
        fresh = not path.exists()
        with path.open("ab") as file:
            _cut_torn(path, file)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync(self.folder)


def _cut_torn(path: Path, file: Any) -> None:
    """Take off what a killed process left of a line: nobody was told that it was written."""
    size = file.tell()
    if not size:
        return
    with path.open("rb") as reader:
        reader.seek(size - 1)
        if reader.read(1) == b"\n":
            return
        reader.seek(0)
        file.truncate(reader.read().rfind(b"\n") + 1)


def this_process() -> dict[str, Any]:
    """Return what tells this process from all others: host, id, moment of creation (an id may be given to another one later)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "created": psutil.Process().create_time()}


def _is_dead(start: Event) -> bool:
    process = start["run"].get("facets", {}).get(PROCESS)
    if not process or process["host"] != socket.gethostname():
        return False
    return not lives(process["pid"], process["created"])
