"""One request from bytes to an answer, stage after stage: parse, person, question, model, rules, reasons. Plain functions.

What an answer leaves behind is not decided here: the seam records whatever comes out.
"""

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bentos.recommend.person import People, Person, digest
from bentos.recommend.query import features_of, history_of, lines_of, question
from bentos.recommend.reasons import FALLBACK, Reasons
from bentos.recommend.request import Filters, RecommendRequest, parse
from bentos.recommend.rules import Catalogue, Rules
from bentos.seam import Answer
from bentos.startup import Loaded
from counterfoil import canonical
from counterfoil.pseudonym import pseudonym
from counterfoil.types import ReceiptItem
from models.data import Features, Interactions, Query

log = logging.getLogger(__name__)
FAILED = "the model failed: answered with what is popular"
NOBODY = "nobody"  # who asks without a name, as receipts have it


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Items that were chosen, best first, with their scores and the names of who proposed them."""

    item_K: np.ndarray
    score_K: np.ndarray
    sources: list[tuple[str, ...]]
    said: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()


class Stages:
    """A stopwatch with laps: milliseconds per stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, stage: str) -> None:
        """End the stage that ran since the last one ended."""
        now = time.perf_counter()
        self.ms[stage] = round((now - self._last) * 1000, 3)
        self._last = now


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked at a moment: read off a body that came in, or off the request that a receipt kept.

    `person` is a pseudonym (None: nobody in particular), `recorded` the request as a receipt keeps it.
    """

    person: str | None
    n: int
    filters: Filters
    moment: datetime
    recorded: Mapping[str, Any]

    @property
    def as_of_us(self) -> int:
        """The moment in microseconds since 1970."""
        return round(self.moment.timestamp() * 1e6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of a person when a question is asked, and what may be in the answer."""

    person: Person
    history: Interactions
    features: Features
    rules: Rules
    query: Query


class Answers:
    """From a question and what is known of the person to an answer, over one loaded bento: when serving, and when replayed."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.items, self.about = loaded.snapshot, loaded.bundle.about
        self.catalogue = Catalogue(self.items)
        self.reasons = Reasons(self.items, self.about["history_kinds"])

    def answer(self, asked: Question, person: Person, stages: Stages) -> Answer:
        """Answer a question for somebody of whom this much is known."""
        known = self.known(asked, person, stages)
        chosen = self.chosen(known, asked.n)
        stages.done("model")
        reasons = self.reasons.of(
            chosen.item_K, chosen.sources, known.history, known.features, person.affinity, asked.as_of_us
        )
        stages.done("reasons")
        return Answer(
            person=asked.person or NOBODY,
            request=dict(asked.recorded),
            items=receipt_items(chosen, reasons, self.items.ids),
            titles=tuple(self.items.titles[item] for item in chosen.item_K),
            rules=(*known.rules.said, *chosen.said),
            features=recorded_features(known, chosen, self.about, self.items.ids),
            feature_time=person.event_time,
            degraded=(*person.degraded, *chosen.degraded),
            stages_ms=stages.ms,
        )

    def known(self, asked: Question, person: Person, stages: Stages) -> Known:
        """Return what a model is asked with."""
        as_of_us, cap = asked.as_of_us, self.about["history_cap"]
        lines = lines_of(person, self.items, as_of_us)
        history = history_of(lines, self.items, cap)
        features = features_of(person, lines, self.items, self.about, as_of_us, cap)
        stages.done("features")
        rules = self.catalogue.rules(asked.filters, history, as_of_us)
        stages.done("rules")
        query = question(history, features, as_of_us, rules.allowed_I, rules.excluded, self.items.content)
        return Known(person=person, history=history, features=features, rules=rules, query=query)

    def chosen(self, known: Known, n: int) -> Chosen:
        """Return the model's `n` best, filled up with what is popular."""
        return self._filled(self._ranked(known.query, n), known.rules, n)

    def _ranked(self, query: Query, n: int) -> Chosen:
        try:
            ranking = self.loaded.model.recommend(query, n)
        except Exception:  # a model that fails on one question must not fail the request; the receipt says so
            log.exception("the model failed")
            return Chosen(item_K=np.zeros(0, np.int32), score_K=np.zeros(0), sources=[], degraded=(FAILED,))
        real_K = ranking.item_PK[0] >= 0
        sources = [
            tuple(name for bit, name in enumerate(ranking.sources) if bits >> bit & 1)
            for bits in ranking.source_PK[0][real_K].tolist()
        ]
        return Chosen(item_K=ranking.item_PK[0][real_K], score_K=ranking.score_PK[0][real_K], sources=sources)

    def _filled(self, chosen: Chosen, rules: Rules, n: int) -> Chosen:
        """Fill a list that the model left short with what is popular and allowed; a score there is a share of recent sales."""
        missing = n - len(chosen.item_K)
        if missing <= 0:
            return chosen
        free_I = np.ones(len(self.items), bool) if rules.allowed_I is None else rules.allowed_I.copy()
        free_I[chosen.item_K] = False
        if rules.excluded is not None:
            free_I[rules.excluded] = False
        popular_I = self.items.popular_I
        more = popular_I[free_I[popular_I]][:missing]
        if not len(more):
            return chosen
        share = self.items.recent_I[more] / max(1, int(self.items.recent_I.sum()))
        return Chosen(
            item_K=np.concatenate([chosen.item_K, more]),
            score_K=np.concatenate([chosen.score_K, share]),
            sources=[*chosen.sources, *[(FALLBACK,)] * len(more)],
            said=(f"{len(more)} of {n} filled up with what is popular",),
            degraded=chosen.degraded,
        )


class Recommend:
    """The flow of POST /recommend over one loaded bento."""

    def __init__(self, loaded: Loaded, people: People, key: str) -> None:
        self.answers, self.people, self.key = Answers(loaded), people, key

    def __call__(self, body: bytes, now: datetime) -> Answer:
        """Answer a body that arrived at `now`. FieldFault when it is malformed."""
        stages = Stages()
        asked = received(parse(body), now, self.key)
        stages.done("parse")
        person = self.people.find(asked.person, asked.moment)
        stages.done("person")
        return self.answers.answer(asked, person, stages)


def received(request: RecommendRequest, now: datetime, key: str) -> Question:
    """Return the question of a request that arrived at `now`; the person by the pseudonym under this key."""
    moment = now if request.context.time is None else request.context.time.astimezone(UTC)
    return Question(
        person=None if request.person is None else pseudonym(request.person, key),
        n=request.n,
        filters=request.filters,
        moment=moment,
        recorded=recorded_request(request, moment, key),
    )


def recalled(recorded: Mapping[str, Any], person: str) -> Question:
    """Return the question of a request that a receipt kept, and of the person that the receipt names."""
    return Question(
        person=None if person == NOBODY else person,
        n=recorded["n"],
        filters=Filters.model_validate(recorded["filters"]),
        moment=canonical.utc_time(recorded["context"]["time"]),
        recorded=recorded,
    )


def receipt_items(chosen: Chosen, reasons: list[tuple[str, ...]], ids: list[str]) -> tuple[ReceiptItem, ...]:
    """Return the chosen items as a receipt names them."""
    return tuple(
        ReceiptItem(item=ids[item], score=score, sources=sources, reasons=why)
        for item, score, sources, why in zip(
            chosen.item_K.tolist(), chosen.score_K.tolist(), chosen.sources, reasons, strict=True
        )
    )


def recorded_request(request: RecommendRequest, moment: datetime, key: str) -> dict[str, Any]:
    """Return the request as a receipt keeps it: no name of a person, the session by its pseudonym."""
    context = request.context
    return {
        "n": request.n,
        "context": {
            "time": canonical.utc_text(moment),
            "session": None if context.session is None else pseudonym(context.session, key),
            "channel": context.channel,
        },
        "filters": request.filters.model_dump(),
    }


def recorded_features(
    known: Known, chosen: Chosen, about: Mapping[str, Any], ids: list[str]
) -> dict[str, Any]:
    """Return the features as served: the person's, those of the pairs that were answered, and what names the rest.

    The history is named by its digest, so that the one that is found later can be proven to be the one that was read.
    """
    features, history = known.features, known.history
    rows = np.flatnonzero(np.isin(features.pair_item_N, chosen.item_K))
    pairs = {
        ids[features.pair_item_N[row]]: named(features.pair_names, features.pair_NF[row])
        for row in rows.tolist()
    }
    return {
        "service": about["feature_service"],
        "person": named(features.person_names, features.person_PF[0]),
        "pairs": pairs,
        "history": {
            "rows": len(history),
            "last_us": int(history.time_N[-1]) if len(history) else None,
            "sha256": digest(known.person),
        },
        "items_as_of_us": about["as_of_us"],
    }


def named(names: tuple[str, ...], values_F: np.ndarray) -> dict[str, float | None]:
    """Return values by name; what is not known is None."""
    return {
        name: value if math.isfinite(value) else None
        for name, value in zip(names, values_F.tolist(), strict=True)
    }
