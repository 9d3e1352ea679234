"""The folder of receipts: `DAY/SEGMENT.jsonl`, sealed `DAY/SEGMENT.parquet`. Ids carry both, so that no index of rows is kept.

`write` commits by itself, in the thread that calls; `submit` commits in groups, by a thread: whatever waits while the disk is
busy goes down with the next flush. Where the disk may have a receipt some milliseconds after its answer, both leave it in the
draft of its segment (draft.py), and a thread packs what came together: what lies there outlives the process, but not a loss of
power.
"""

import base64
import errno
import logging
import os
import queue
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson

from counterfoil import segment
from counterfoil.errors import InputError, UnavailableError, UnknownError
from counterfoil.receipts import draft, sealed
from counterfoil.receipts.coded import check, decode, dumps, encode
from counterfoil.types import Receipt

log = logging.getLogger(__name__)
ID = re.compile(r"receipt-(?P<segment>(?P<day>\d{8})T\d{6}-[0-9a-f]{8})-(?P<number>\d{1,12})")
SEGMENT_RECEIPTS = 4096
LOT = 64  # receipts
LOTS_OF_A_SEGMENT = SEGMENT_RECEIPTS // LOT
GROUP = 512
WAITING = 8 * GROUP  # receipts that the disk may be behind with before no more are taken
OPEN = 2


class Erased(UnknownError):
    """The receipt was erased, by the erasure that names the person so."""

    def __init__(self, id: str, person: str) -> None:
        super().__init__(f"{id} was erased with all that was held about its person")
        self.id, self.person = id, person


Row = tuple[int, bytes]  # number, payload
Entry = tuple[str, int, Receipt, "Future[None]"]  # segment, number, receipt, done once it is kept


class Receipts:
    """Write receipts, and find them again. One instance may be shared by threads; processes may share the folder.

    `fetch(name, path)` brings a sealed segment back that is not here any more, and says whether there was one. `flush_ms` is how
    long the disk may have for a receipt after its answer; 0: no answer before the disk has its receipt.
    """

    def __init__(
        self, folder: Path, fetch: Callable[[str, Path], bool] | None = None, *, flush_ms: int = 0
    ) -> None:
        self.folder, self._fetch, self._flush_ms = folder, fetch, flush_ms
        self._lock, self._writing, self._drafting = (threading.Lock() for _ in range(3))
        self._segment, self._day = "", date.min
        self._issued = SEGMENT_RECEIPTS
        self._open: dict[str, segment.Ahead] = {}
        self._packers: dict[str, segment.Packer] = {}
        self._pending: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._drafts: dict[str, draft.Draft] = {}
        # what a draft holds and its segment does not: as it was answered, and as lines that are to be written
        self._drafted: dict[str, list[tuple[int, Receipt]]] = {}
        self._lined: dict[str, list[bytes]] = {}
        self._packing: threading.Thread | None = None
        self._unpacked, self._closed = threading.Event(), threading.Event()

    def new_id(self, time: datetime) -> str:
        """Return the id under which the next answer, given at `time`, will be written; ids are used once."""
        with self._lock:
            moment = time.astimezone(UTC)
            if self._issued >= SEGMENT_RECEIPTS or self._day != moment.date():
                self._segment = f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
                self._issued, self._day = 0, moment.date()
            self._issued += 1
            return f"receipt-{self._segment}-{self._issued}"

    def write(self, receipt: Receipt) -> None:
        """Write a receipt and return once it is durable, or sure to be in `flush_ms`; UnavailableError when the disk refuses it.

        ValueError or TypeError when it holds what no JSON tells, such as NaN.
        """
        name, _, number = receipt.id.removeprefix("receipt-").rpartition("-")
        if name not in self._drafts:
            _parts(receipt.id)  # once for each segment: it takes as long as handing the receipt over
        if self._flush_ms:
            check(receipt)
            fault = self._draft(name, int(number), receipt)
        else:
            fault = self._commit(name, [(int(number), encode(receipt))])
        if fault is not None:
            raise fault

    def settle(self) -> None:
        """Make lines of what was drafted: for who has a moment after an answer has left.

        Then whoever flushes has nothing to compute. Two threads that compute by turns take three times as long as one.
        """
        if not self._writing.acquire(blocking=False):
            return  # what is flushed now is not waited for; the next moment will do
        try:
            for name in list(self._drafted):
                if self._drafted.get(name) and not self._line(name):
                    self._abandon(name)
        finally:
            self._writing.release()

    def submit(self, receipt: Receipt) -> "Future[None]":
        """Hand a receipt over for the next group; the future is done once `write` would return, or holds what that would raise.

        UnavailableError also while the disk is behind with as many as may wait: who asked gives up, the receipt does not.
        ValueError when a score or a chance is not finite.
        """
        named = _parts(receipt.id)
        if self._pending.qsize() >= WAITING:
            raise self._refused(OSError(errno.EBUSY, os.strerror(errno.EBUSY)))
        check(receipt)
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # nobody may take back what is being written
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_groups, name="receipts", daemon=True)
                self._writer.start()
        self._pending.put((named["segment"], int(named["number"]), receipt, done))
        return done

    def find(self, id: str) -> Receipt:
        """Return the receipt of that id; UnknownError when there is none, Erased when it is no longer there."""
        parts = _parts(id)
        path = self._path(parts["segment"])
        closed = path.with_suffix(sealed.SUFFIX)
        payload = sealed.find(closed, int(parts["number"]))
        if payload is None:
            payload = draft.find(
                path,
                b'"id":"%b"' % id.encode(),
                int(parts["number"]),
                lambda payload: orjson.loads(payload)["id"] == id,
            )
        if payload is None:  # it was sealed in between, or has left this machine
            self._bring(closed)
            payload = sealed.find(closed, int(parts["number"]))
        if payload is None:
            if person := sealed.erased(closed, int(parts["number"])):
                raise Erased(id, person)
            if path.is_file():
                draft.count(path)  # IntegrityError where something that was acknowledged is lost
            raise UnknownError(
                f"no receipt {id} in {self.folder}; take the id from an answer of this installation"
            )
        return decode(payload)

    def proof(self, id: str) -> dict[str, Any]:
        """Return what proves a sealed receipt (base64): payload, hash, segment, its root, and the hashes in between.

        Of an erased receipt there is no payload, and the hash is proven all the same.

        UnknownError when there is no such receipt, InputError when it is not sealed yet.
        """
        parts = _parts(id)
        path = self._path(parts["segment"]).with_suffix(sealed.SUFFIX)
        self._bring(path)
        if not path.is_file():
            self.find(id)
            raise InputError(
                f"{id} is not sealed yet; once its segment is done with, `counterfoil receipt seal` does it"
            )
        try:
            held = sealed.proof(path, int(parts["number"]))
        except IndexError as fault:
            raise UnknownError(f"no receipt {id} in {self.folder}") from fault
        return {
            "receipt": None if held.payload is None else held.payload.decode(),
            "leaf": base64.b64encode(held.leaf).decode(),
            "segment": parts["segment"],
            "segment_root": held.root.hex(),
            "place": held.place,
            "receipts": held.receipts,
            "segment_proof": [base64.b64encode(step).decode() for step in held.steps],
        }

    def all(self) -> Iterator[Receipt]:
        """Yield every receipt, oldest segment first; IntegrityError at the first altered one."""
        for path in self.segments():
            yield from map(decode, payloads(path))

    def count(self) -> int:
        """Return how many receipts there are."""
        return sum(map(count, self.segments()))

    def close(self) -> None:
        """Write what waits, and end who writes."""
        if self._writer is not None:
            self._pending.put(None)
            self._writer.join()
            self._writer = None
        if self._packing is not None:
            self._closed.set()
            self._unpacked.set()
            self._packing.join()
            self._packing = None
            self._closed.clear()
        with self._writing:
            for name in list(self._open):
                self._close(name)

    def segments(self) -> list[Path]:
        """Return the files of all segments where they belong, oldest first, each once: sealed where it is, else open."""
        found = {path.stem: path for path in self.open_segments()}
        found.update({path.stem: path for path in self.sealed_segments()})
        return [found[name] for name in sorted(found)]

    def open_segments(self) -> list[Path]:
        """Return the files of open segments, oldest first."""
        return [path for path in sorted(self.folder.glob("*/*.jsonl")) if path == self._path(path.stem)]

    def sealed_segments(self) -> list[Path]:
        """Return the files of sealed segments, oldest first."""
        paths = sorted(self.folder.glob(f"*/*{sealed.SUFFIX}"))
        return [path for path in paths if path.with_suffix(".jsonl") == self._path(path.stem)]

    def strays(self) -> list[Path]:
        """Return the files that lie where no segment of their name belongs."""
        ours = {*self.open_segments(), *self.sealed_segments()}
        return sorted(
            path
            for path in self.folder.glob("*/*")
            if path.suffix in {".jsonl", sealed.SUFFIX} and path not in ours
        )

    def bring(self, names: Iterable[str]) -> None:
        """Fetch those of these sealed segments that are not here."""
        for name in names:
            self._bring(self._path(name).with_suffix(sealed.SUFFIX))

    def _bring(self, closed: Path) -> None:
        """Fetch a sealed segment that is neither here nor open."""
        if self._fetch and not closed.exists() and not closed.with_suffix(".jsonl").exists():
            self._fetch(f"receipts/{closed.parent.name}/{closed.name}", closed)

    def _path(self, name: str) -> Path:
        """Return where the open segment of that name belongs."""
        return self.folder / f"{name[:4]}-{name[4:6]}-{name[6:8]}" / f"{name}.jsonl"

    def _write_groups(self) -> None:
        while group := self._next_group():
            if self._flush_ms:
                self._draft_each(group)
            else:
                self._commit_together(group)

    def _draft_each(self, group: list[Entry]) -> None:
        for *_, receipt, done in group:
            try:
                self.write(receipt)
            except Exception as fault:  # whatever it is, this thread goes on
                done.set_exception(fault)
            else:
                done.set_result(None)

    def _commit_together(self, group: list[Entry]) -> None:
        by_segment: dict[str, list[tuple[Row, Future[None]]]] = {}
        for name, number, receipt, done in group:
            try:
                row = number, dumps(receipt)
            except Exception as unsaid:  # it holds what no JSON tells, which is nobody else's fault
                done.set_exception(unsaid)
            else:
                by_segment.setdefault(name, []).append((row, done))
        for name, rows in by_segment.items():
            fault = self._commit(name, [row for row, _ in rows])
            for _, done in rows:
                if fault is None:
                    done.set_result(None)
                else:
                    done.set_exception(fault)

    def _next_group(self) -> list[Entry]:
        """Wait for one entry, then take what else is there; an empty list is the end."""
        group: list[Entry] = []
        entry = self._pending.get()
        while entry is not None:
            group.append(entry)
            if len(group) >= GROUP or self._pending.empty():
                return group
            entry = self._pending.get()
        if group:
            self._pending.put(None)
        return group

    def _commit(self, name: str, rows: list[Row]) -> UnavailableError | None:
        """Write rows of a segment durably; return what kept them from it."""
        with self._writing:
            try:
                if self._left(name) and not self._pack(
                    name
                ):  # lines stand in the order in which they were made
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._segment_of(name).append(self._lines(name, rows))
            except OSError as error:
                self._abandon(name)
                return self._refused(error)
        return None

    def _draft(self, name: str, number: int, receipt: Receipt) -> UnavailableError | None:
        """Leave a receipt in the draft of its segment, to be packed soon; return what kept it from it."""
        try:
            if name not in self._drafts:
                with self._writing:
                    self._begin(name)
            with self._drafting:
                if name not in self._drafts:  # the disk refused what was drafted before
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._drafts[name].append(receipt)
                self._drafted.setdefault(name, []).append((number, receipt))
        except OSError as error:
            with self._writing:
                if name in self._open:
                    self._pack(name)  # what was answered before; there may be room for it, written ahead
                self._abandon(name)
            return self._refused(error)
        if self._packing is None:
            self._pack_from_now_on()
        if not self._unpacked.is_set():
            self._unpacked.set()
        return None

    def _begin(self, name: str) -> None:
        """Begin a segment, and its draft."""
        if name not in self._drafts:
            self._segment_of(name)
            self._drafts[name] = draft.Draft(self._path(name))

    def _refused(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"receipts cannot be written to {self.folder}: {error.strerror}; free or mend the disk, then ask again"
        )

    def _pack_from_now_on(self) -> None:
        with self._lock:
            if self._packing is None:
                self._packing = threading.Thread(target=self._pack_late, name="receipts-pack", daemon=True)
                self._packing.start()

    def _pack_late(self) -> None:
        """Pack what was drafted, so many milliseconds after the first of it."""
        while self._unpacked.wait():
            self._closed.wait(self._flush_ms / 1e3)
            self._unpacked.clear()
            if self._closed.is_set():  # asked after the clearing, which may have been `close`'s own call
                return
            with self._writing:
                for name in list(self._open):
                    if not self._pack(name):
                        self._abandon(name)

    def _pack(self, name: str) -> bool:
        """Bring a draft into its segment, durably; say whether the disk took it."""
        with self._drafting:
            if not self._left(name):
                return True
            drafted, self._drafted[name] = self._drafted.get(name, []), []
            self._drafts[name].turn()
        if not self._line(name, drafted):
            return False
        try:
            self._open[name].append(b"".join(self._lined[name]))
            self._lined[name] = []
            self._drafts[name].clear()
        except Exception as error:  # whatever it is, this thread goes on, and nothing is let go
            self._complain(name, error)
            return False
        return True

    def _line(self, name: str, drafted: list[tuple[int, Receipt]] | None = None) -> bool:
        """Make lines of these receipts, by default of all that are none yet; False where it fails: they are kept."""
        if drafted is None:
            with self._drafting:
                drafted, self._drafted[name] = self._drafted[name], []
        try:
            # they were looked at before
            self._lined.setdefault(name, []).append(
                self._lines(name, [(number, dumps(receipt)) for number, receipt in drafted])
            )
        except Exception as error:
            self._complain(name, error)
            with self._drafting:
                self._drafted[name] = drafted + self._drafted[name]
            return False
        return True

    def _left(self, name: str) -> bool:
        """Say whether a draft holds what its segment does not."""
        return bool(self._drafted.get(name) or self._lined.get(name))

    def _complain(self, name: str, error: Exception) -> None:
        said = getattr(error, "strerror", None) or error
        log.error("receipts of %s were answered, and are not packed: %s; they stay in its draft", name, said)

    def _lines(self, name: str, rows: list[Row]) -> bytes:
        """Return the lines of a group: the first of a segment is what all others are packed by."""
        text = b""
        for number, payload in rows:
            if name in self._packers:
                text += self._packers[name].line(payload, number)
            else:
                self._packers[name] = segment.Packer(payload)
                text += segment.line(payload)
        return text

    def _segment_of(self, name: str) -> segment.Ahead:
        if name not in self._open:
            while len(self._open) >= OPEN:  # a late answer may still belong to the segment before the newest
                self._close(next(iter(self._open)))
            self._open[name] = segment.Ahead(segment.create(self._path(name)))
        return self._open[name]

    def _close(self, name: str) -> None:
        self._pack(name)
        self._let_go(name)

    def _let_go(self, name: str) -> bool:
        """Close a segment as it is, and take its draft away where that holds nothing more; say whether it does."""
        with self._drafting:
            left, held = self._left(name), self._drafts.pop(name, None)
            self._drafted.pop(name, None)
            self._lined.pop(name, None)
            if held is not None:
                held.close(keep=left)
        self._open.pop(name).close()
        self._packers.pop(name, None)
        return left

    def _abandon(self, name: str) -> None:
        """Never write on after a half-written line: the next id begins a new segment. Of an empty one nothing is left."""
        with self._lock:  # first: no more ids of what is let go
            self._issued = SEGMENT_RECEIPTS
        if name in self._open:
            empty = self._open[name].empty
            if not self._let_go(name) and empty:
                with suppress(OSError):
                    self._path(name).unlink()


def placed(id: str) -> tuple[str, int] | None:
    """Return the segment of a receipt, and which of its lots: LOT answers that one process gave in a row. None: it is no id."""
    named = ID.fullmatch(id)
    return None if named is None else (named["segment"], (int(named["number"]) - 1) // LOT)


def lot(segment: str, place: int) -> str:
    """Return the name of a lot of a segment."""
    return f"{segment}-{place}"


def lot_of(id: str) -> str | None:
    """Return the name of the lot of a receipt. None: it is no id."""
    place = placed(id)
    return None if place is None else lot(*place)


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the payload of every receipt of a segment, open or sealed, checked; of one that was sealed meanwhile as well."""
    if path.suffix != sealed.SUFFIX and not path.is_file():
        path = path.with_suffix(sealed.SUFFIX)
    return sealed.payloads(path) if path.suffix == sealed.SUFFIX else iter(list(draft.payloads(path)))


def count(path: Path) -> int:
    """Return how many receipts a segment holds, sealed meanwhile or not."""
    if path.suffix != sealed.SUFFIX and not path.is_file():
        path = path.with_suffix(sealed.SUFFIX)
    return sealed.count(path) if path.suffix == sealed.SUFFIX else draft.count(path)


def _parts(id: str) -> re.Match[str]:
    match = ID.fullmatch(id)
    if match is None:
        raise UnknownError(f"{id!r} is not a receipt id; one looks like receipt-20260412T093401-7f3a9c1e-12")
    return match
