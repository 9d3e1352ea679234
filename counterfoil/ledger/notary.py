"""The notary: signs heads of the ledger with an Ed25519 key, and hands the signed notes to places outside the database.

A place is a folder, in which notes are appended to one file, or the address of a webhook, to which each is posted.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from counterfoil.errors import ConfigError, UnavailableError
from counterfoil.ledger.book import Head
from counterfoil.ledger.verifier import CHECKPOINTS, note, note_body

WEBHOOK_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Notary:
    """Whose key signs (a PEM file, made when it is not there), and where signed notes go."""

    key: Path
    places: tuple[str, ...]

    def public(self) -> bytes:
        """Return the public key, 32 bytes."""
        return _public(self._private())

    def sign(self, head: Head) -> str:
        """Return the signed note of a head."""
        private = self._private()
        signature = private.sign(note_body(head.size, head.root))
        return note(head.size, head.root, _public(private), signature)

    def publish(self, head: Head) -> None:
        """Sign a head and hand it to every place; UnavailableError when one does not take it: entries are kept all the same."""
        signed = orjson.dumps({"note": self.sign(head)}) + b"\n"
        for place in self.places:
            try:
                _post(place, signed) if place.startswith(("http://", "https://")) else _append(
                    Path(place), signed
                )
            except OSError as fault:
                raise UnavailableError(
                    f"the checkpoint of {head.size} entries cannot be left at {place} ({fault}); mend the place, then run"
                    " `counterfoil ledger checkpoint`"
                ) from fault

    def prepare(self) -> bytes:
        """Make the key that is to follow, beside this one, and return its public key; what was prepared before is kept."""
        return _public(_loaded(self._next))

    def follow(self) -> None:
        """Let the prepared key sign from now on, in place of this one; once more changes nothing."""
        with suppress(FileNotFoundError):
            self._next.replace(self.key)

    def prepared(self) -> bytes | None:
        """Return the public key that was prepared, None when none was."""
        return _public(_loaded(self._next)) if self._next.is_file() else None

    @property
    def _next(self) -> Path:
        return self.key.with_name(f"{self.key.name}.next")

    def notes(self) -> list[str]:
        """Return the lines that lie in the folders among the places, each line once."""
        files = [Path(place) / CHECKPOINTS for place in self.places if "://" not in place]
        lines = [line for file in files if file.is_file() for line in file.read_text("utf-8").splitlines()]
        return list(dict.fromkeys(lines))

    def _private(self) -> Ed25519PrivateKey:
        return _loaded(self.key)


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _loaded(path: Path) -> Ed25519PrivateKey:
    """Read a private key, and make it when it is not there."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        text = _made(path)
    except OSError as fault:
        raise UnavailableError(f"the ledger's key {path} cannot be read ({fault}); mend it") from fault
    try:
        private = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as fault:
        raise ConfigError(f"{path} holds no private key ({fault}); restore the ledger's key") from fault
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds no Ed25519 key; restore the ledger's key")
    return private


def _made(path: Path) -> bytes:
    """Make a key that only its owner may read; who comes second takes the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    half = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(half, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(half, path)
    except FileExistsError:
        text = path.read_bytes()
    finally:
        half.unlink()
    return text


def _append(folder: Path, line: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / CHECKPOINTS, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _post(address: str, line: bytes) -> None:
    import httpx

    try:
        httpx.post(
            address, content=line, headers={"content-type": "application/json"}, timeout=WEBHOOK_SECONDS
        ).raise_for_status()
    except httpx.HTTPError as fault:
        raise OSError(str(fault)) from fault
