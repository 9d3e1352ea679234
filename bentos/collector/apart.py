"""Who writes to the view, in a process of its own: `python -m bentos.collector.apart DESCRIPTOR PARENT`.

Acknowledging and making visible are each most of a core's work when much comes, and one interpreter has one core. A process that
dies is started again within a second or two; what it was at is read from the log, so nothing is lost with it. It ends when its
socket does.
"""

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from bentos import logs
from bentos.collector.view import Store, Told, Writer
from bentos.frames import framed, received
from counterfoil import settings
from counterfoil.errors import UnavailableError

GARBAGE = 50_000  # objects between two collections
END_SECONDS = 5.0
HANGS_SECONDS = 120.0  # longer than a store waits for a lock
PR_SET_PDEATHSIG = 1


class Ask(msgspec.Struct, array_like=True):
    """What is to be done."""

    what: Literal["connect", "push", "forget", "sweep"]
    events: Sequence[Told] = ()
    keys: Sequence[str] = ()
    before_us: int = 0


_encode = msgspec.msgpack.Encoder().encode
_asked = msgspec.msgpack.Decoder(Ask).decode


class Apart:
    """A writer that is asked over a socket. Each call returns once it was done; UnavailableError says why it was not."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closed = False

    def connect(self) -> "Apart":
        """Start the process where there is none, and have it connect to the store anew."""
        if self.gone:
            self._end(0.0)
        if self._socket is None:
            self._start()
        self._ask(Ask("connect"))
        return self

    @property
    def gone(self) -> bool:
        """Whether the process ended by itself."""
        return self._child is not None and self._child.poll() is not None

    def push(self, events: Sequence[Told]) -> None:
        """Make events visible."""
        self._ask(Ask("push", events=events))

    def forget(self, keys: list[str]) -> None:
        """Take what is held and stored under keys away."""
        self._ask(Ask("forget", keys=keys))

    def sweep(self, before_us: int) -> None:
        """Take away what was last written before a moment."""
        self._ask(Ask("sweep", before_us=before_us))

    def close(self) -> None:
        """End the process, and begin none any more; whoever waits for it is told that it ended."""
        self._closed = True
        self._end(END_SECONDS)

    def _end(self, seconds: float) -> None:
        own, child, self._socket, self._child = self._socket, self._child, None, None
        if own is not None:
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)  # closing it alone would wake nobody
            own.close()
        if child is not None:
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _start(self) -> None:
        if self._closed:
            raise UnavailableError("the collector ends")
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bentos.collector.apart", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C is for the collector, which has all made visible first
            )
        self._socket = ours

    def _ask(self, ask: Ask) -> None:
        own = self._socket
        if own is None:
            raise UnavailableError("nobody writes to the view; it is begun again")
        try:
            # writing a whole store anew takes as long as it takes
            own.settimeout(None if ask.what in ("forget", "sweep") else HANGS_SECONDS)
            own.sendall(framed(_encode(ask)))
            reply = received(own)
        except OSError:
            reply = None
        if reply is None:
            self._end(0.0)  # it ended, or hangs
            raise UnavailableError("the process that makes events visible ended; it is started again")
        if reply:
            raise UnavailableError(reply.decode())


def serve(own: socket.socket, connect: Callable[[], Store]) -> None:
    """Do what is asked until nobody asks any more. After a failure all is held anew: what was half done is not."""
    writer: Writer | None = None
    with suppress(BrokenPipeError, ConnectionResetError):
        while (frame := received(own)) is not None:
            said = ""
            try:
                writer = _done(_asked(frame), writer, connect)
            except Exception as fault:  # each store has errors of its own; whoever asks comes again
                writer, said = None, str(fault) or type(fault).__name__
            own.sendall(framed(said.encode(errors="replace")))


def _done(ask: Ask, writer: Writer | None, connect: Callable[[], Store]) -> Writer:
    if ask.what == "connect" or writer is None:
        writer = None
        gc.collect()  # what a store before this one has open goes with it
        writer = Writer(connect())
    if ask.what == "push":
        writer.push(ask.events)
    elif ask.what == "forget":
        writer.forget(list(ask.keys))
    elif ask.what == "sweep":
        writer.sweep(ask.before_us)
    return writer


def main(arguments: Sequence[str]) -> None:
    """Serve at the socket whose descriptor is given, for the process of the id that is given."""
    _die_with(int(arguments[1]))
    for word in (signal.SIGINT, signal.SIGTERM):  # who asks ends first, and has all made visible before
        signal.signal(word, signal.SIG_IGN)
    logs.begin()
    gc.set_threshold(GARBAGE)
    current = settings.load()

    def connect() -> Store:
        from feature_repo.pushed import RecentStore

        return RecentStore(current)

    with socket.socket(fileno=int(arguments[0])) as own:
        serve(own, connect)


def _die_with(parent: int) -> None:
    """Have this process killed when its parent ends: what it wrote later might be of somebody who was forgotten meanwhile."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
