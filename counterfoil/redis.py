"""The address of a Redis, as it is written: a URL, or Feast's own form, which has options behind commas.

    redis://HOST  redis://USER:PASSWORD@HOST:6379/2  rediss://HOST (TLS)  redis://HOST:6379,db=2,password="..."

Nothing here asks a Redis. No error tells any part of an address, for a password may be in it, and not where it should be.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

PORT = 6379
SCHEMES = {"redis": False, "rediss": True}  # whether it is spoken to by TLS
TEXTS = ("username", "password")  # options that are texts, whatever they look like
NAME = re.compile(r"[a-z][a-z_]*")
GIVEN = frozenset(("host", "port"))  # by the address itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a Redis is, and what its client is told besides."""

    place: str  # HOST:PORT
    options: dict[str, Any] = field(default_factory=dict)

    def feast(self) -> str:
        """Return it as Feast takes it: HOST:PORT,name=value; values as JSON, which is how Feast reads them."""
        return ",".join(
            [self.place, *(f"{name}={json.dumps(value)}" for name, value in self.options.items())]
        )


def parse(url: str) -> Address:
    """Return what an address says; ValueError when it says nothing, or something that Feast cannot pass on."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise ValueError("it does not begin with redis:// or rediss://")
    first, *more = rest.split(",")
    found = _split(f"{scheme}://{first}")
    options: dict[str, Any] = {"ssl": True} if SCHEMES[scheme] else {}
    if found.path.strip("/"):
        if not re.fullmatch(r"[0-9]+", found.path.strip("/")):
            raise ValueError("what follows the host is not the number of a database")
        options["db"] = int(found.path.strip("/"))
    for name, value in (("username", found.username), ("password", found.password)):
        if value:
            options[name] = unquote(value)
    try:
        asked = parse_qsl(found.query, keep_blank_values=True, strict_parsing=bool(found.query))
    except ValueError:
        raise ValueError("behind its question mark is no name=value; in a password that is %3F") from None
    options.update(_named(asked))
    if any("=" not in one or ("@" in one and '="' not in one) for one in more):
        raise ValueError(
            "behind a comma is no name=value of Feast's; in a URL's password that is %2C, and an @ is %40"
        )
    options.update(_named(tuple(one.split("=", 1)) for one in more))
    if any("," in json.dumps(value, ensure_ascii=False) for value in options.values()):
        raise ValueError("a comma in a value is more than Feast can pass on")
    return Address(place=f"{found.hostname}:{PORT if found.port is None else found.port}", options=options)


def _split(url: str) -> SplitResult:
    try:
        found = urlsplit(url)
    except ValueError:
        raise ValueError("it is no URL; signs in a password are written %5B and the like") from None
    if "#" in url:
        raise ValueError("a # in a password is written %23")
    if not found.hostname:
        raise ValueError("it names no host")
    if ":" in found.hostname:
        raise ValueError("Feast takes no IPv6 address; name the host")
    try:
        if found.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError("its port is no number from 1 to 65535") from None
    return found


def _named(pairs: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """Return options as Feast reads them: JSON where a value is some, else the text."""
    told: dict[str, Any] = {}
    for name, text in pairs:
        if not NAME.fullmatch(name) or name in GIVEN:
            raise ValueError("an option's name is none of a Redis client's")
        try:
            told[name] = json.loads(text)
        except json.JSONDecodeError:
            told[name] = text
        if name in TEXTS and not isinstance(told[name], str):
            told[name] = text
    return told
