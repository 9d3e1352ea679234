"""Signed heads in the DVC remote: an object each, never written twice, so that a remote that forbids deletion keeps them all."""

import hashlib
from dataclasses import dataclass

import orjson

from counterfoil.errors import UnavailableError
from counterfoil.remote import Remote

FOLDER = "heads"


@dataclass(frozen=True, kw_only=True)
class Afar:
    """A remote as a place of heads."""

    remote: Remote

    def leave(self, line: bytes) -> None:
        """Lay a signed note down. OSError when the remote does not take it."""
        size = orjson.loads(line)["note"].splitlines()[1]
        name = f"{FOLDER}/{int(size):012d}-{hashlib.sha256(line).hexdigest()[:8]}.json"
        try:
            self.remote.write(line, name)
        except UnavailableError as fault:
            raise OSError(str(fault)) from fault

    def lines(self) -> list[str]:
        """Return every note that lies there, by size. UnavailableError when the remote does not answer."""
        return [self.remote.read(name).decode().rstrip("\n") for name in self.remote.names(FOLDER)]
