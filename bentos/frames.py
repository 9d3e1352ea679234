"""What processes of one machine tell each other over a socket: frames, a length of four bytes and then so many."""

import socket
from collections.abc import Iterator

LENGTH = 4


def framed(content: bytes) -> bytes:
    """Return a frame."""
    return len(content).to_bytes(LENGTH, "big") + content


def received(own: socket.socket) -> bytes | None:
    """Return what the next frame of a blocking socket holds, None when there will be none.

    Whoever sends waits for an answer before the next one, so that never more than one is under way.
    """
    return next(each(own), None)


def each(own: socket.socket) -> Iterator[bytes]:
    """Yield what each frame of a blocking socket holds, until there will be none; several may be under way."""
    got = b""
    while True:
        while len(got) < LENGTH or len(got) < LENGTH + int.from_bytes(got[:LENGTH], "big"):
            more = own.recv(1 << 18)
            if not more:
                return
            got += more
        end = LENGTH + int.from_bytes(got[:LENGTH], "big")
        frame, got = got[LENGTH:end], got[end:]
        yield frame
