"""Sessions of people who are logged in: a signed cookie there, here whose it is and until when.

The key lives as long as the process: after a restart everybody logs in anew. A session also ends when its account changes.
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeSerializer

from counterfoil.console.accounts import Account, Accounts
from counterfoil.console.roles import Role

HOURS = 10
OWNER = "owner"  # who came in by the first link, before there was an account


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One login: its id, whose it is, the stamp that the account had then, until when (seconds of the clock)."""

    id: str
    name: str
    role: Role
    stamp: str
    until: float


class Sessions:
    """The sessions of one process."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.time) -> None:
        self.accounts, self.clock = accounts, clock
        self._key = secrets.token_bytes(32)
        self._signer = URLSafeSerializer(self._key, salt="session")
        self._devices = URLSafeSerializer(self._key, salt="device")
        self._live: dict[str, Session] = {}
        self._lock = threading.Lock()
        self.hand_out: Callable[[str], None] = lambda secret: None  # told every new secret of the first login
        self._first = secrets.token_urlsafe(24)
        self._owned = (
            False  # there was an account once: whoever came in before it does not come back when it goes
        )

    def begin(self, account: Account) -> str:
        """Begin a session and return the cookie's value."""
        return self._begin(account.name, account.role, account.stamp)

    def _begin(self, name: str, role: Role, stamp: str) -> str:
        now = self.clock()
        session = Session(
            id=secrets.token_hex(16), name=name, role=role, stamp=stamp, until=now + HOURS * 3600
        )
        with self._lock:
            self._live = {id: one for id, one in self._live.items() if one.until > now}
            self._live[session.id] = session
        return str(self._signer.dumps(session.id))

    def of(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None when it is not ours, over, or its account changed or went."""
        try:
            session = self._live.get(str(self._signer.loads(cookie)))
        except BadSignature:
            return None
        if session is None or session.until <= self.clock() or not self._stands(session):
            return None
        return session

    def _stands(self, session: Session) -> bool:
        accounts = self._accounts()
        if session.stamp == OWNER:
            return not self._owned  # the first account that is made ends it
        account = accounts.get(session.name)
        return account is not None and account.stamp == session.stamp

    def device(self, account: Account) -> str:
        """Return a cookie's value by which a browser is known again in which this account logged in."""
        return str(self._devices.dumps([account.stamp, secrets.token_hex(8)]))

    def device_of(self, cookie: str, name: str) -> str | None:
        """Return the id of a browser in which the account of that name logged in before; None for any other."""
        account = self.accounts.all().get(name)
        try:
            stamp, id = self._devices.loads(cookie)
        except BadSignature:
            return None
        return str(id) if account is not None and account.stamp == stamp else None

    def _accounts(self) -> dict[str, Account]:
        accounts = self.accounts.all()
        self._owned = self._owned or bool(accounts)
        return accounts

    def end(self, session: Session) -> None:
        """End a session, whoever still holds its cookie."""
        with self._lock:
            self._live.pop(session.id, None)

    def token(self, of: str) -> str:
        """Return the token that forms carry against requests forged by other sites, for a session's id or a visitor's cookie."""
        return hmac.new(self._key, b"form " + of.encode(), "sha256").hexdigest()

    def is_token(self, given: str, of: str) -> bool:
        """Say whether it is that token."""
        return hmac.compare_digest(given.encode(), self.token(of).encode())

    @property
    def first(self) -> str | None:
        """The secret of the first login; None from the first account on, also when that is removed again."""
        return self._first if not self._accounts() and not self._owned else None

    def renew_first(self) -> None:
        """Make a new secret of the first login, and hand it out: each counts once."""
        self._first = secrets.token_urlsafe(24)
        self.hand_out(self._first)

    def begin_first(self, secret: str) -> str | None:
        """Begin a session by the secret of the first login, which then counts no more; None when it is not the one."""
        with self._lock:
            first = self.first
            if first is None or not hmac.compare_digest(secret.encode(), first.encode()):
                return None
            self.renew_first()
        return self._begin(OWNER, "approver", OWNER)
