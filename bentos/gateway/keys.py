"""Keys of the public door: scopes, rates, and a SHA-256 of each. No secret is kept.

A key is `cfg_ID_SECRET`: the id finds the entry, 256 random bits are held against its digest in constant time.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import orjson
from filelock import FileLock

from counterfoil import canonical
from counterfoil.errors import ConflictError, InputError, IntegrityError, UnknownError
from counterfoil.files import write_durably

Scope = Literal["recommend", "events", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FILE = "keys.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")
MADE = re.compile(r"cfg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
MOST_RATE = 1_000_000.0
NOBODY = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Whoever may come in by it: what for, and how many requests a second (None: any number)."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    rate: float | None
    sha256: str
    made: str


class Keys:
    """The keys in one file, read anew whenever it changed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._held: dict[str, Key] = {}
        self._wrong: IntegrityError | None = None  # what was wrong with the file that was seen last

    def all(self) -> dict[str, Key]:
        """Return the keys by id. IntegrityError when the file is not one of keys; it is not read again until it changes."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            self._seen, self._held, self._wrong = None, {}, None
            return {}
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        if seen != self._seen:
            self._wrong, fresh = None, self._held
            try:
                fresh = self._read()
            except IntegrityError as fault:
                self._wrong = fault
            self._seen, self._held = seen, fresh
        if self._wrong is not None:
            raise self._wrong.with_traceback(None)  # else it grows each time
        return self._held

    @property
    def begun(self) -> bool:
        """Whether a key was ever made here: revoking the last one opens nothing."""
        return self.path.exists()

    def make(self, name: str, scopes: Sequence[str], rate: float | None) -> tuple[Key, str]:
        """Make a key; return it with its text, which is shown this once.

        InputError when name, scopes or rate will not do; ConflictError when the name is taken.
        """
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name of a key; take letters, digits, dot, dash, underscore or @, at most 40"
            )
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InputError(f"{unknown or 'none'} is no scope of a key; take any of {', '.join(SCOPES)}")
        if rate is not None and not 0.01 <= rate <= MOST_RATE:
            raise InputError(
                f"the rate is {rate:g} requests a second; take 0.01 to {MOST_RATE:,.0f}, or none"
            )
        id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        text = f"cfg_{id}_{secret}"
        key = Key(
            id=id,
            name=name,
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            rate=rate,
            sha256=_digest(text),
            made=canonical.utc_text(datetime.now(UTC)),
        )

        def added(held: dict[str, Key]) -> dict[str, Key]:
            if any(other.name == name for other in held.values()):
                raise ConflictError(f"there is a key named {name}; revoke it first, or take another name")
            return {**held, id: key}

        self._change(added)
        return key, text

    def revoke(self, name: str) -> Key:
        """Take a key away, by its name or id. UnknownError when there is none."""
        gone: list[Key] = []

        def removed(held: dict[str, Key]) -> dict[str, Key]:
            gone.extend(key for key in held.values() if name in (key.name, key.id))
            if not gone:
                raise UnknownError(f"there is no key {name}; `counterfoil key list` names them")
            return {id: key for id, key in held.items() if key not in gone}

        self._change(removed)
        return gone[0]

    def _change(self, change: Callable[[dict[str, Key]], dict[str, Key]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(f"{self.path}.lock", mode=0o600):
            held = change(dict(self._read() if self.path.is_file() else {}))
            rows = [asdict(key) for key in held.values()]
            write_durably(self.path, orjson.dumps({"keys": rows}, option=orjson.OPT_INDENT_2))
            self.path.chmod(0o600)

    def _read(self) -> dict[str, Key]:
        try:
            rows = orjson.loads(self.path.read_bytes())["keys"]
            return {row["id"]: _key(row) for row in rows}
        except (ValueError, TypeError, KeyError) as fault:
            raise IntegrityError(
                f"{self.path} holds no keys ({fault}); restore it, or remove it and make keys anew"
            ) from fault


def _key(row: dict[str, Any]) -> Key:
    return Key(**{**row, "scopes": tuple(row["scopes"])})


def found(text: str, keys: dict[str, Key]) -> Key | None:
    """Return the key of that text, or None; takes as long for one that is not there."""
    match = MADE.fullmatch(text)
    key = keys.get(match[1]) if match else None
    same = hmac.compare_digest(_digest(text), NOBODY if key is None else key.sha256)
    return key if same else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
