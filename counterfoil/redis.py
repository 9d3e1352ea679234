"""The address of a Redis, as it is written: a URL, or Feast's own form, which has options behind commas.

    redis://HOST  redis://USER:PASSWORD@HOST:6379/2  rediss://HOST (TLS)  redis://HOST:6379,db=2,password=...

Nothing here asks a Redis.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 6379
SCHEMES = {"redis": False, "rediss": True}  # whether it is spoken to by TLS


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a Redis is, and what its client is told besides."""

    place: str  # HOST:PORT; of a cluster several, between commas
    options: dict[str, Any] = field(default_factory=dict)

    def feast(self) -> str:
        """Return it as Feast takes it: HOST:PORT,name=value; values as JSON, which is how Feast reads them."""
        return ",".join(
            [self.place, *(f"{name}={json.dumps(value)}" for name, value in self.options.items())]
        )


def parse(url: str) -> Address:
    """Return what an address says; ValueError, without the address, which may hold a password, when it says nothing."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise ValueError("it does not begin with redis:// or rediss://")
    options: dict[str, Any] = {"ssl": True} if SCHEMES[scheme] else {}
    first, *more = rest.split(",")
    found = urlsplit(f"{scheme}://{first}")
    if ":" in (found.hostname or ""):
        raise ValueError("Feast takes no IPv6 address; name the host")
    if not found.hostname:
        raise ValueError("it names no host")
    try:
        port = found.port or PORT
    except ValueError:
        raise ValueError("its port is no number from 1 to 65535") from None
    if found.path.strip("/"):
        if not found.path.strip("/").isdigit():
            raise ValueError("what follows the host is not the number of a database")
        options["db"] = int(found.path.strip("/"))
    for name, value in (("username", found.username), ("password", found.password)):
        if value:
            options[name] = unquote(value)
    options.update((name, _value(text)) for name, text in parse_qsl(found.query))
    nodes = [one for one in more if "=" not in one]
    options.update(
        (name, _value(text)) for name, _, text in (one.partition("=") for one in more if "=" in one)
    )
    if any("," in value for value in options.values() if isinstance(value, str)):
        raise ValueError("a comma in a name or password is more than Feast can pass on")
    return Address(place=",".join([f"{found.hostname}:{port}", *nodes]), options=options)


def _value(text: str) -> Any:
    """Return a value as Feast reads it: JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
