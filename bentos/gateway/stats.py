"""What `GET /-/stats` says: counts per release since its epoch and second by second. The shape, and how it is read and written.

Whoever judges a challenger reads it by `read`; how it is counted is in `tally.py`.
"""

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from counterfoil.errors import ContractError
from counterfoil.receipts.store import lot

VERSION = 4
SECONDS = 60  # for which there is a count of each
# Upper edges of the latency histogram in ms: 0.1 ms to 60 s in steps of 10%. What took longer is in a last bucket of its own.
GROWTH = 1.1
BOUNDS_MS: tuple[float, ...] = tuple(round(0.1 * GROWTH**step, 4) for step in range(140 + 1))


@dataclass(kw_only=True, slots=True)
class Counts:
    """Counts of requests. `errors` are those that failed, `timeouts` those of them that ran out of time.

    `refused` are 4xx, whose fault lies with who asked: where the champion answers what a challenger refuses, that is an error of
    the challenger's instead. `empty` answers hold no item; `degraded` ones say that they are.
    `latency`: how many answers by index into `BOUNDS_MS`, one beyond it for the rest; failed ones are in it, refused ones not.
    `worked`: the same without what they waited in the service's line, which says how much was asked at once, not how quick it is;
    `told` of them said how long that was, the others are in it whole.
    Of copies, `compared` were held against the champion's answer: `overlap` is the sum of the shares of items in common,
    `unlike` counts those of another status.
    """

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    refused: int = 0
    empty: int = 0
    degraded: int = 0
    compared: int = 0
    unlike: int = 0
    overlap: float = 0.0
    told: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    worked: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Counts") -> None:
        """Add another's counts to these."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in HISTOGRAMS:
            held = getattr(self, name)
            for bucket, count in getattr(other, name).items():
                held[bucket] = held.get(bucket, 0) + count

    def quantile(self, q: float) -> float | None:
        """Return the latency in ms below which a share `q` of these lie, as the upper edge of its bucket; None without any.

        The error is below one step of the histogram, 10%; beyond the last edge it is that edge.
        """
        return quantile_of(self.latency, q)


def quantile_of(latency: Mapping[int, int], q: float, bounds_ms: Sequence[float] = BOUNDS_MS) -> float | None:
    """Return the upper edge in ms of the bucket below which a share `q` of a histogram lies; None of an empty one."""
    wanted, seen = q * sum(latency.values()), 0
    for bucket in sorted(latency):
        seen += latency[bucket]
        if seen >= wanted:
            return bounds_ms[min(bucket, len(bounds_ms) - 1)]
    return None


HISTOGRAMS = ("latency", "worked")
_NUMBERS = tuple(name for name in Counts.__slots__ if name not in HISTOGRAMS)


@dataclass(kw_only=True, slots=True)
class Second:
    """What was counted within one second, which begins at `at` (seconds since 1970)."""

    at: int
    live: Counts = field(default_factory=Counts)
    copies: Counts = field(default_factory=Counts)


@dataclass(kw_only=True, slots=True)
class Told:
    """What is known of one release since the gateway took its epoch. `live` answers were for people; `copies` nobody saw.

    `lots`: when each lot of receipts that its live answers were of came up first (seconds since 1970; 0: none of it did), the
    newest of them, while it answers; by segment, in the order of its lots, since they are thousands and one loop tells them all.
    """

    release: str
    bento: str
    epoch: int
    stage: str
    since: float
    live: Counts = field(default_factory=Counts)
    copies: Counts = field(default_factory=Counts)
    seconds: list[Second] = field(default_factory=list)
    lots: dict[str, list[float]] = field(default_factory=dict)

    def since_by_lot(self) -> dict[str, float]:
        """Return when each lot that came up did so first."""
        return {
            lot(segment, place): began
            for segment, every in self.lots.items()
            for place, began in enumerate(every)
            if began
        }

    def window(self, now: float, seconds: int = SECONDS) -> tuple[Counts, Counts]:
        """Return live counts and those of copies of the last `seconds` whole seconds before `now`, and of the one that runs."""
        live, copies = Counts(), Counts()
        for second in self.seconds:
            if second.at >= int(now) - seconds:
                live.add(second.live)
                copies.add(second.copies)
        return live, copies


@dataclass(kw_only=True, slots=True)
class Stats:
    """Everything that the gateway counts, as of `now` (seconds since 1970); it has counted since `began`.

    `shed` requests were turned away for want of room, `last_good` were answered from the last good list, `dropped` copies were
    not made for want of room, `rescued` questions of a challenger were answered by the champion.
    """

    version: int = VERSION
    now: float
    began: float
    epoch: int
    use_case: str
    shed: int = 0
    last_good: int = 0
    dropped: int = 0
    rescued: int = 0
    in_flight: int = 0
    releases: list[Told] = field(default_factory=list)

    def of(self, release: str) -> Told | None:
        """Return what is known of a release, newest epoch first; None when nothing is."""
        held = [told for told in self.releases if told.release == release]
        return max(held, key=lambda told: told.epoch, default=None)


def bucket(ms: float) -> int:
    """Return the index of a latency in the histogram."""
    return bisect.bisect_left(BOUNDS_MS, ms)


def summed(counts: Iterable[Counts]) -> Counts:
    """Return the sum of counts."""
    total = Counts()
    for one in counts:
        total.add(one)
    return total


def write(stats: Stats) -> bytes:
    """Return the JSON of it."""
    return orjson.dumps(stats, option=orjson.OPT_NON_STR_KEYS)


def read(content: bytes) -> Stats:
    """Read what `write` wrote. ContractError when it is something else, or of another version."""
    try:
        held: dict[str, Any] = orjson.loads(content)
        if held["version"] != VERSION:
            raise ContractError(
                f"the gateway's stats are of version {held['version']}, not {VERSION}; restart it"
            )
        return Stats(**{**held, "releases": [_told(told) for told in held["releases"]]})
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise ContractError(f"these are no stats of a gateway ({fault}); ask its /-/stats") from fault


def _told(held: dict[str, Any]) -> Told:
    seconds = [
        Second(at=second["at"], live=_counts(second["live"]), copies=_counts(second["copies"]))
        for second in held["seconds"]
    ]
    return Told(
        **{**held, "live": _counts(held["live"]), "copies": _counts(held["copies"]), "seconds": seconds}
    )


def _counts(held: dict[str, Any]) -> Counts:
    counted = {name: {int(place): count for place, count in held[name].items()} for name in HISTOGRAMS}
    return Counts(**{**held, **counted})
