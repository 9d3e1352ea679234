"""What the console holds while it runs: the installation, who may come in, what is verified."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from counterfoil.console import visits
from counterfoil.console.accounts import Accounts
from counterfoil.console.attempts import Attempts
from counterfoil.console.proving import Proving
from counterfoil.console.sessions import Sessions
from flows.place import Place

LOGINS, LOGIN_SECONDS = 8, 15 * 60.0


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One console. `clock` says what time it is for whoever reads."""

    place: Place
    accounts: Accounts
    sessions: Sessions
    proving: Proving
    tries: Attempts = field(default_factory=lambda: Attempts(LOGINS, LOGIN_SECONDS))
    hashing: threading.Lock = field(
        default_factory=threading.Lock
    )  # one password at a time: each takes memory
    clock: Callable[[], datetime] = _now

    def note(self, did: str, by: str | None) -> None:
        """Put on record what somebody did that the ledger does not tell of."""
        visits.note(self.place.settings.console, did, by)


def desk_of(place: Place, clock: Callable[[], datetime] = _now) -> Desk:
    """Return the console of an installation."""
    accounts = Accounts(place.settings.console)
    return Desk(
        place=place,
        accounts=accounts,
        sessions=Sessions(accounts),
        proving=Proving(place),
        clock=clock,
    )
