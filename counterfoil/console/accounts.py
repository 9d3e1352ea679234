"""Accounts of the console: people with passwords, machines with keys. A file of hashes in the home; no secret is kept.

Passwords are hashed by scrypt (RFC 7914) under a salt of their own. Keys are 256 random bits, so that one SHA-256 hides them.
"""

import getpass
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import orjson
from filelock import FileLock

from counterfoil import canonical
from counterfoil.console import visits
from counterfoil.console.roles import ROLES, Role
from counterfoil.errors import ConflictError, InputError, IntegrityError, UnknownError
from counterfoil.files import write_durably

FILE = "accounts.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,39}")
LEAST, MOST = 12, 256  # characters of a password
COST = {"n": 2**15, "r": 8, "p": 3, "maxmem": 2**26, "dklen": 32}  # 32 MiB and a quarter of a second
TAKEN = {
    "gate",
    "owner",
}  # who decides by rules, and who came in by the first link: on record they are nobody else
KEY = "cfk_"  # what a key begins with, so that scanners of leaked secrets know one

Kind = Literal["person", "machine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One who may come in: a person by password, or a machine by key. `stamp` changes whenever anything of it does."""

    name: str
    kind: Kind
    role: Role
    salt: str
    hash: str
    stamp: str
    made: str


class Accounts:
    """The accounts in one file; read anew whenever another process changed it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._held: dict[str, Account] = {}

    def all(self) -> dict[str, Account]:
        """Return the accounts by name. IntegrityError when the file is not one of accounts."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            self._seen, self._held = None, {}
            return {}
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        if seen != self._seen:
            self._held = self._read()
            self._seen = seen
        return self._held

    def add_person(self, name: str, role: str, password: str) -> Account:
        """Add a person. InputError when name, role or password will not do; ConflictError when the name is taken."""
        if not LEAST <= len(password) <= MOST:
            raise InputError(
                f"the password has {len(password)} characters; take {LEAST} to {MOST}, best a few words that nobody guesses"
            )
        if password != password.strip():
            raise InputError(
                "the password begins or ends with a space, which the login's form leaves out; take none there"
            )
        salt = secrets.token_hex(16)
        return self._add(name, "person", role, salt, hash_of(password, salt))

    def add_key(self, name: str, role: str) -> str:
        """Add a machine and return its key, which is shown this once. The same errors as for a person."""
        key = KEY + secrets.token_urlsafe(32)
        self._add(name, "machine", role, "", _digest(key))
        return key

    def change_role(self, name: str, role: str) -> Account:
        """Give an account another role; its sessions end. UnknownError when there is none of that name."""
        _require_role(role)

        def changed(held: dict[str, Account]) -> None:
            _require(held, name)
            held[name] = replace(held[name], role=role, stamp=secrets.token_hex(8))  # type: ignore[arg-type]

        held = self._change(changed)
        self._note("account changed", name, role=role)
        return held[name]

    def remove(self, name: str) -> None:
        """Remove an account; its sessions and its key end. UnknownError when there is none of that name."""

        def changed(held: dict[str, Account]) -> None:
            _require(held, name)
            del held[name]

        self._change(changed)
        self._note("account removed", name)

    def person(self, name: str, password: str) -> Account | None:
        """Return the person of that name and password, or None; takes as long for a name that is not there."""
        account = self.all().get(name)
        if account is None or account.kind != "person":
            hash_of(password[:MOST], "00" * 16)
            return None
        given = hash_of(password[:MOST], account.salt)
        return account if hmac.compare_digest(given, account.hash) else None

    def machine(self, key: str) -> Account | None:
        """Return the machine of that key, or None."""
        given, found = _digest(key), None
        for account in self.all().values():
            if account.kind == "machine" and hmac.compare_digest(given, account.hash):
                found = account
        return found

    def _add(self, name: str, kind: Kind, role: str, salt: str, hash: str) -> Account:
        _require_role(role)
        if not NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no name of an account; take letters, digits, dot, dash, underscore or @, at most 40"
            )
        if name.lower() in TAKEN:
            raise InputError(f"{name} stands on record for somebody else; take another name")
        account = Account(
            name=name, kind=kind, role=role, salt=salt, hash=hash,  # type: ignore[arg-type]
            stamp=secrets.token_hex(8), made=canonical.utc_text(datetime.now(UTC)),
        )  # fmt: skip

        def changed(held: dict[str, Account]) -> None:
            if name in held:
                raise ConflictError(
                    f"{name} is there already, as {held[name].role}; remove it first, or take another name"
                )
            held[name] = account

        self._change(changed)
        self._note("account added", name, kind=kind, role=role)
        return account

    def _note(self, did: str, name: str, **more: str) -> None:
        try:
            by = getpass.getuser()
        except (KeyError, OSError):  # a user without a name, as in some containers
            by = f"uid {os.getuid()}"
        visits.note(self.path.parent, did, by, account=name, **more)

    def _change(self, change: Callable[[dict[str, Account]], None]) -> dict[str, Account]:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.parent.chmod(0o700)  # nobody else reads even the hashes
        with FileLock(self.path.with_suffix(".lock")):
            held = self._read() if self.path.exists() else {}
            change(held)
            rows = [asdict(held[name]) for name in sorted(held)]
            write_durably(self.path, orjson.dumps(rows, option=orjson.OPT_INDENT_2))
            self.path.chmod(0o600)
        return held

    def _read(self) -> dict[str, Account]:
        try:
            accounts = [_account(row) for row in orjson.loads(self.path.read_bytes())]
        except (ValueError, TypeError, KeyError, OSError) as fault:
            raise IntegrityError(
                f"{self.path} is not a file of accounts ({fault}); restore it, or remove it and make the accounts anew"
            ) from fault
        return {account.name: account for account in accounts}


def _account(row: dict[str, Any]) -> Account:
    account = Account(**row)
    if account.role not in ROLES or account.kind not in get_args(Kind):
        raise ValueError(f"{account.name} is a {account.kind} with the role {account.role}")
    return account


def hash_of(password: str, salt: str) -> str:
    """Return scrypt's 32 bytes of a password under a salt, both ends as hex digits."""
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **COST).hex()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _require_role(role: str) -> None:
    if role not in ROLES:
        raise InputError(f"{role!r} is no role; take one of {', '.join(ROLES)}")


def _require(held: dict[str, Account], name: str) -> None:
    if name not in held:
        there = ", ".join(sorted(held)) or "none yet"
        raise UnknownError(f"there is no account {name!r}; there are: {there}")
