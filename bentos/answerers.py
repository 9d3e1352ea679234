"""Answering processes: forked from one that has loaded a bento, one core's worth of arithmetic each.

There are as many as cores by default, and one more where an answer waits, for the disk to have its receipt or for an online store
behind a network: while one waits, another one has the core. Where none does, one more only takes turns with the others.
Where the queue is long an answerer has its next task at hand, and need not wait until who serves has the processor; one that has
waited there for long goes to whoever is free.
Each of the first ones, as many as cores, keeps to a core of its own: where anything else runs, a scheduler that balances may
leave two of them on one core, in turns, and none on the other.
They share what is loaded (its pages are copied when written to, and hardly any are), so that another one costs a few megabytes
and milliseconds. Tasks wait in one queue, and whoever is free takes the next: two queues of half the length are slower than one
(Kendall's M/D/2 beside M/D/1). An answerer that dies is replaced, and what it was at goes to another one, once: at worst an
answer that nobody got has a receipt.

Copies for shadow answers, which nobody waits for, go to an answerer of their own that has the processor only when nobody else
wants it (counterfoil/priority.py). It keeps to the last of those cores: a core that is at a copy takes nothing over from another
one, as a core with nothing to do does. How long a copy waited for the processor, and in line, is told with it, since it says
nothing of who answers (run_delay of /proc/PID/schedstat).

Frames of MessagePack on a socket pair, both ways.
"""

import asyncio
import functools
import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, cast

import msgspec

from bentos.frames import LENGTH, each, framed
from bentos.task import Made, Task, refused
from counterfoil import priority

log = logging.getLogger(__name__)
COMPUTE_SECONDS = 10.0  # for which an answerer may compute one answer
ANSWER_SECONDS = 10.0  # for which an answer is waited for where nobody said for how long
BEGIN_SECONDS, END_SECONDS = 60.0, 5.0
LOOK_SECONDS = 0.02
MANY = 4  # that wait: then an answerer is given its next task while it is at one
AHEAD_SECONDS = 0.1  # for which a task may lie behind another one that was begun
TRIES = 2  # answerers that one task may take along
MARGIN_SECONDS = 0.05  # before nobody waits for a copy any more, in which is said why there is none
YOUNG_SECONDS = 2.0  # who dies younger than this is replaced later
QUIET = "shadow"  # the arm whose answers nobody waits for
_encode = msgspec.msgpack.Encoder().encode
_task = msgspec.msgpack.Decoder(Task).decode
_made = msgspec.msgpack.Decoder(Made).decode
Compute = Callable[[Task], Made]


def can_fork() -> bool:
    """Say whether this platform forks a process with threads and native libraries in it safely: Linux does."""
    return sys.platform == "linux"


@dataclass(slots=True, eq=False)
class Waiting:
    """A task in its frame, and who waits for what comes of it; `taken` counts the answerers that died over it.

    `came` and `asked` are moments (monotonic seconds): of the task, and of its turn, when its answerer had the processor, and
    had been ready without one, for so many seconds in all (`had`); infinity while what came before it is being made.
    """

    frame: bytes
    done: "asyncio.Future[Made]"
    came: float
    taken: int = 0
    seat: "Seat | None" = None
    asked: float = math.inf
    had: tuple[float, float] = (0.0, 0.0)

    def waited(self) -> float:
        """Return for how many seconds nothing could be done for it so far, as far as can be told from outside."""
        now = time.monotonic()
        if self.seat is None:
            return now - self.came
        worked, ready = scheduled(self.seat.pid)
        starved = max(0.0, ready - self.had[1])
        # a wait that goes on is not counted yet, so what is not work is wait
        if worked and runnable(self.seat.pid):
            starved = max(starved, now - self.asked - (worked - self.had[0]))
        return self.asked - self.came + starved


class Seat(asyncio.Protocol):
    """One answerer, seen from the process that serves: its process id, its socket, the task that it is at, and the one after.

    `core` is the one that it keeps to, if any.
    """

    transport: asyncio.Transport

    def __init__(self, answerers: "Answerers", *, quiet: bool, core: int | None = None) -> None:
        self.answerers, self.quiet, self.core = answerers, quiet, core
        self.pid, self.socket = 0, cast(socket.socket, None)
        self.at: deque[Waiting] = deque()
        self.born = 0.0
        self.connecting: asyncio.Task[None] | None = None
        self.connected = self.begun = False
        self._got = bytearray()
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self.transport, self._got = cast(asyncio.Transport, transport), bytearray()
        self.connected = True
        self._late = asyncio.get_running_loop().call_later(BEGIN_SECONDS, self.kill, BEGIN_SECONDS)

    def ask(self, waiting: Waiting) -> None:
        """Send a task."""
        waiting.seat = self
        self.at.append(waiting)
        if len(self.at) == 1:
            self._begin(waiting)
        else:
            asyncio.get_running_loop().call_later(AHEAD_SECONDS, self.answerers.again, self, waiting)
        self.transport.write(waiting.frame)

    def _begin(self, waiting: Waiting) -> None:
        """Take note that it is at a task now."""
        if waiting.seat is self:
            waiting.asked = time.monotonic()
            self.answerers.begun(waiting)
        if self.quiet:
            waiting.had = scheduled(self.pid)
        self._late = asyncio.get_running_loop().call_later(COMPUTE_SECONDS, self._overdue, waiting)

    def data_received(self, data: bytes) -> None:
        """Take a piece of what was made."""
        self._got += data
        while len(self._got) >= LENGTH:
            end = LENGTH + int.from_bytes(self._got[:LENGTH], "big")
            if len(self._got) < end:
                return
            frame, self._got = bytes(self._got[LENGTH:end]), self._got[end:]
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        if self._late is not None:
            self._late.cancel()
        if not self.begun:
            self.begun = True  # its first word
        else:
            waiting = self.at.popleft()
            if not waiting.done.done():
                waiting.done.set_result(_made(frame))
            if self.at:
                self._begin(self.at[0])
        self.answerers.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self.connected = self.begun = False
        if self._late is not None:
            self._late.cancel()
        self.answerers.lost(self)

    def _overdue(self, waiting: Waiting) -> None:
        """End an answerer that takes too long, not counting the time that it had no processor for."""
        worked = time.monotonic() - waiting.came - (waiting.waited() if self.quiet else 0.0)
        if worked < COMPUTE_SECONDS / 2:
            self._late = asyncio.get_running_loop().call_later(COMPUTE_SECONDS, self._overdue, waiting)
            return
        self.kill(COMPUTE_SECONDS)

    def kill(self, seconds: float) -> None:
        """End an answerer that took too long."""
        log.error("an answerer (%d) took longer than %g s: ended", self.pid, seconds)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@dataclass
class Line:
    """Tasks that wait, and answerers: all of this line, and those that are free.

    `overdue` are tasks that have lain for long behind another one of their answerer: whoever is free first takes them.
    """

    seats: list[Seat]
    waiting: deque[Waiting] = field(default_factory=deque)
    overdue: deque[Waiting] = field(default_factory=deque)
    free: list[Seat] = field(default_factory=list)

    def next(self) -> Seat | None:
        """Return who takes the next task, None where it is to wait; nobody has another task at hand while few wait.

        Whoever has been at a task for longest is given one: where few wait, that would bind them to the slower of two.
        """
        if self.free:
            return self.free.pop()
        if self.overdue or len(self.waiting) < MANY:
            return None
        busy = (seat for seat in self.seats if len(seat.at) == 1 and not seat.quiet)
        return min(busy, key=lambda seat: seat.at[0].asked, default=None)


class Answerers:
    """Answering processes behind one queue, and one more for what nobody waits for.

    They are forked when this is made, which is to be before there is an event loop; `open` connects them to the loop. `begin`
    runs first in each of them: what must not be shared, such as connections, is made there anew; `after` runs after each answer,
    when it has left, and `end` last.
    """

    def __init__(
        self,
        compute: Compute,
        count: int,
        begin: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.compute, self.begin, self.after, self.end = compute, begin, after, end
        cores = priority.own_cores(count)
        self.seats = [Seat(self, quiet=False, core=core) for core in cores]
        last = next((core for core in reversed(cores) if core is not None), None)
        self.seats.append(Seat(self, quiet=True, core=last))
        self._lines = {
            quiet: Line([seat for seat in self.seats if seat.quiet == quiet]) for quiet in (False, True)
        }
        self._closing = False
        self._whole_since = 0.0  # monotonic seconds since when nobody was away
        for seat in self.seats:
            self._fork(seat)

    @property
    def able(self) -> bool:
        """Whether somebody can answer."""
        return any(seat.begun for seat in self.seats if not seat.quiet)

    @property
    def _whole(self) -> bool:
        return all(seat.begun for seat in self.seats if not seat.quiet)

    async def open(self) -> None:
        """Connect all of them, and wait until each has begun, but for the one for copies. TimeoutError when one does not."""
        async with asyncio.timeout(BEGIN_SECONDS):
            for seat in self.seats:
                await self._connect(seat)
            while not self._whole:
                await asyncio.sleep(LOOK_SECONDS)

    async def make(self, task: Task) -> Made:
        """Return the answer to a task, in its turn; 504 when it does not come in time."""
        done: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
        waiting = Waiting(framed(_encode(task)), done, time.monotonic())
        line = self._lines[task.arm == QUIET]
        line.waiting.append(waiting)
        self._serve(line)
        if task.arm == QUIET:
            return await _copied(waiting, task)
        made = await _answered(waiting, task)
        if (
            made.status == 504
            or waiting.taken
            or waiting.came < self._whole_since
            or waiting.asked == math.inf
        ):
            return made  # it waited for answerers that died, which is the release's own doing
        return msgspec.structs.replace(made, waited_ms=1e3 * (waiting.asked - waiting.came))

    async def close(self) -> None:
        """Let all of them end; whoever still waits is told so."""
        self._closing = True
        for waiting in (one for line in self._lines.values() for one in line.waiting):
            if not waiting.done.done():
                waiting.done.set_result(refused(503, "busy", "the service ends; ask again shortly"))
        for seat in self.seats:
            if seat.connected:
                seat.transport.abort()
            else:
                seat.socket.close()
        until, left = time.monotonic() + END_SECONDS, {seat.pid for seat in self.seats}
        while (left := {pid for pid in left if not _gone(pid)}) and time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    def free(self, seat: Seat) -> None:
        """Give an answerer that has nothing to do the next task."""
        line = self._lines[seat.quiet]
        if not seat.quiet and self._whole_since == math.inf and self._whole:
            self._whole_since = time.monotonic()
        if not seat.at:
            line.free.append(seat)
        self._serve(line)

    def lost(self, seat: Seat) -> None:
        """Replace an answerer that ended, and give what it was at to another one, or up."""
        line = self._lines[seat.quiet]
        if seat in line.free:
            line.free.remove(seat)
        if not seat.quiet:
            self._whole_since = math.inf
        held, seat.at = list(seat.at), deque()
        for waiting in reversed(held):
            if waiting.done.done():
                continue
            waiting.taken += waiting is held[0]  # the one after had not been begun
            if self._closing:
                waiting.done.set_result(refused(503, "busy", "the service ends; ask again shortly"))
            elif waiting.taken >= TRIES:
                waiting.done.set_result(
                    refused(500, "fault", "the service failed on this request; its log says why")
                )
            elif waiting.seat is seat:  # else another one is at it
                self.begun(waiting)
                waiting.seat, waiting.asked = None, math.inf
                line.waiting.appendleft(waiting)
        if self._closing:
            return
        log.error("an answerer (%d) ended: another one takes its place", seat.pid)
        with suppress(ProcessLookupError):
            os.kill(seat.pid, signal.SIGKILL)  # its socket is closed, so it is of no use
        self._reap(seat.pid)
        young = time.monotonic() - seat.born < YOUNG_SECONDS
        asyncio.get_running_loop().call_later(YOUNG_SECONDS if young else 0.0, self._renew, seat)
        self._serve(line)

    def again(self, seat: Seat, waiting: Waiting) -> None:
        """Let whoever is free first take a task that still lies behind a long one; at worst a receipt is of no answer."""
        behind = waiting in seat.at and seat.at[0] is not waiting
        if behind and waiting.seat is seat and not waiting.done.done():
            line = self._lines[seat.quiet]
            line.overdue.append(waiting)
            self._serve(line)

    def begun(self, waiting: Waiting) -> None:
        """Take note that nobody else need take a task."""
        for line in self._lines.values():
            if waiting in line.overdue:
                line.overdue.remove(waiting)

    def _reap(self, pid: int) -> None:
        """Take note of the end of a child, sooner or later: nobody is waited for."""
        if not _gone(pid):
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._reap, pid)

    def _renew(self, seat: Seat) -> None:
        if self._closing:
            return
        try:
            self._fork(seat)
        except OSError as fault:  # no memory, or too many processes
            log.error("no answerer can be started: %s", fault)
            asyncio.get_running_loop().call_later(YOUNG_SECONDS, self._renew, seat)
            return
        seat.connecting = asyncio.get_running_loop().create_task(self._connect(seat))

    def _serve(self, line: Line) -> None:
        while first := line.overdue or line.waiting:
            if first[0].done.done():  # its caller is gone
                first.popleft()
                continue
            seat = line.next()
            if seat is None:
                return
            seat.ask(first.popleft())

    async def _connect(self, seat: Seat) -> None:
        await asyncio.get_running_loop().create_unix_connection(lambda: seat, sock=seat.socket)

    def _fork(self, seat: Seat) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become(theirs, seat)
        theirs.close()
        ours.setblocking(False)
        seat.pid, seat.socket, seat.born = pid, ours, time.monotonic()

    def _become(self, own: socket.socket, seat: Seat) -> NoReturn:
        """Be an answerer until whoever serves is gone. Nothing of the process that this was comes to its end here."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who serves ends, and then this
            descriptor = own.fileno()
            # connections of callers and of other answerers are not held open here
            os.closerange(3, descriptor)
            os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
            # Nor is what held those ever collected here: it would close numbers that are other files by then.
            gc.freeze()
            if seat.core is not None:
                priority.keep_to(seat.core)
            self.begin()
            compute = self.compute
            if seat.quiet:
                priority.only_when_idle()
                compute = functools.partial(_starving, compute)
            with suppress(BrokenPipeError, ConnectionResetError):
                own.sendall(framed(b""))
                for frame in each(own):
                    own.sendall(framed(_encode(compute(_task(frame)))))
                    self.after()
            self.end()
            status = 0
        except BaseException:
            log.exception("an answerer failed")
        finally:
            os._exit(status)


def _starving(compute: Compute, task: Task) -> Made:
    """Compute, and tell when that was begun, and for how long this process had to wait for a processor meanwhile."""
    begun, (_, before) = time.monotonic(), scheduled(os.getpid())
    made = compute(task)
    _, after = scheduled(os.getpid())
    return msgspec.structs.replace(made, waited_ms=1e3 * (after - before), begun=begun)


async def _answered(waiting: Waiting, task: Task) -> Made:
    """Return the answer, or that nobody waits any more: then its place in the line is free."""
    left = ANSWER_SECONDS if task.until is None else task.until - time.monotonic() + MARGIN_SECONDS
    try:
        async with asyncio.timeout(left):
            return await waiting.done
    except TimeoutError:
        return refused(504, "late", "the answer did not come in time; ask again shortly")


async def _copied(waiting: Waiting, task: Task) -> Made:
    """Return what comes of a copy, and how long it waited; where that is why it is not there in time, 503."""
    left = None if task.until is None else task.until - time.monotonic() - MARGIN_SECONDS
    try:
        async with asyncio.timeout(left):
            made = await waiting.done
    except TimeoutError:
        waited = waiting.waited()
        late = time.monotonic() - waiting.came - waited > waited
        said = "it takes too long" if late else "nobody had time for this copy"
        made = refused(504, "late", said) if late else refused(503, "busy", said)
        return msgspec.structs.replace(made, waited_ms=1e3 * waited)
    if made.status == 503:  # the release's own doing, such as scores that cannot be recorded
        return msgspec.structs.replace(made, waited_ms=None)
    # until it was begun, and what its process had to wait for the processor from then on; sleep is no wait
    return msgspec.structs.replace(
        made, waited_ms=1e3 * (made.begun - waiting.came) + (made.waited_ms or 0.0)
    )


def scheduled(pid: int) -> tuple[float, float]:
    """Return for how many seconds a process has had a processor, and has been ready without one; zeros where nobody says.

    A stretch counts once it is over.
    """
    try:
        worked, ready, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return int(worked) / 1e9, int(ready) / 1e9
    except (OSError, ValueError):
        return 0.0, 0.0


def runnable(pid: int) -> bool:
    """Say whether a process runs, or waits for nothing but a processor."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except (OSError, IndexError):
        return False


def _gone(pid: int) -> bool:
    """Say whether a child has come to its end, and take note of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
