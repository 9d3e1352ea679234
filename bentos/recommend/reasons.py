"""Why an item is in the answer, in a person's words, from evidence: what they took, put into the cart, looked at; sales; novelty.

A reason is given where the evidence moves the item: where leaving it out would let the item sink. By whose proposal it stands
there decides which kinds do, as was measured (faithful.py, tests/unit/test_faithful.py): sales, say, are no reason for
what somebody takes anyway. Answers hold the sentence; who asks why is given the counts as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from bentos import inner
from bentos.recommend import sources
from bentos.recommend.choose import RULE, Chosen
from bentos.recommend.known import Known
from bentos.snapshot import RECENT_DAYS, Snapshot
from models.data import DAY_US, Features

POPULAR_RANK = 200
CITED, DRAWN = 0.8, 0.3  # an item sinks without what is cited so often at least, without other things at most
ENOUGH = 8  # cases that a measurement is believed by
NEARBY = 5  # partners of an item that a reason may name, the closest
HABIT_TIMES = 3  # takings that make a habit
MONTH_US = RECENT_DAYS * DAY_US
FALLBACK = sources.POPULAR
BESIDES = frozenset(
    (
        sources.SESSION,
        sources.GOES_WITH,
        sources.LIKE,
        sources.HABIT,
        sources.SEGMENT,
        sources.BRAND,
        sources.NEW,
        FALLBACK,
        RULE,
    )
)  # sources that are not the model's
OTHERS: tuple[str, ...] = ()  # stands for all of them, where reasons are measured

Kind = Literal[
    "own", "together", "cart", "session", "like", "shelf", "brand", "selling", "source", "chance", "rule"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """A sentence, which kind of evidence it rests on, and that evidence: counts and item numbers as the snapshot has them."""

    kind: Kind
    said: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    def recorded(self, ids: Sequence[str]) -> list[str]:
        """Return the evidence as a receipt keeps it: its kind, and the item, shelf or brand that it is about, if any."""
        if "partner" in self.counts:
            return [self.kind, ids[self.counts["partner"]]]
        about = self.counts.get("shelf") or self.counts.get("brand")
        return [self.kind] if about is None else [self.kind, about]


class Held(NamedTuple):
    """Which kinds of reasons hold for what the same sources proposed."""

    others: bool  # the sources are none of the model's
    session: bool
    own: bool
    together: bool
    selling: bool


_DRAWN = Reason(kind="chance", said=inner.DRAWN)
_RULED = Reason(kind="rule", said="chosen by the shop")


class Reasons:
    """Give reasons in the words of what the history records: people buy things, or (views, clicks) choose them."""

    def __init__(
        self, items: Snapshot, history_kinds: list[str], measured: Sequence[Sequence[Any]] = ()
    ) -> None:
        self.items = items
        self._fails = {
            (kind, None if names is None else tuple(names)): cited < CITED or drawn > DRAWN
            for kind, names, cases, cited, drawn in measured
            if cases >= ENOUGH
        }
        self.verb, self.present = ("bought", "buy") if history_kinds == ["purchase"] else ("chose", "choose")
        selling = items.popular_I[:POPULAR_RANK]
        selling = selling[items.recent_I[selling] > 0]
        self._popular = dict(zip(selling.tolist(), range(1, len(selling) + 1), strict=True))
        self._since_I = sources.first_known(items)
        self._never_I = items.first_us_I == np.iinfo(np.int64).max
        self._counted = datetime.fromtimestamp(items.as_of_us / 1e6, UTC)
        # the same for every item of the same sources, of which there are a handful
        self._by_sources: dict[tuple[tuple[str, ...], str], Reason] = {}
        self._held: dict[tuple[str, ...], Held] = {}

    def of(self, chosen: Chosen, known: Known) -> list[tuple[str, ...]]:
        """Return the sentences per chosen item, the most personal first; there is always one."""
        return [tuple(reason.said for reason in reasons) for reasons in self.evidence(chosen, known)]

    def evidence(self, chosen: Chosen, known: Known) -> list[tuple[Reason, ...]]:
        """Return the reasons per chosen item, the most personal first; there is always one."""
        counts, as_of_us = _own(known.features, chosen.item_K), known.asked.as_of_us
        drawn = chosen.explored[0] if chosen.explored is not None and chosen.explored[2] else -1
        never_K = self._never_I[chosen.item_K].tolist()
        out: list[tuple[Reason, ...]] = []
        for item, names, never in zip(chosen.item_K.tolist(), chosen.sources, never_K, strict=True):
            if item == drawn or names == (RULE,):
                out.append((_DRAWN if item == drawn else _RULED,))
                continue
            held = self._held.get(names) or self._looked_up(names)
            if held.others:
                found = self._of_others(item, names, counts, chosen, known)
            elif held.session and item in chosen.because:
                found = [self._near(item, names, chosen, known)]
            elif held.own and item in counts:
                found = [self._bought_before(item, counts)]
            else:
                found = [
                    self._together(item, known) if held.together else None,
                    self._selling(item, as_of_us) if held.selling and item not in counts else None,
                ]
            given = tuple([reason for reason in found if reason is not None])
            out.append(given or (self._source(names, known, never=never),))
        return out

    def _looked_up(self, names: tuple[str, ...]) -> Held:
        """Return which kinds of reasons hold on this model for what these sources proposed."""
        found = self._held[names] = Held(
            others=BESIDES.issuperset(names),
            session=sources.SESSION in names and self._holds("session", names),
            own=self._holds("own", names),
            together=_BY_PARTNERS.issuperset(names) and self._holds("together", names),
            selling=self._holds("selling", names),
        )
        return found

    def _holds(self, kind: Kind, names: tuple[str, ...]) -> bool:
        """Say whether a kind of reason holds for what these sources proposed; what was not measured enough is taken to."""
        fails = self._fails.get((kind, names))
        if fails is None:
            fails = self._fails.get((kind, OTHERS if BESIDES.issuperset(names) else None), False)
        return not fails

    def _of_others(
        self,
        item: int,
        names: tuple[str, ...],
        counts: Mapping[int, tuple[int, float, float]],
        chosen: Chosen,
        known: Known,
    ) -> list[Reason | None]:
        """Return the reasons of what the model did not propose: why each source did that proposed it, as far as they hold."""
        as_of_us = known.asked.as_of_us
        found: list[Reason | None] = []
        if sources.SESSION in names or len(known.anchors):
            found.append(self._near(item, names, chosen, known))
        elif sources.GOES_WITH in names:
            found.append(self._beside(item, chosen.because.get(item, (-1, True))[0]))
        if sources.HABIT in names:
            found.append(self._bought_before(item, counts))
        if sources.BRAND in names:
            found.append(self._brand(item))
        if sources.SEGMENT in names:
            # where something is named, or this session has something, its aisles were asked, not the person's own
            own = not len(known.anchors) and not len(known.here)
            found += [self._favourite(item, known) if own else None, self._selling(item, as_of_us)]
        if FALLBACK in names:
            found.append(self._selling(item, as_of_us))
        return [reason for reason in found if reason is not None and self._holds(reason.kind, names)]

    def _bought_before(self, item: int, counts: Mapping[int, tuple[int, float, float]]) -> Reason | None:
        if item not in counts:
            return None
        times, days, interval = counts[item]
        said = f"you {self.verb} this {_times(times)}, last {_ago(days)}"
        every = _every(interval) if times >= HABIT_TIMES and days <= 2 * interval else None
        if every is not None:
            said = f"you {self.present} this {every}, last {_ago(days)}"
        return Reason(kind="own", said=said, counts={"times": times, "days_since_last": days})

    def _near(self, item: int, names: tuple[str, ...], chosen: Chosen, known: Known) -> Reason | None:
        """Name what of the cart, of the session, or what else was named, brought the item in: without it the item sinks."""
        partner, by_days = chosen.because.get(item, (-1, False))
        if known.asked.route == "similar" and partner < 0 and not _BY_ANCHORS.isdisjoint(names):
            partner = int(known.anchors[0])
            by_days = item in self.items.partner_IK[partner]
        if partner < 0:
            return None
        title, counts = self.items.titles[partner], {"partner": partner}
        goes = f"goes with {title}" if by_days else f"like {title}"
        if sources.SESSION in names:
            said = f"{goes}, which you {_did(known.did[partner][0])} just now"
            return Reason(kind="session", said=said, counts=counts)
        if known.asked.route == "cart":
            return Reason(kind="cart", said=f"{goes} in your cart", counts=counts)
        together = f"often {self._together_word()} together with {title}"
        return Reason(kind="like", said=together if by_days else goes, counts=counts)

    def _together(self, item: int, known: Known) -> Reason | None:
        """Name the partner that the person took, for what was proposed by such partners."""
        if not len(known.history):
            return None
        owned = known.history.item_N
        if item in owned:
            return None
        near = self.items.partner_IK[item, :NEARBY].tolist()
        return self._beside(
            item, next((partner for partner in near if partner in owned and partner != item), -1)
        )

    def _beside(self, item: int, partner: int) -> Reason | None:
        """Name what the person took and this goes with; nothing where that is -1."""
        if partner < 0:
            return None
        rows = ((item, partner), (partner, item))  # each has its closest partners alone
        days = [self.items.together_IK[one][self.items.partner_IK[one] == other] for one, other in rows]
        return Reason(
            kind="together",
            said=f"often {self._together_word()} together with {self.items.titles[partner]}, which you {self.verb}",
            counts={"partner": partner, "days_together": int(np.concatenate(days).max(initial=0))},
        )

    def _together_word(self) -> str:
        return "bought" if self.verb == "bought" else "chosen"

    def _favourite(self, item: int, known: Known) -> Reason | None:
        shelf = (self.items.category[item] or "").partition(" > ")[0]
        share = known.person.affinity.get(shelf)
        if share is None:
            return None
        said = f"from {shelf}, where you often {self.present}"
        return Reason(kind="shelf", said=said, counts={"shelf": shelf, "share_of_history": share})

    def _brand(self, item: int) -> Reason:
        brand = self.items.brand.names[int(self.items.brand.code_I[item])]
        since = datetime.fromtimestamp(int(self._since_I[item]) / 1e6, UTC)
        return Reason(
            kind="brand", said=f"new from {brand}, which you like", counts={"brand": brand, "since": since}
        )

    def _selling(self, item: int, as_of_us: int) -> Reason | None:
        if item not in self._popular:
            return None
        said, counted = "popular this month", self._counted
        if as_of_us - self.items.as_of_us > MONTH_US:
            said = f"popular in the month before {counted:%-d %B %Y}"
        counts = {
            "place": self._popular[item],
            "taken": int(self.items.recent_I[item]),
            "days": RECENT_DAYS,
            "before": counted,
        }
        return Reason(kind="selling", said=said, counts=counts)

    def _source(self, names: tuple[str, ...], known: Known, *, never: bool) -> Reason:
        """Return by whose proposal an item stands there, where nothing else is sure to hold it up; no sale that `never` was."""
        said = f"others {self.verb} this often"
        if known.asked.route == "cart" and not _BY_ANCHORS.isdisjoint(names):
            said = "fits what is in your cart"
        elif sources.SESSION in names:
            said = "fits what you did just now"
        elif never:
            said = f"nobody {self.verb} this before you"
        elif len(known.history) and not _FOR_ALL.issuperset(names):
            said = f"people who {self.present} like you {self.verb} this"
        found = self._by_sources.get((names, said))
        if found is None:
            found = self._by_sources[names, said] = Reason(
                kind="source", said=said, counts={"sources": names}
            )
        return found


_BY_PARTNERS = frozenset(("itemknn", "rules"))  # families that go by what was taken together
_BY_ANCHORS = frozenset((sources.GOES_WITH, sources.LIKE))
_FOR_ALL = frozenset(("popularity", FALLBACK, sources.SEGMENT))  # sources that know nobody
_DONE = {"view": "looked at", "click": "looked at", "favourite": "liked", "cart": "put into your cart"}


def _did(kind: str) -> str:
    return _DONE.get(kind, "took")


def _own(features: Features, chosen: np.ndarray) -> dict[int, tuple[int, float, float]]:
    """Return (times, days since last, days between) per chosen item of the history, from the pair features that the model saw."""
    wanted = ("times_bought", "days_since_last", "mean_interval_days")
    if not set(wanted[:2]) <= set(features.pair_names):
        return {}
    row_R = features.pairs_with(chosen)
    columns = [
        features.pair_NF[row_R, features.pair_names.index(name)].tolist()
        if name in features.pair_names
        else [float("nan")] * len(row_R)
        for name in wanted
    ]
    return {
        item: (int(times), float(days), float(interval))
        for item, times, days, interval in zip(features.pair_item_N[row_R].tolist(), *columns, strict=True)
    }


def _every(days: float) -> str | None:
    """Return an interval as people say it; None where it is none (not a number) or longer than a season."""
    if not 0.5 <= days <= 100:
        return None
    weeks = round(days / 7)
    if weeks >= 1 and abs(days - 7 * weeks) <= 1:
        return "every week" if weeks == 1 else f"every {_WORDS.get(weeks, str(weeks))} weeks"
    whole = round(days)
    return "every day" if whole <= 1 else f"every {_WORDS.get(whole, str(whole))} days"


_WORDS = dict(enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _ago(days: float) -> str:
    whole = int(days)
    return {0: "less than a day ago", 1: "a day ago"}.get(whole, f"{whole} days ago")
