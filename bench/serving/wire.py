"""One connection of the load: a socket that never waits, one question at a time.

Without an event loop's tasks and futures: on a machine with two cores whoever asks has a share of what is measured.
"""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

PIECE = 1 << 16  # bytes that are read at a time


@dataclass(slots=True)
class Answer:
    """One answer: which question, when it was due, sent and done (seconds), and what came; status 0: none."""

    number: int
    due: float
    sent: float = 0.0
    done: float = 0.0
    status: int = 0
    size: int = 0
    empty: bool = False
    degraded: bool = False
    fault: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Wire:
    """A keep-alive connection, made with its first question; `answer` is what it waits for, if anything."""

    def __init__(self, host: str, port: int, watched: Sequence[str] = ()) -> None:
        """Begin to connect; OSError where that fails at once."""
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.descriptor = self.socket.fileno()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer: Answer | None = None
        self.left = memoryview(b"")  # of the question, what the socket has not taken yet
        self.open = self._connecting = True
        self._watched = {name.lower().encode() for name in watched}
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(_Heard(self) if watched else _Read(self))
        try:
            self.socket.connect((host, port))
        except BlockingIOError:
            pass  # it is told when it can be written to
        except OSError:
            self.socket.close()
            raise

    def ask(self, request: bytes, answer: Answer) -> None:
        """Send a question, or as much of it as the socket takes."""
        self.answer, self._parts, self.left = answer, [], memoryview(request)
        answer.sent = time.perf_counter()
        if not self._connecting:
            self.write()

    def write(self) -> None:
        """Go on sending; called when the socket takes more."""
        if self._connecting:
            self._connecting = False
            fault = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if fault:
                self.end(type(OSError(fault, os.strerror(fault))).__name__)
                return
        try:
            self.left = self.left[self.socket.send(self.left) :]
        except BlockingIOError:
            pass
        except OSError as fault:
            self.end(type(fault).__name__)

    def read(self) -> None:
        """Take what came; called when there is something. What is no HTTP ends the connection."""
        try:
            data = self.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError as fault:
            self.end(type(fault).__name__)
            return
        if not data:
            self.end("closed")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as fault:
            self.end(f"no HTTP: {fault}")

    def end(self, fault: str) -> None:
        """Close it; whoever waits is told why. Whatever comes yet belongs to nobody."""
        self.open = False
        self.socket.close()
        self._over(fault)

    def heard(self, name: bytes, value: bytes) -> None:
        """Keep the headers that are watched."""
        if self.answer is not None and name.lower() in self._watched:
            self.answer.headers[name.lower().decode()] = value.decode()

    def part(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(body)

    def whole(self) -> None:
        """The answer is whole."""
        answer, body = self.answer, b"".join(self._parts)
        if answer is None:
            return
        answer.status, answer.size = self._parser.get_status_code(), len(body)
        answer.empty = b'"items":[]' in body
        answer.degraded = b'"degraded":[' in body and b'"degraded":[]' not in body
        self._over("" if answer.status < 400 else f"status {answer.status}")
        if not self._parser.should_keep_alive():
            self.end("")

    def _over(self, fault: str) -> None:
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.done, answer.fault = time.perf_counter(), fault


class _Read:
    """What a parser tells: bodies alone, for each header told is a call."""

    def __init__(self, wire: Wire) -> None:
        self.on_body, self.on_message_complete = wire.part, wire.whole


class _Heard(_Read):
    """What a parser tells where headers are watched."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.on_header = wire.heard
