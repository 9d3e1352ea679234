"""Who may come in, by which route, how often: every route has a class, and nothing is let in that has none."""

import time
from dataclasses import dataclass

from bentos import inner
from bentos.gateway.http import Reply, Request, failure
from bentos.gateway.keys import SCOPES, Key, Keys, Scope, found
from bentos.gateway.rates import Rates
from counterfoil.errors import ConfigError, CounterfoilError
from counterfoil.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
OPEN_SCOPES: tuple[Scope, ...] = ("recommend", "events")
ANYBODY = Key(id="", name="anybody", scopes=OPEN_SCOPES, rate=None, sha256="", made="")
OURSELVES = Key(id="-", name="this installation", scopes=SCOPES, rate=None, sha256="", made="")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A route: its method, and the scope of a key that it takes; None: open to everybody."""

    path: str
    method: str
    scope: Scope | None

    def takes(self, method: str) -> bool:
        """Say whether it is asked so; a HEAD wherever a GET is."""
        return method == self.method or (method == "HEAD" and self.method == "GET")


PLACES = {
    place.path: place
    for place in (
        Place(path="/recommend", method="POST", scope="recommend"),
        Place(path="/next", method="POST", scope="recommend"),
        Place(path="/similar", method="POST", scope="recommend"),
        Place(path="/cart", method="POST", scope="recommend"),
        Place(path="/events", method="POST", scope="events"),
        Place(path="/-/routes", method="GET", scope="admin"),
        Place(path="/-/stats", method="GET", scope="admin"),
        Place(path="/metrics", method="GET", scope="admin"),
        Place(path="/livez", method="GET", scope=None),
        Place(path="/readyz", method="GET", scope=None),
        Place(path="/openapi.json", method="GET", scope=None),
    )
}


class Admission:
    """The keys of this installation, and whether it is open while there is none."""

    def __init__(self, settings: Settings, token: str, keys: Keys) -> None:
        self.token, self.keys, self.rates = token, keys, Rates()
        self.may_be_open = settings.profile == "embedded" and settings.gateway_host in LOOPBACK
        self.held, self.begun = keys.all(), keys.begun
        self._said: Exception | None = None

    def require_some(self) -> None:
        """ConfigError when nobody could come in, or everybody would."""
        if not self.held and not self.may_be_open:
            raise ConfigError(
                "there is no key, and without one the gateway is open: it takes that on loopback in the embedded profile alone;"
                " make one by `counterfoil key make NAME --scope recommend --scope events`"
            )

    def renew(self) -> str | None:
        """Read the keys anew when they changed; return what is wrong with them (then those from before hold on), once."""
        try:
            held = self.keys.all()
            self.begun = self.keys.begun
        except (CounterfoilError, OSError) as fault:
            again = fault is self._said or (isinstance(fault, OSError) and str(fault) == str(self._said))
            self._said = fault
            return None if again else str(fault)
        self._said = None
        if held is not self.held:
            self.held = held
            self.rates.keep(set(held))
        return None

    @property
    def open(self) -> bool:
        """Whether anybody may ask: on loopback, in the embedded profile, as long as no key was ever made."""
        return self.may_be_open and not self.begun

    def admitted(self, request: Request, place: Place) -> Key | Reply:
        """Return the key by which a request comes in, or the 401, 403 or 429 that it gets."""
        key = self.fitting(request, place)
        if isinstance(key, Reply):
            return key
        wait = self.rates.wait(key.id, key.rate, time.monotonic())
        if wait:
            again = [(b"retry-after", b"%d" % wait)]
            return failure(
                429, "rate", f"this key may ask {key.rate:g} times a second; ask again in {wait} s", again
            )
        return key

    def fitting(self, request: Request, place: Place) -> Key | Reply:
        """Return the key that a request has and that fits the place, or the 401 or 403 that it gets; nothing is counted."""
        if place.scope is None:
            return ANYBODY
        key = self._key(request)
        if key is None or (key is ANYBODY and place.scope not in OPEN_SCOPES):
            headers = [(b"www-authenticate", b'Bearer realm="counterfoil"')]
            return failure(
                401, "key", "no key that is known; send one as `Authorization: Bearer KEY`", headers
            )
        if place.scope not in key.scopes:
            scopes = ", ".join(key.scopes)
            return failure(
                403, "scope", f"{place.path} takes a key of scope {place.scope}; this one has {scopes}"
            )
        return key

    def _key(self, request: Request) -> Key | None:
        token = request.headers.get(inner.TOKEN.encode())
        if token is not None and inner.allowed(token.decode("latin-1"), self.token):
            return OURSELVES
        given = _given(request)
        if given is not None:
            return found(given, self.held)
        return ANYBODY if self.open else None


def _given(request: Request) -> str | None:
    bearer = request.headers.get(b"authorization")
    if bearer is not None:
        kind, _, text = bearer.decode("latin-1").partition(" ")
        return text.strip() if kind.lower() == "bearer" else ""
    key = request.headers.get(b"x-api-key")
    return None if key is None else key.decode("latin-1").strip()
