"""The log that makes an acknowledgement true: one segment at a time, whatever waits goes down with the next flush.

Runs in the event loop; only the disk is waited for in a thread. After a failed write nothing that waited is kept, and the next
write begins a new segment.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil import collected, segment
from counterfoil.errors import UnavailableError

logger = logging.getLogger(__name__)
SEGMENT_BYTES = 64_000_000
SEGMENT_SECONDS = 3600.0
PENDING_BYTES = 32_000_000
GROUP_BYTES = 4_000_000


class Full(UnavailableError):
    """More waits for the disk than may: come again."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """How far the log reaches: a segment, and a place in it in bytes."""

    segment: str
    offset: int


@dataclass(slots=True)
class Waiting:
    """What a request wants kept: lines, whatever is to be told of them once they are, and who waits."""

    lines: bytes
    rows: Sequence[Any]
    done: "asyncio.Future[None]"


class Log:
    """The collector's log. `durable(rows, mark)` is told of each group, in order, before anybody is acknowledged; `lost(rows)`
    of rows that are not kept, before anybody is told.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        durable: Callable[[list[Any], Mark], None],
        lost: Callable[[list[Any]], None],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        pending_bytes: int = PENDING_BYTES,
        append: Callable[[int, bytes], None] = segment.append,
    ) -> None:
        self.folder, self._key, self._append = folder, key, append
        self._durable, self._lost = durable, lost
        self._segment_bytes, self._pending_bytes = segment_bytes, pending_bytes
        self._waiting: list[Waiting] = []
        self._bytes = 0
        self._path: Path | None = None
        self._descriptor, self._size, self._count, self._begun = -1, 0, 0, 0.0
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="events-log")
        self._work: asyncio.Task[None] | None = None

    @property
    def pending_bytes(self) -> int:
        """How much waits for the disk."""
        return self._bytes

    async def keep(self, lines: bytes, rows: Sequence[Any]) -> None:
        """Return once the lines are on the disk. Full when too much waits, UnavailableError when the disk refuses."""
        if self._bytes + len(lines) > self._pending_bytes and self._waiting:
            raise Full(f"{self._bytes:,} bytes of events wait for the disk; send these again shortly")
        waiting = Waiting(lines, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._bytes += len(lines)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._flush())
        await waiting.done

    async def close_segment(self) -> str | None:
        """Close the segment that is written to, so that it can land; return its name, None when it holds nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, self._closed)

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._work is not None:
            await self._work
        await self.close_segment()
        self._disk.shutdown()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._taken()
            lines = b"".join([one.lines for one in group])
            try:
                mark = await loop.run_in_executor(self._disk, self._written, lines)
            except Exception as fault:  # of the disk, or of whatever else: nobody may wait for ever
                self._refuse(group, getattr(fault, "strerror", None) or type(fault).__name__)
                continue
            finally:
                self._bytes -= len(lines)
            try:
                self._durable([row for one in group for row in one.rows], mark)
            except Exception:
                logger.exception("what was kept was not told on")
            for one in group:
                if not one.done.done():
                    one.done.set_result(None)

    def _taken(self) -> list[Waiting]:
        size = count = 0
        for one in self._waiting:
            size += len(one.lines)
            count += 1
            if size > GROUP_BYTES:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _refuse(self, group: list[Waiting], why: str) -> None:
        """Tell everybody who waits: who came later may rest on what was just lost."""
        logger.error("events cannot be written to %s: %s", self.folder, why)
        lost = UnavailableError(f"events cannot be kept: {why}; send these again later")
        rest, self._waiting = self._waiting, []
        self._bytes -= sum(len(one.lines) for one in rest)
        self._lost([row for one in (*group, *rest) for row in one.rows])
        for one in (*group, *rest):
            if not one.done.done():
                one.done.set_exception(lost)

    def _written(self, lines: bytes) -> Mark:
        now = datetime.now(UTC)
        if self._descriptor >= 0 and (
            self._size + len(lines) > self._segment_bytes or now.timestamp() - self._begun > SEGMENT_SECONDS
        ):
            self._closed()
        if self._descriptor < 0:
            self._path, self._descriptor, self._size = collected.begin(self.folder, self._key, now)
            self._begun, self._count = now.timestamp(), 1
        assert self._path is not None
        if lines:
            count, lines = lines.count(segment.BREAK), segment.mark(self._count) + lines
            try:
                self._append(self._descriptor, lines)
            except OSError:
                self._abandon()
                raise
            self._size, self._count = self._size + len(lines), self._count + count
        return Mark(self._path.name, self._size)

    def _abandon(self) -> None:
        """Never write on after a half-written line; what nobody was told is kept is taken back where the disk lets us."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._size)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def _closed(self) -> str | None:
        if self._descriptor < 0:
            return None
        with contextlib.suppress(OSError):  # half a mark is a torn end
            os.write(self._descriptor, segment.mark(self._count))
        os.close(self._descriptor)
        self._descriptor = -1
        return None if self._path is None else self._path.name
