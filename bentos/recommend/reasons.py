"""Why an item is in the answer, in a person's words, from evidence: their own history, shared baskets, sales, novelty.

A reason is a sentence and the counts that it was read off. Answers hold the sentence; who asks why is given both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from bentos.snapshot import RECENT_DAYS, Snapshot
from models.data import DAY_US, Features, Interactions

MAX_REASONS = 3
POPULAR_RANK = 200
FAVOURITES = 3
MONTH_US = RECENT_DAYS * DAY_US
FALLBACK = "fallback"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """A sentence, which kind of evidence it rests on, and that evidence: counts and item numbers as the snapshot has them."""

    kind: Literal["own", "together", "shelf", "selling", "new", "source"]
    said: str
    counts: Mapping[str, Any] = field(default_factory=dict)


class Reasons:
    """Give reasons in the words of what the history records: people buy things, or (views, clicks) choose them."""

    def __init__(self, items: Snapshot, history_kinds: list[str]) -> None:
        self.items = items
        self.verb, self.present = ("bought", "buy") if history_kinds == ["purchase"] else ("chose", "choose")
        selling = items.popular_I[:POPULAR_RANK]
        selling = selling[items.recent_I[selling] > 0]
        self._popular = dict(zip(selling.tolist(), range(1, len(selling) + 1), strict=True))

    def of(
        self,
        chosen: np.ndarray,
        sources: list[tuple[str, ...]],
        history: Interactions,
        features: Features,
        affinity: Mapping[str, float],
        as_of_us: int,
    ) -> list[tuple[str, ...]]:
        """Return up to three sentences per chosen item, the most personal first; there is always one."""
        found = self.evidence(chosen, sources, history, features, affinity, as_of_us)
        return [tuple(reason.said for reason in reasons) for reasons in found]

    def evidence(
        self,
        chosen: np.ndarray,
        sources: list[tuple[str, ...]],
        history: Interactions,
        features: Features,
        affinity: Mapping[str, float],
        as_of_us: int,
    ) -> list[tuple[Reason, ...]]:
        """Return up to three reasons per chosen item, the most personal first; there is always one."""
        counts = _own(features, chosen)
        owned = set(history.item_N.tolist())
        shelves = dict(list(affinity.items())[:FAVOURITES])
        return [
            tuple(self._one(item, names, counts, owned, shelves, as_of_us))[:MAX_REASONS]
            for item, names in zip(chosen.tolist(), sources, strict=True)
        ]

    def _one(
        self,
        item: int,
        sources: tuple[str, ...],
        counts: Mapping[int, tuple[int, float]],
        owned: set[int],
        shelves: Mapping[str, float],
        as_of_us: int,
    ) -> list[Reason]:
        found = [
            self._bought_before(item, counts),
            self._together(item, owned),
            self._favourite(item, shelves),
            self._selling(item, as_of_us),
            self._new(item, as_of_us),
        ]
        return [reason for reason in found if reason] or [self._source(sources, bool(owned))]

    def _bought_before(self, item: int, counts: Mapping[int, tuple[int, float]]) -> Reason | None:
        if item not in counts:
            return None
        times, days = counts[item]
        return Reason(
            kind="own",
            said=f"you {self.verb} this {_times(times)}, last {_ago(days)}",
            counts={"times": times, "days_since_last": days},
        )

    def _together(self, item: int, owned: set[int]) -> Reason | None:
        for place, partner in enumerate(self.items.partner_IK[item].tolist()):
            if partner in owned and partner != item:
                together = "bought" if self.verb == "bought" else "chosen"
                return Reason(
                    kind="together",
                    said=f"often {together} together with {self.items.titles[partner]}, which you {self.verb}",
                    counts={"partner": partner, "days_together": int(self.items.together_IK[item, place])},
                )
        return None

    def _favourite(self, item: int, shelves: Mapping[str, float]) -> Reason | None:
        shelf = (self.items.category[item] or "").partition(" > ")[0]
        if shelf not in shelves:
            return None
        return Reason(
            kind="shelf",
            said=f"from {shelf}, where you often {self.present}",
            counts={"shelf": shelf, "share_of_history": shelves[shelf]},
        )

    def _selling(self, item: int, as_of_us: int) -> Reason | None:
        if item not in self._popular:
            return None
        said = "popular this month"
        counted = datetime.fromtimestamp(self.items.as_of_us / 1e6, UTC)
        if as_of_us - self.items.as_of_us > MONTH_US:
            said = f"popular in the month before {counted:%-d %B %Y}"
        counts = {
            "place": self._popular[item],
            "taken": int(self.items.recent_I[item]),
            "days": RECENT_DAYS,
            "before": counted,
        }
        return Reason(kind="selling", said=said, counts=counts)

    def _new(self, item: int, as_of_us: int) -> Reason | None:
        first_us = max(int(self.items.first_us_I[item]), int(self.items.available_us_I[item]))
        if not 0 <= as_of_us - first_us <= MONTH_US:
            return None
        return Reason(kind="new", said="new", counts={"since": datetime.fromtimestamp(first_us / 1e6, UTC)})

    def _source(self, sources: tuple[str, ...], has_history: bool) -> Reason:
        said = f"others {self.verb} this often"
        if has_history and any(name not in {"popularity", FALLBACK} for name in sources):
            said = f"people who {self.present} like you {self.verb} this"
        return Reason(kind="source", said=said, counts={"sources": sources})


def _own(features: Features, chosen: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return (times, days since last) per chosen item of the history, from the pair features that the model saw too."""
    if not {"times_bought", "days_since_last"} <= set(features.pair_names):
        return {}
    row_R = np.flatnonzero(np.isin(features.pair_item_N, chosen))
    times_R = features.pair_NF[row_R, features.pair_names.index("times_bought")]
    days_R = features.pair_NF[row_R, features.pair_names.index("days_since_last")]
    return {
        item: (int(times), float(days))
        for item, times, days in zip(
            features.pair_item_N[row_R].tolist(), times_R.tolist(), days_R.tolist(), strict=True
        )
    }


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _ago(days: float) -> str:
    whole = int(days)
    return {0: "less than a day ago", 1: "a day ago"}.get(whole, f"{whole} days ago")
