"""Why an item is in the answer, in a person's words, from evidence: their own history, shared baskets, sales, novelty."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from bentos.snapshot import RECENT_DAYS, Snapshot
from models.data import DAY_US, Features, Interactions

MAX_REASONS = 3
POPULAR_RANK = 200
FAVOURITES = 3
MONTH_US = RECENT_DAYS * DAY_US
FALLBACK = "fallback"


class Reasons:
    """Give reasons in the words of what the history records: people buy things, or (views, clicks) choose them."""

    def __init__(self, items: Snapshot, history_kinds: list[str]) -> None:
        self.items = items
        self.verb, self.present = ("bought", "buy") if history_kinds == ["purchase"] else ("chose", "choose")
        selling = items.popular_I[:POPULAR_RANK]
        self._popular = set(selling[items.recent_I[selling] > 0].tolist())

    def of(
        self,
        chosen: np.ndarray,
        sources: list[tuple[str, ...]],
        history: Interactions,
        features: Features,
        affinity: Mapping[str, float],
        as_of_us: int,
    ) -> list[tuple[str, ...]]:
        """Return up to three reasons per chosen item, the most personal first; there is always one."""
        counts = _own(features, chosen)
        owned = set(history.item_N.tolist())
        shelves = set(list(affinity)[:FAVOURITES])
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
        shelves: set[str],
        as_of_us: int,
    ) -> list[str]:
        found = [
            self._bought_before(item, counts),
            self._together(item, owned),
            self._favourite(item, shelves),
            self._selling(item, as_of_us),
            self._new(item, as_of_us),
        ]
        return [reason for reason in found if reason] or [self._source(sources, bool(owned))]

    def _bought_before(self, item: int, counts: Mapping[int, tuple[int, float]]) -> str | None:
        if item not in counts:
            return None
        times, days = counts[item]
        return f"you {self.verb} this {_times(times)}, last {_ago(days)}"

    def _together(self, item: int, owned: set[int]) -> str | None:
        for partner in self.items.partner_IK[item].tolist():
            if partner in owned and partner != item:
                together = "bought" if self.verb == "bought" else "chosen"
                return f"often {together} together with {self.items.titles[partner]}, which you {self.verb}"
        return None

    def _favourite(self, item: int, shelves: set[str]) -> str | None:
        shelf = (self.items.category[item] or "").partition(" > ")[0]
        return f"from {shelf}, where you often {self.present}" if shelf in shelves else None

    def _selling(self, item: int, as_of_us: int) -> str | None:
        if item not in self._popular:
            return None
        if as_of_us - self.items.as_of_us <= MONTH_US:
            return "popular this month"
        counted = datetime.fromtimestamp(self.items.as_of_us / 1e6, UTC)
        return f"popular in the month before {counted:%-d %B %Y}"

    def _new(self, item: int, as_of_us: int) -> str | None:
        first_us = max(int(self.items.first_us_I[item]), int(self.items.available_us_I[item]))
        return "new" if 0 <= as_of_us - first_us <= MONTH_US else None

    def _source(self, sources: tuple[str, ...], has_history: bool) -> str:
        if has_history and any(name not in {"popularity", FALLBACK} for name in sources):
            return f"people who {self.present} like you {self.verb} this"
        return f"others {self.verb} this often"


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
