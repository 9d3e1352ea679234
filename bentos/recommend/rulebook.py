"""Merchandising rules as people write them: a JSON file, checked, named by its digest. What they do to a list is in steer.py.

The file is read anew when it changes; every version that was ever used is kept beside it by its digest, so that an answer given
under it can be made anew.
"""

import hashlib
import logging
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    model_validator,
)

from bentos.recommend.request import MAX_ITEMS, Caps, Route
from counterfoil import canonical
from counterfoil.contracts import ITEM
from counterfoil.errors import ConfigError
from counterfoil.files import write_durably
from feature_repo import recent

log = logging.getLogger(__name__)
FILE = "rules.json"
LAST = "last.json"
KEPT = "rules"  # the folder of kept versions, below the home
MAX_BYTES = 4_000_000
MAX_RULES = 1_000
MAX_NAMED = 100_000
BROKEN = "the rules cannot be read: answered under the last good ones"
NONE_LEFT = "the rules cannot be read: answered without any"


def _names(name: str) -> Any:
    text = Annotated[
        str, StringConstraints(min_length=1, max_length=ITEM.field(name).max_length, strict=True)
    ]
    return Annotated[list[text], Field(max_length=MAX_NAMED)]


class Checked(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Rule(Checked):
    """What every rule has: a name that answers say it by, from when until when it holds, on which routes (all by default)."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    since: AwareDatetime | None = Field(None, alias="from")
    until: AwareDatetime | None = None
    routes: list[Route] = []

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since and self.until and self.since >= self.until:
            raise ValueError(f"{self.name}: from is not before until")
        return self

    def holds(self, at_us: int, route: str) -> bool:
        """Say whether it holds at a moment (microseconds since 1970) on a route: from `from` on, no longer at `until`."""
        since_us = None if self.since is None else self.since.timestamp() * 1e6
        until_us = None if self.until is None else self.until.timestamp() * 1e6
        return (
            (not self.routes or route in self.routes)
            and (since_us is None or at_us >= since_us)
            and (until_us is None or at_us < until_us)
        )


class Scope(Rule):
    """A rule about items, named one by one, by shelf (with all below it), by brand, or by seller."""

    items: _names("id") = []  # type: ignore[valid-type]
    categories: _names("category") = []  # type: ignore[valid-type]
    brands: _names("brand") = []  # type: ignore[valid-type]
    sellers: _names("seller") = []  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _about_something(self) -> Self:
        if not (self.items or self.categories or self.brands or self.sellers):
            raise ValueError(f"{self.name}: names no items, categories, brands or sellers")
        return self


class Exclude(Scope):
    """Items that are in no answer: recalled, not in season, or gone from a day on."""


class Boost(Scope):
    """Items whose place is worth so many times as much; below 1 they sink."""

    factor: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class Pin(Rule):
    """An item with a place of its own, from 1, wherever filters and excludes let it in."""

    item: Annotated[str, StringConstraints(min_length=1, max_length=ITEM.field("id").max_length)]
    place: Annotated[int, Field(ge=1, le=MAX_ITEMS)]


class Frequency(Checked):
    """An item that a person was shown so often within so many days, and did not take up, rests.

    Of what was shown the latest hundred are known, for a week.
    """

    shown: Annotated[int, Field(ge=1, le=recent.KEPT)]
    days: Annotated[float, Field(gt=0, le=recent.DAYS)]


class Explore(Checked):
    """One slot for learning: with chance `rate` it shows an item drawn evenly from those that came next, and new ones."""

    rate: Annotated[float, Field(ge=0, le=0.5)]
    place: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = MAX_ITEMS


class Rulebook(Checked):
    """Everything that may be ruled; empty, it changes nothing. What a request asks for itself goes before it."""

    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    caps: Caps = Caps()
    in_stock: StrictBool = False
    exclude_bought: StrictBool = False
    boosts: Annotated[list[Boost], Field(max_length=MAX_RULES)] = []
    pins: Annotated[list[Pin], Field(max_length=MAX_RULES)] = []
    excludes: Annotated[list[Exclude], Field(max_length=MAX_RULES)] = []
    frequency: Frequency | None = None
    explore: Explore | None = None


NO_RULES = Rulebook()


def of_bytes(content: bytes) -> Rulebook:
    """Read rules. ConfigError names everything that is wrong with them."""
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the rules have {len(content)} bytes; {MAX_BYTES} at most")
    try:
        return Rulebook.model_validate_json(content)
    except ValidationError as fault:
        said = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'rules'}: {error['msg']}"
            for error in fault.errors(include_url=False, include_input=False, include_context=False)[:20]
        )
        raise ConfigError(f"the rules are wrong: {said}; see docs/how-to/rules.md") from None


def written(rules: Rulebook) -> bytes:
    """Return the one form in which rules are kept: the same rules have the same bytes."""
    return canonical.encode(rules.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def digest(rules: Rulebook) -> str:
    """Return the first 16 hex digits of the SHA-256 of that form; empty for no rules at all."""
    return "" if rules == NO_RULES else hashlib.sha256(written(rules)).hexdigest()[:16]


def kept_at(folder: Path, name: str) -> Path:
    """Return where the version of that digest lies, below the folder of kept versions."""
    return folder / f"{name}.json"


def recalled(folder: Path, name: str) -> Rulebook:
    """Read a version that was kept. ConfigError when it is gone, or is not what its name says."""
    path = kept_at(folder, name)
    try:
        found = of_bytes(path.read_bytes())
    except OSError as fault:
        raise ConfigError(f"the rules {name} are not kept in {folder} ({fault})") from fault
    if digest(found) != name:
        raise ConfigError(f"{path} is not the version {name}; it was altered")
    return found


def keep(rules: Rulebook, folder: Path) -> str:
    """Keep a version by its digest, and as the last good one; return the digest."""
    name = digest(rules)
    folder.mkdir(parents=True, exist_ok=True)
    if name and not kept_at(folder, name).is_file():
        write_durably(kept_at(folder, name), written(rules))
    write_durably(folder / LAST, written(rules))
    return name


class RulesFile:
    """The rules as of now: those of the file, else the last good ones, and what is wrong if anything is."""

    def __init__(self, path: Path, kept: Path) -> None:
        self.path, self.kept = path, kept
        self.rules, self.name, self.degraded = NO_RULES, "", ()
        self._seen: object = ()

    name: str
    degraded: tuple[str, ...]

    def now(self) -> Self:
        """Look at the file's stamp, and into the file when it changed. Costs a few microseconds while it stays the same."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._take(stamp is not None)
        return self

    def _take(self, exists: bool) -> None:
        try:
            rules = of_bytes(self.path.read_bytes()) if exists else NO_RULES
        except (ConfigError, OSError) as fault:
            log.error("%s: %s", self.path, fault)
            self._fall_back()
            return
        try:
            name = keep(rules, self.kept) if exists else ""
        except OSError as fault:
            log.error("%s: these rules cannot be kept, and do not hold yet: %s", self.path, fault)
            self._seen = ()  # nothing is wrong with them: the next question tries again
            self._fall_back()
            return
        self.rules, self.name, self.degraded = rules, name, ()

    def _fall_back(self) -> None:
        """Stay with the rules that hold; a process that has none yet takes the last good ones that any process kept."""
        if self.name:
            self.degraded = (BROKEN,)
            return
        try:
            self.rules = of_bytes((self.kept / LAST).read_bytes())
            self.name, self.degraded = digest(self.rules), (BROKEN,)
        except (ConfigError, OSError):
            self.degraded = (NONE_LEFT,)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def place(rules: Rulebook, path: Path, kept: Path) -> str:
    """Let rules hold from now on: keep them, then replace the file. Return their digest."""
    name = keep(rules, kept)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(path, orjson.dumps(orjson.loads(written(rules)), option=orjson.OPT_INDENT_2))
    return name
