"""One request from bytes to an answer, stage after stage: parse, person, features, rules, candidates, reasons. Plain functions.

What an answer leaves behind is not decided here: the seam records whatever comes out.
"""

import copy
import functools
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from bentos.recommend import recent
from bentos.recommend.asked import NOBODY, Question, recalled, received
from bentos.recommend.choose import Chooser, Chosen
from bentos.recommend.known import Known, gather
from bentos.recommend.parts import FAILED
from bentos.recommend.person import People, Person, digest
from bentos.recommend.reasons import Reason, Reasons
from bentos.recommend.recent import Used
from bentos.recommend.request import BODIES, Route, parse
from bentos.recommend.rulebook import NO_RULES, Rulebook, RulesFile
from bentos.recommend.rules import Catalogue
from bentos.recommend.steer import Steer, without_rules
from bentos.seam import Answer, Flow
from bentos.snapshot import NO_END, Snapshot
from bentos.startup import Loaded
from counterfoil import canonical
from counterfoil.errors import UnknownError
from counterfoil.types import ReceiptItem

__all__ = [
    "FAILED",
    "NOBODY",
    "Answers",
    "Chosen",
    "Known",
    "Question",
    "Recommend",
    "Stages",
    "recalled",
    "received",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stages:
    """A stopwatch with laps: milliseconds per stage."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    @property
    def ms(self) -> dict[str, float]:
        """What each stage took so far, to the microsecond."""
        return {stage: round(1000 * seconds, 3) for stage, seconds in self._seconds.items()}

    def done(self, stage: str) -> None:
        """End a stage, or a piece of it, that ran since the last one ended."""
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now


class Answers:
    """From a question and what is known of the person to an answer, over one loaded bento: when serving, and when replayed."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.items, self.about = loaded.snapshot, loaded.bundle.about
        self.catalogue = Catalogue(self.items)
        self.chooser = Chooser(self.items, float(self.about.get("diversity", 0.0)))
        self.reasons = Reasons(self.items, self.about["history_kinds"], self.about.get("reasons", ()))
        self.unsteered = without_rules(self.items, self.catalogue.by_category)

    def over(self, items: Snapshot) -> "Answers":
        """Return the same answers over another catalogue: the same items on the same shelves, with other counts."""
        other = copy.copy(self)
        other.loaded, other.items = replace(self.loaded, snapshot=items), items
        other.chooser = Chooser(items, self.chooser.usual, self.chooser.only)
        return other

    def steered(self, rules: Rulebook, name: str) -> Steer:
        """Return what steers answers under these rules."""
        if rules == NO_RULES:
            return self.unsteered
        return Steer(rules, name, self.items, self.catalogue.by_category)

    def answer(
        self,
        asked: Question,
        person: Person,
        stages: Stages,
        steer: Steer | None = None,
        used: Used | None = None,
    ) -> Answer:
        """Answer a question for somebody of whom this much is known.

        `used` are the recent events as a receipt kept them; without them they are read off the person. UnknownError when the
        question is about an item that the catalogue does not have.
        """
        known = self.known(asked, person, stages, steer, used)
        chosen = self.chosen(known, asked.n)
        stages.done("rerank")
        found = self.reasons.evidence(chosen, known)
        stages.done("reasons")
        return Answer(
            person=asked.person or NOBODY,
            request=dict(asked.recorded),
            items=receipt_items(chosen, found, self.items.ids),
            titles=tuple(self.items.titles[item] for item in chosen.item_K.tolist()),
            rules=(*known.rules.said, *chosen.said),
            features=recorded_features(known, chosen, found, self.about, self.items.ids),
            feature_time=person.event_time,
            degraded=(*person.degraded, *chosen.degraded),
            stages_ms=stages.ms,
            explored={}
            if chosen.explored is None
            else {self.items.ids[chosen.explored[0]]: chosen.explored[1]},
            nonce=asked.nonce,
            ends=ends_of(chosen.item_K, self.items),
        )

    def known(
        self,
        asked: Question,
        person: Person,
        stages: Stages,
        steer: Steer | None = None,
        used: Used | None = None,
    ) -> Known:
        """Return what a model is asked with."""
        steer = self.unsteered if steer is None else steer
        if asked.route == "similar" and asked.items[0] not in self.items.index:
            raise UnknownError(f"there is no item {asked.items[0]} in this catalogue; name one that it has")
        if used is None:
            used = recent.used(
                person.recent,
                self.about["history_kinds"],
                asked.as_of_us,
                recent.since(person),
                steer.tired_after,
            )
        known = gather(asked, person, used, steer, self.items, self.catalogue, self.about, stages.done)
        stages.done("features")
        return known

    def chosen(self, known: Known, n: int) -> Chosen:
        """Return `n` items, best first."""
        return self.chooser.choose(self.loaded.model, known, n)


class Recommend:
    """The flow of the routes over one loaded bento; `rules` is read anew when it changes (None: there are none)."""

    def __init__(self, loaded: Loaded, people: People, key: str, rules: RulesFile | None = None) -> None:
        self.answers, self.people, self.key, self.rules = Answers(loaded), people, key, rules
        self._steer = self.answers.unsteered

    def __call__(self, body: bytes, now: datetime) -> Answer:
        """Answer a body of POST /recommend that arrived at `now`. FieldFault when it is malformed."""
        return self.answer("recommend", body, now)

    def routes(self) -> dict[str, Flow]:
        """Return the flow of each route."""
        return {route: functools.partial(self.answer, route) for route in BODIES}

    def answer(self, route: Route, body: bytes, now: datetime) -> Answer:
        """Answer a body that arrived at `now`. FieldFault when it is malformed, UnknownError for an item that is not there."""
        stages = Stages()
        asked = received(parse(body, route), now, self.key, route)
        stages.done("parse")
        person = self._person(asked)
        steer, degraded = self._steering()
        if degraded:
            person = replace(person, degraded=(*person.degraded, *degraded))
        stages.done("person")
        return self.answers.answer(asked, person, stages, steer)

    def _person(self, asked: Question) -> Person:
        """Look up who asks; where neither person nor session is named, nothing is read at all."""
        if asked.person is None and asked.session is None:
            return Person()
        return self.people.find(asked.person, asked.moment, asked.session)

    def _steering(self) -> tuple[Steer, tuple[str, ...]]:
        if self.rules is None:
            return self.answers.unsteered, ()
        held = self.rules.now()
        if held.name != self._steer.name:
            self._steer = self.answers.steered(held.rules, held.name)
        return self._steer, held.degraded


def receipt_items(chosen: Chosen, found: list[tuple[Reason, ...]], ids: list[str]) -> tuple[ReceiptItem, ...]:
    """Return the chosen items as a receipt names them."""
    return tuple(
        ReceiptItem(item=ids[item], score=score, sources=sources, reasons=tuple(one.said for one in reasons))
        for item, score, sources, reasons in zip(
            chosen.item_K.tolist(), short(chosen.score_K), chosen.sources, found, strict=True
        )
    )


def ends_of(item_K: np.ndarray, items: Snapshot) -> dict[str, str]:
    """Return until when items can be had, RFC 3339 by id, for those that have an end."""
    end_us_K = items.end_us_I[item_K]
    return {
        items.ids[item]: canonical.utc_text(EPOCH + timedelta(microseconds=end_us))
        for item, end_us in zip(item_K.tolist(), end_us_K.tolist(), strict=True)
        if end_us != NO_END
    }


def recorded_features(
    known: Known,
    chosen: Chosen,
    found: list[tuple[Reason, ...]],
    about: Mapping[str, Any],
    ids: list[str],
) -> dict[str, Any]:
    """Return the features as served: the person's, those of the pairs that were answered, and what names the rest.

    The history is named by its digest, so that the one that is found later can be proven to be the one that was read; recent
    events are kept whole, the rules by their digest, and the evidence of each item's reasons by kind and names.
    """
    features, history = known.features, known.history
    rows = features.pairs_with(chosen.item_K)
    pairs = {
        ids[item]: named(features.pair_names, values)
        for item, values in zip(
            features.pair_item_N[rows].tolist(), short(features.pair_NF[rows]), strict=True
        )
    }
    out = {
        "service": about["feature_service"],
        "person": named(features.person_names, short(features.person_PF[0])),
        "pairs": pairs,
        "history": {
            "rows": len(history),
            "last_us": int(history.time_N[-1]) if len(history) else None,
            "sha256": digest(known.person),
        },
        "items_as_of_us": about["as_of_us"],
        "evidence": [[one.recorded(ids) for one in reasons] for reasons in found],
    }
    recently = recent.written(known.used)
    if recently:
        out["recent"] = recently
    if known.steer.name:
        out["rules"] = known.steer.name
    return out


def named(names: tuple[str, ...], values: list[float | None]) -> dict[str, float | None]:
    """Return values by name; what is not known is None."""
    return dict(zip(names, values, strict=True))


def short(values: np.ndarray) -> list[Any]:
    """Return numbers with the fewest digits that tell a float32 from its neighbours: half of what a receipt would hold otherwise.

    None for what is not finite.
    """
    told: list[Any] = orjson.loads(
        orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    )
    return told
