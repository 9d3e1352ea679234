"""From what is known to the items of an answer: sources propose, rules and difference order, gaps are filled.

What each route is led by: `recommend` the model, with what goes with this session merged in; `next` the session, and the model
where it reads such events; `similar` and `cart` the items that were named. Shapes: I items, K candidates.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bentos.recommend import parts, rerank, sources
from bentos.recommend.known import Known
from bentos.recommend.parts import Said
from bentos.recommend.sources import Listed, Sources, Supported
from bentos.snapshot import Snapshot
from models.data import DAY_US
from models.family import Model

log = logging.getLogger(__name__)
RULE = "rule"  # the source of what is pinned
LEFT_OUT = "the source {name} failed: left out"
MOST_WIDE, LEAST_WIDE, TIMES_WIDE = 300, 50, 3  # candidates that are ordered anew, where anything is
MOST_DRAWN = 50  # of each kind that the slot for learning draws from
HALF_US = 600_000_000  # an event of the session counts half of one that is ten minutes younger
HALF_DAYS = 28.0  # so does a purchase of the history of one that is a month younger
LIKENESS = {"next": 0.5, "recommend": 0.5, "similar": 1.0, "cart": 0.01}  # beside a bond, which counts 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Items that were chosen, best first, with their scores and the names of who proposed them.

    `explored` is the item of the slot for learning, its chance, and whether it stands there by chance. `by_model` says that the
    list is the model's, as it came (but for what fills it up). `because` holds the item of the cart or the session without which
    an item would stand lower, and whether they share days rather than words.
    """

    item_K: np.ndarray
    score_K: np.ndarray
    sources: list[tuple[str, ...]]
    said: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    explored: tuple[int, float, bool] | None = None
    by_model: bool = True
    because: Mapping[int, tuple[int, bool]] = field(default_factory=dict)


NONE_SUPPORTED = Supported(item_K=np.zeros(0, np.int32), worth_K=np.zeros(0), names=[], because={})


class Chooser:
    """Choose the items of answers over one snapshot; `usual` is the diversity where nobody asks for one.

    `only` is the one source that fills lists up before what is popular does, where it is to be looked at by itself.
    """

    def __init__(self, items: Snapshot, usual: float = 0.0, only: str | None = None) -> None:
        self.items, self.usual, self.only = items, usual, only
        self.sources = Sources(items)
        coded = (items.aisle, items.shelf, items.brand, items.seller)  # as rerank.py numbers the rows
        self._codes_CI = np.stack([one.code_I for one in coded])

    def choose(self, model: Model, known: Known, n: int) -> Chosen:
        """Return `n` items, or as many as there are."""
        explore = known.steer.rules.explore
        factor_I, pins = known.steering.factor_I, _first_pins(known.steering.pins, n)
        wanted = rerank.Wanted(
            n=n,
            diversity=known.steer.diversity(known.asked.diversity, self.usual),
            caps=known.steer.caps(known.asked.caps),
        )
        if wanted.plain and factor_I is None and not pins and explore is None:
            return self._listed(model, known, n, n)
        wide = min(MOST_WIDE, max(LEAST_WIDE, TIMES_WIDE * n))
        pool = self._listed(model, known, n, wide)
        pool = self._pinned(pool, known, pins)
        where = {item: at for at, item in enumerate(pool.item_K.tolist())}
        wanted = replace(
            wanted,
            factor_K=None if factor_I is None else factor_I[pool.item_K],
            pins={place: where[item] for place, item in pins if item in where},
        )
        order = rerank.order(self._codes_CI[:, pool.item_K], wanted)
        pool, order, explored = self._explored(pool, order, known, wanted)
        return replace(
            _picked(pool, order),
            said=(*_said(wanted), *pool.said),
            degraded=pool.degraded,
            explored=explored,
            by_model=pool.by_model and order == list(range(len(order))),
        )

    def _listed(self, model: Model, known: Known, n: int, k: int) -> Chosen:
        """Return at most `k` candidates, best first, filled up where there are fewer than `n`."""
        listed = self._filled(self._proposed(model, known, k), known, n, k)
        known.query.lap("sources")
        return listed

    def _proposed(self, model: Model, known: Known, k: int) -> Chosen:
        """Return what leads this route, best first, at most `k`."""
        if known.asked.route in ("similar", "cart"):
            return self._by_anchors(known, k)
        if not len(known.here):
            return _of_said(_asked(model, known, k))
        time_us_A = np.array([time_us for _, time_us in known.did.values()])
        weight_A = self._lately(known, time_us_A, HALF_US)
        session, silent = self._supported(known.here, weight_A, known)
        if known.asked.route == "next" and not len(known.history):
            return _of_session(session, k, silent)
        said = _of_said(_asked(model, known, k))
        degraded = (*said.degraded, *silent)
        if not len(session.item_K):
            return replace(said, degraded=degraded)
        return self._merged(said, session, k, degraded)

    def _merged(self, said: Chosen, listed: Supported, k: int, degraded: tuple[str, ...]) -> Chosen:
        item_K, worth_K = sources.in_turns(said.item_K, listed.item_K)
        item_K, worth_K = item_K[:k], worth_K[:k]
        names = dict(zip(said.item_K.tolist(), said.sources, strict=True))
        places = {item: place for place, item in enumerate(said.item_K.tolist())}
        session = {item: place for place, item in enumerate(listed.item_K.tolist())}
        return Chosen(
            item_K=item_K.astype(np.int32),
            score_K=worth_K,
            sources=[
                (*names.get(item, ()), *((sources.SESSION,) if item in session else ()))
                for item in item_K.tolist()
            ],
            said=("in turns with what goes with this session",),
            degraded=degraded,
            by_model=False,
            # what the model has as high stands there without the session too
            because={
                item: why
                for item, why in listed.because.items()
                if session[item] < places.get(item, len(places) + len(session))
            },
        )

    def _supported(
        self, anchors: np.ndarray, weight_A: np.ndarray, known: Known
    ) -> tuple[Supported, tuple[str, ...]]:
        """Return what goes with the anchors, or is like them, and which of the two failed."""
        parts, silent = [], []
        ways = (
            (sources.GOES_WITH, self.sources.days_of, 1.0),
            (sources.LIKE, self.sources.likes_of, LIKENESS[known.asked.route]),
        )
        for name, near, weight in ways:
            try:
                parts.append((name, *near(anchors), weight))
            except Exception:  # a source that fails must not fail the request; the answer says so
                log.exception("the source %s failed", name)
                silent.append(LEFT_OUT.format(name=name))
        if not parts:
            return NONE_SUPPORTED, tuple(silent)
        found = sources.supported(anchors, weight_A, parts, known.query.allowed_I, known.excluded)
        return found, tuple(silent)

    def _lately(self, known: Known, time_us_A: np.ndarray, half_us: float) -> np.ndarray:
        """Return what events count for by their age alone, so that one more or less changes nothing for the others."""
        return np.exp2((time_us_A - known.asked.as_of_us) / half_us).astype(np.float32)

    def _by_anchors(self, known: Known, k: int) -> Chosen:
        """Return what goes with the items that were named, or is like them."""
        found, silent = self._supported(known.anchors, np.ones(len(known.anchors), np.float32), known)
        return Chosen(
            item_K=found.item_K[:k],
            score_K=found.worth_K[:k],
            sources=found.names[:k],
            degraded=silent,
            by_model=False,
            because=found.because,
        )

    def _tried(self, name: str, ask: Callable[[], Listed]) -> tuple[Listed, tuple[str, ...]]:
        """Ask a source; one that fails proposes nothing and is named."""
        try:
            return ask(), ()
        except Exception:  # a source that fails must not fail the request; the answer says so
            log.exception("the source %s failed", name)
            none = Listed(name=name, item_K=np.zeros(0, np.int32), measure_K=np.zeros(0, np.float32))
            return none, (LEFT_OUT.format(name=name),)

    def _filled(self, chosen: Chosen, known: Known, n: int, wide: int) -> Chosen:
        """Fill a list that is shorter than `n` up to `wide`, source after source; a score there is the source's own measure."""
        missing = wide - len(chosen.item_K)
        if len(chosen.item_K) >= n or missing <= 0:
            return chosen
        allowed_I = known.query.allowed_I
        free_I = np.ones(len(self.items), bool) if allowed_I is None else allowed_I.copy()
        free_I[chosen.item_K] = False
        if known.excluded is not None:
            free_I[known.excluded] = False
        lists: list[Listed] = []
        degraded = list(chosen.degraded)
        for name, ask in self._fillers(known):
            listed, failed = self._tried(name, ask)
            degraded += failed
            more_K = np.flatnonzero(free_I[listed.item_K])[:missing]
            if len(more_K):
                lists.append(
                    replace(listed, item_K=listed.item_K[more_K], measure_K=listed.measure_K[more_K])
                )
                free_I[listed.item_K[more_K]] = False
                missing -= len(more_K)
            if missing <= 0:
                break
        if missing > 0:
            more = self.sources.popular(free_I, missing)
            lists += [more] if len(more.item_K) else []
        return _with(replace(chosen, degraded=tuple(degraded)), lists, n)

    def _fillers(self, known: Known) -> list[tuple[str, Callable[[], Listed]]]:
        """Return the sources that fill a list, in their order; what is popular in the whole shop comes after them."""
        anchors, weight_A = known.anchors, np.ones(len(known.anchors), np.float32)
        if not len(anchors):
            anchors, first = np.unique(known.history.item_N[::-1][: sources.ANCHORS], return_index=True)
            weight_A = self._lately(known, known.history.time_N[::-1][first], HALF_DAYS * DAY_US)
        found: list[tuple[str, Callable[[], Listed]]] = []
        if len(known.history) and not len(known.anchors):
            found.append((sources.HABIT, lambda: self.sources.due(known.features)))
        if len(anchors):
            found.append((sources.GOES_WITH, lambda: self.sources.goes_with(anchors, weight_A)))
        if len(known.history):
            moment = known.asked.as_of_us
            found.append((sources.BRAND, lambda: self.sources.brand(known.history, moment)))
        found.append((sources.SEGMENT, lambda: self.sources.segment(self._aisles(known))))
        return [one for one in found if self.only is None or one[0] == self.only]

    def _aisles(self, known: Known) -> list[int]:
        """Return where somebody buys: the aisles of what was named, of this session, else of the history."""
        if len(known.anchors) or len(known.here):
            return self.sources.aisles_of(known.anchors if len(known.anchors) else known.here)
        codes = (self.items.aisle.code.get(name) for name in known.person.affinity)
        return [code for code in codes if code]

    def _pinned(self, pool: Chosen, known: Known, pins: list[tuple[int, int]]) -> Chosen:
        """Add what is pinned and may be shown, and is not among the candidates."""
        there = set(pool.item_K.tolist())
        new = [item for _, item in pins if item not in there and self._may(item, known)]
        if not new:
            return pool
        return replace(
            pool,
            item_K=np.concatenate([pool.item_K, np.array(new, np.int32)]),
            score_K=np.concatenate([pool.score_K, np.zeros(len(new))]),
            sources=[*pool.sources, *[(RULE,)] * len(new)],
        )

    def _may(self, item: int, known: Known) -> bool:
        allowed_I = known.query.allowed_I
        return (allowed_I is None or bool(allowed_I[item])) and (
            known.excluded is None or item not in known.excluded
        )

    def _explored(
        self, pool: Chosen, order: list[int], known: Known, wanted: rerank.Wanted
    ) -> tuple[Chosen, list[int], tuple[int, float, bool] | None]:
        """Let chance fill one slot, where the rules have one: from what came next, and from what is new.

        What is pinned keeps its place, and what the caps shut out is not drawn.
        """
        explore = known.steer.rules.explore
        if explore is None or not order:
            return pool, order, None
        slot = min(explore.place, len(order)) - 1
        if order[slot] in wanted.pins.values():
            return pool, order, None
        there = set(pool.item_K.tolist())
        fresh = sources.allowed(self.sources.new(known.asked.as_of_us), known.query.allowed_I, known.excluded)
        new = [item for item in fresh.item_K.tolist() if item not in there][:MOST_DRAWN]
        count = len(pool.item_K)
        pool = replace(
            pool,
            item_K=np.concatenate([pool.item_K, np.array(new, np.int32)]),
            score_K=np.concatenate([pool.score_K, np.zeros(len(new))]),
            sources=[*pool.sources, *[(sources.NEW,)] * len(new)],
        )
        taken = set(order)
        rest = [one for place, one in enumerate(order) if place != slot]
        codes_CK = self._codes_CI[:, pool.item_K]
        others = [one for one in range(count) if one not in taken]
        others = rerank.within(codes_CK, wanted.caps, rest, others)[:MOST_DRAWN]
        others += rerank.within(codes_CK, wanted.caps, rest, range(count, count + len(new)))
        found = rerank.explore(order, others, slot, explore.rate, known.asked.nonce)
        if found is None:
            return pool, order, None
        order = [found.one if place == found.place else one for place, one in enumerate(order)]
        return pool, order, (int(pool.item_K[found.one]), found.chance, found.by_chance)


def _first_pins(pins: Sequence[tuple[int, int]], n: int) -> list[tuple[int, int]]:
    """Return the pins (place from 0, item) that a list of `n` has room for; of those of one item, or of one place, the first."""
    places: dict[int, int] = {}  # by item, in the order of the rules
    taken: set[int] = set()
    for place, item in pins:
        if place < n and place not in taken and item not in places:
            places[item] = place
            taken.add(place)
    return [(place, item) for item, place in places.items()]


def _of_session(session: Supported, k: int, degraded: tuple[str, ...]) -> Chosen:
    return Chosen(
        item_K=session.item_K[:k],
        score_K=session.worth_K[:k],
        sources=[(sources.SESSION,)] * len(session.item_K[:k]),
        degraded=degraded,
        by_model=False,
        because=session.because,
    )


def _asked(model: Model, known: Known, k: int) -> Said:
    """Ask the model; what it did before its first step, between its steps and after them is timed as its own."""
    known.query.lap("sources")
    said = parts.ask(model, known.query, k)
    known.query.lap("model")
    return said


def _of_said(said: Said) -> Chosen:
    return Chosen(item_K=said.item_K, score_K=said.score_K, sources=said.sources, degraded=said.degraded)


def _of_lists(lists: list[Listed], k: int) -> Chosen:
    """Return lists one after another, as far as `k`."""
    names: list[tuple[str, ...]] = [(one.name,) for one in lists for _ in one.item_K]
    return Chosen(
        item_K=np.concatenate([one.item_K for one in lists])[:k],
        score_K=np.concatenate([one.measure_K for one in lists])[:k],
        sources=names[:k],
        because={
            item: one.because[item] for one in lists for item in one.item_K.tolist() if item in one.because
        },
    )


def _with(chosen: Chosen, lists: list[Listed], n: int) -> Chosen:
    """Return the list with what fills it up, and a sentence that says how many of its first `n` do."""
    if not lists:
        return chosen
    more = _of_lists(lists, MOST_WIDE)
    count = min(n - len(chosen.item_K), len(more.item_K))
    names = {name: None for (name,) in more.sources[:count]}
    what = "with what is popular" if [*names] == [sources.POPULAR] else f"from: {', '.join(names)}"
    return replace(
        chosen,
        item_K=np.concatenate([chosen.item_K, more.item_K]),
        score_K=np.concatenate([chosen.score_K, more.score_K]),
        sources=[*chosen.sources, *more.sources],
        because={**chosen.because, **more.because},
        said=(*chosen.said, f"{count} of {n} filled up {what}"),
    )


def _picked(pool: Chosen, order: list[int]) -> Chosen:
    return replace(
        pool,
        item_K=pool.item_K[order],
        score_K=pool.score_K[order],
        sources=[pool.sources[at] for at in order],
    )


def _said(wanted: rerank.Wanted) -> tuple[str, ...]:
    """Return what was done to the order, in sentences."""
    out = [f"ordered by {wanted.diversity:g} of difference"] if wanted.diversity else []
    names = {rerank.SHELF: "shelf", rerank.BRAND: "brand", rerank.SELLER: "seller"}
    return (*out, *(f"at most {most} of one {names[row]}" for row, most in wanted.caps.items()))
