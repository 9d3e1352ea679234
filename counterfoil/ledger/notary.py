"""The notary: signs heads of the ledger with an Ed25519 key, and hands the signed notes to places outside the database.

A place is a folder, in which notes are appended to one file, or the address of a webhook, to which each is posted.
"""

import base64
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from counterfoil.errors import ConfigError, UnavailableError
from counterfoil.files import sync
from counterfoil.ledger.afar import Afar
from counterfoil.ledger.book import Head
from counterfoil.ledger.verifier import CHECKPOINTS, ORIGIN, note, note_body

WEBHOOK_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Notary:
    """Whose key signs (a PEM file, made when it is not there), and where signed notes go: folders, webhooks, a remote."""

    key: Path
    places: tuple[str, ...]
    afar: Afar | None = None

    def public(self) -> bytes:
        """Return the public key, 32 bytes; the key is made when it is not there."""
        return _public(_loaded(self.key))

    def held(self) -> bytes | None:
        """Return the public key, None when there is no key."""
        return self.public() if self.key.is_file() else None

    def sign(self, text: bytes) -> bytes:
        """Sign a text that is no head of the ledger; return the 64 bytes. ValueError for one that might be taken for a head."""
        if text.startswith(ORIGIN.encode()):
            raise ValueError("this is signed as a head of the ledger only")
        return _loaded(self.key).sign(text)

    def publish(self, head: Head) -> None:
        """Sign a head and hand it to every place; UnavailableError when one does not take it: entries are kept all the same.

        A head that another key is to sign is left to the next one: the key was changed in between.
        """
        private = _loaded(self.key)
        if head.public is not None and head.public != base64.b64encode(_public(private)).decode():
            return
        signature = private.sign(note_body(head.size, head.root))
        signed = orjson.dumps({"note": note(head.size, head.root, _public(private), signature)}) + b"\n"
        faults = []
        for place in self.places:
            try:
                _post(place, signed) if "://" in place else _append(Path(place), signed)
            except OSError as fault:
                faults.append(f"{place} ({fault})")
        if self.afar is not None:
            try:
                self.afar.leave(signed)
            except OSError as fault:
                faults.append(f"the remote ({fault})")
        if faults:
            raise UnavailableError(
                f"the checkpoint of {head.size} entries cannot be left at {', '.join(faults)}; mend that, then run"
                " `counterfoil ledger checkpoint`"
            )

    def prepare(self) -> bytes:
        """Make the key that is to follow, beside this one, and return its public key; what was prepared before is kept."""
        return _public(_loaded(self._next))

    def follow(self, public: bytes) -> None:
        """Let the prepared key, if it is this one, sign from now on; once more changes nothing."""
        if self.prepared() == public:
            with suppress(FileNotFoundError):
                self._next.replace(self.key)
                sync(self.key.parent)

    def prepared(self) -> bytes | None:
        """Return the public key that was prepared, None when none was."""
        try:
            return _public(_read(self._next))
        except FileNotFoundError:
            return None

    @property
    def _next(self) -> Path:
        return self.key.with_name(f"{self.key.name}.next")

    def notes(self, *, here: bool = False) -> list[str]:
        """Return the lines that lie in the folders and in the remote, each once; torn ones, of who was killed, are left out.

        `here` leaves the remote out. UnavailableError when it does not answer.
        """
        files = [Path(place) / CHECKPOINTS for place in self.places if "://" not in place]
        lines = [line for file in files if file.is_file() for line in file.read_text("utf-8").splitlines()]
        lines += [] if self.afar is None or here else self.afar.lines()
        return [line for line in dict.fromkeys(lines) if line.endswith("}")]


def _public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _loaded(path: Path) -> Ed25519PrivateKey:
    """Read a private key, and make it when it is not there."""
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise UnavailableError(f"the ledger's key {path} cannot be read ({fault}); mend it") from fault
    try:
        private = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as fault:
        raise ConfigError(f"{path} holds no private key ({fault}); restore the ledger's key") from fault
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds no Ed25519 key; restore the ledger's key")
    return private


def _make(path: Path) -> None:
    """Make a key that only its owner may read, durably; who comes second leaves the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    half = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(half, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            os.link(half, path)
    finally:
        half.unlink()
    sync(path.parent)


def _append(folder: Path, line: bytes) -> None:
    """Add a line, on a line of its own even behind one that was torn."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CHECKPOINTS).open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _post(address: str, line: bytes) -> None:
    import httpx

    try:
        httpx.post(
            address, content=line, headers={"content-type": "application/json"}, timeout=WEBHOOK_SECONDS
        ).raise_for_status()
    except httpx.HTTPError as fault:
        raise OSError(str(fault)) from fault
