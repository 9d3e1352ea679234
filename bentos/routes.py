"""The gateway's routes: which release answers whom, and where it listens.

A small JSON file, replaced whole, read when it changes.

Written by whoever watches over the processes here, from the release table; on another platform by its own controller.
"""

import hashlib
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from counterfoil.errors import ConfigError
from counterfoil.files import write_durably

FILE = "routes.json"
BUCKETS = 1 << 53


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A release that answers, and where: `url` without a path.

    `share` of the people see it, `mirror` of the other people's requests are copied to it. A champion has share 1: it answers
    whom nobody else does. A challenger in shadow has share 0.
    """

    release: str
    bento: str
    epoch: int
    url: str
    stage: Literal["champion", "canary", "shadow"]
    share: float = 1.0
    mirror: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """Who answers for a use case as of an epoch of its release table. `collector` is where events go, None: nowhere."""

    use_case: str
    epoch: int
    champion: Route
    challenger: Route | None = None
    collector: str | None = None


def assigned(routes: Routes, who: str | None) -> Route:
    """Return who answers somebody: the same for the same person and the same challenger, whatever the process or the machine.

    A hash of the challenger's bento and the name gives a number from 0 to 1; below the share it is the challenger (so a share
    that grows takes nobody away from it). None, nobody who is known: the number is drawn for each question, so that each has
    the chance that its receipt says.
    """
    challenger = routes.challenger
    if challenger is None or challenger.share <= 0:
        return routes.champion
    return challenger if _place(challenger, who) < challenger.share else routes.champion


def _place(challenger: Route, who: str | None) -> float:
    if who is None:
        return random.random()
    told = hashlib.blake2b(f"{challenger.bento}\0{who}".encode(), digest_size=8).digest()
    return (int.from_bytes(told, "big") >> 11) / BUCKETS


def write(routes: Routes, path: Path) -> None:
    """Replace the file, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, orjson.dumps(asdict(routes), option=orjson.OPT_INDENT_2))


def read(path: Path) -> Routes:
    """Read the file. ConfigError when there is none or it is wrong."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as fault:
        raise ConfigError(f"{path} holds no routes ({fault}); run `counterfoil up`") from fault


def held(path: Path) -> Routes | None:
    """Read the file; None when there is none, or it is wrong."""
    try:
        return read(path)
    except ConfigError:
        return None


def parse(content: bytes, where: str) -> Routes:
    """Return the routes that `write` wrote, found `where`. ConfigError when they are none."""
    try:
        held: dict[str, Any] = orjson.loads(content)
        challenger = held["challenger"]
        return Routes(
            **{
                **held,
                "champion": Route(**held["champion"]),
                "challenger": None if challenger is None else Route(**challenger),
            }
        )
    except (ValueError, TypeError, KeyError) as fault:
        raise ConfigError(f"{where} holds no routes ({fault}); `counterfoil up` writes it anew") from fault
