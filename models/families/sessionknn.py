"""Session-kNN: the fitted sessions that are most like what the person does now say what comes next.

A session is one person's latest items in the order in which they were taken. Three decays (STAN): items taken long ago in the
question count less when sessions are compared; sessions of long ago count less; within a neighbour, items far from the
item that both have in common count less. Items that everybody takes make sessions less alike (VSTAN).
Shapes: P people, I items, S fitted sessions, N items of fitted sessions, E items of the question, T matches, C neighbours' items.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import IntegrityError
from models import artefact
from models.config import Checked, Options, Span, bounds, build
from models.data import DAY_US, Interactions, Query, Ranking, TrainingSet, spans
from models.families import dense, sparse
from models.families.prior import Prior
from models.families.rules import steps_back
from models.family import Family
from models.settle import Way, given, settle


@dataclass(frozen=True, kw_only=True)
class SessionKnnConfig(Checked):
    """How many neighbours, among how many of the newest sessions with an item of the question, and the decays.

    `fade` is what one basket back in the question costs, `reach_fade` one basket away from the common item in a neighbour;
    `half_life_days` counts back from the newest fitted session. `rarity` is the power of an item's idf. `own_weight` multiplies
    what neighbours say for an item that the person took. What is None is chosen on validation when fitting.
    """

    family: ClassVar[str] = "sessionknn"
    neighbours: int | None = bounds(None, 1, 100_000, search=Span(50, 2000, log=True))
    newest: int = bounds(1000, 1, 1_000_000)
    length: int = bounds(50, 1, 1000)
    fade: float | None = bounds(None, 0.0, 1.0, search=Span(0.4, 0.99))
    reach_fade: float | None = bounds(None, 0.0, 1.0, search=Span(0.4, 0.99))
    half_life_days: float | None = bounds(None, 0.01, 1e9, search=Span(1, 1000, log=True))
    rarity: float = bounds(1.0, 0.0, 4.0, search=Span(0.0, 2.0))
    own_weight: float | None = bounds(None, 0.0, 1e6, search=Options(0.3, 1.0, 3.0))
    prior_weight: float = bounds(1e-6, 1e-9, 1.0)
    feature: str = "buyers_28d"


def options(training: TrainingSet) -> dict[str, tuple[float, ...]]:
    """Return what open settings are chosen among; half-lives are parts of the time that is learned from."""
    time_N = training.interactions.time_N
    span_days = float(np.ptp(time_N)) / DAY_US if len(time_N) else 1.0
    return {
        "fade": (0.7, 0.5, 0.85, 0.95),
        "neighbours": (500, 100),
        "own_weight": (1.0, 0.3, 3.0) if training.repeats else (1.0,),
        "reach_fade": (0.8, 0.6, 0.95),
        "half_life_days": (1e9, *(max(span_days / part, 0.01) for part in (2, 4, 8))),
    }


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Distinct items of every session in order of their last taking: session s has rows indptr_S[s]:indptr_S[s+1]."""

    indptr_S: np.ndarray  # int64, one more than there are sessions
    item_N: np.ndarray  # int32
    step_N: np.ndarray  # int32, baskets before the session's last
    age_days_S: np.ndarray  # float32, before the newest session

    def __len__(self) -> int:
        return len(self.age_days_S)


class SessionKnn:
    """The fitted sessions, which of them hold an item (newest first), and the prior."""

    def __init__(self, config: SessionKnnConfig, sessions: Sessions, buyers_I: np.ndarray) -> None:
        self.config = config
        self.sessions = sessions
        self.buyers_I = buyers_I
        size_S = np.diff(sessions.indptr_S)
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)
        self.length_S = np.maximum(size_S, 1).astype(np.float32)
        self.fresh_S = np.exp2(-sessions.age_days_S / np.float32(given(config.half_life_days)))
        self.rare_I = np.power(np.log(max(len(sessions), 2) / np.maximum(buyers_I, 1.0)) + 1.0, config.rarity)
        session_N = np.repeat(np.arange(len(sessions), dtype=np.int32), size_S)
        order_N = np.lexsort((session_N, sessions.age_days_S[session_N], sessions.item_N))
        start_I = np.searchsorted(sessions.item_N[order_N], np.arange(len(buyers_I) + 1))
        place_N = np.arange(len(order_N)) - start_I[sessions.item_N[order_N]]
        self.held_M = order_N[place_N < config.newest]  # rows of sessions by item, the newest of each
        self.session_M = session_N[self.held_M]
        self.start_I = np.searchsorted(sessions.item_N[self.held_M], np.arange(len(buyers_I) + 1))

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items that the nearest sessions speak for; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))
        own_weight = np.float32(given(self.config.own_weight))

        def score(part: Query) -> Iterator[sparse.Scored]:
            voted_PI = self.voted(part.history)
            if own_weight == 1.0:
                return sparse.rows(voted_PI)
            own_PI = voted_PI.multiply(part.history.matrix()[:, : len(self.buyers_I)] > 0)
            return sparse.rows(voted_PI + own_PI * (own_weight - np.float32(1)))

        return sparse.rank(query, k, SessionKnnConfig.family, score, self.prior)

    def voted(self, history: Interactions) -> csr_matrix:
        """Return what the nearest sessions of every row say, float32 sparse [P, I]."""
        row_C, session_C, like_C, common_C = self._neighbours(history)
        size_C = np.diff(self.sessions.indptr_S)[session_C]
        at_N = spans(self.sessions.indptr_S[session_C], size_C)
        away_N = np.abs(self.sessions.step_N[at_N] - np.repeat(common_C, size_C))
        value_N = np.repeat(like_C, size_C) * np.power(np.float32(given(self.config.reach_fade)), away_N)
        votes = (value_N.astype(np.float32), (np.repeat(row_C, size_C), self.sessions.item_N[at_N]))
        voted_PI = csr_matrix(votes, shape=(history.people, len(self.buyers_I)))
        voted_PI.sum_duplicates()
        return voted_PI

    def _neighbours(self, history: Interactions) -> tuple[np.ndarray, ...]:
        """Return row, session, likeness and step of the latest common item for the nearest sessions of every row."""
        asked = compact(history, self.config.length)
        known_E = asked.item_N < len(self.buyers_I)
        row_E = np.repeat(np.arange(history.people), np.diff(asked.indptr_S))[known_E]
        item_E, step_E = asked.item_N[known_E], asked.step_N[known_E]
        weight_E = np.power(given(self.config.fade), step_E) * self.rare_I[item_E]
        length_P = np.sqrt(np.bincount(row_E, weight_E**2, minlength=history.people))
        weight_E /= np.maximum(length_P[row_E], 1e-12)
        count_E = self.start_I[item_E + 1] - self.start_I[item_E]
        at_T = spans(self.start_I[item_E], count_E)
        # within a row the latest item comes first, and a stable sort leaves it there
        key_T = np.repeat(row_E * len(self.sessions), count_E) + self.session_M[at_T]
        order_T = np.argsort(key_T, kind="stable")
        first_T = np.flatnonzero(np.diff(key_T[order_T], prepend=-1))
        if not len(first_T):
            return (np.zeros(0, np.int64),) * 2 + (np.zeros(0, np.float32),) * 2
        row_C, session_C = np.divmod(key_T[order_T[first_T]], len(self.sessions))
        like_C = np.add.reduceat(np.repeat(weight_E, count_E)[order_T], first_T) / np.sqrt(
            self.length_S[session_C]
        )
        like_C = (like_C * self.fresh_S[session_C]).astype(np.float32)
        common_C = self.sessions.step_N[self.held_M[at_T[order_T[first_T]]]]
        best = _nearest(row_C, like_C, int(given(self.config.neighbours)), history.people)
        return row_C[best], session_C[best], like_C[best], common_C[best]

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and the sessions as four arrays."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_array(folder / "sessions.npy", self.sessions.indptr_S)
        artefact.write_array(folder / "items.npy", self.sessions.item_N)
        artefact.write_array(folder / "steps.npy", self.sessions.step_N)
        artefact.write_array(folder / "ages.npy", self.sessions.age_days_S)


def compact(history: Interactions, length: int) -> Sessions:
    """Return each person's latest `length` distinct items, the latest first; an item counts where it was taken last."""
    step_N = steps_back(history)
    # latest first within each person, then only the first mention of an item
    order_N = np.lexsort((-np.arange(len(history)), history.person_N))
    key_N = history.person_N[order_N].astype(np.int64) * history.items + history.item_N[order_N]
    first_N = np.zeros(len(history), bool)
    first_N[np.unique(key_N, return_index=True)[1]] = True
    order_N = order_N[first_N]
    person_N = history.person_N[order_N]
    count_P = np.bincount(person_N, minlength=history.people)
    place_N = np.arange(len(order_N)) - (np.cumsum(count_P) - count_P)[person_N]
    order_N = order_N[place_N < length]
    count_P = np.minimum(count_P, length)
    newest_P = np.full(history.people, np.iinfo(np.int64).min)
    np.maximum.at(newest_P, history.person_N, history.time_N)
    age_us_P = np.where(count_P > 0, newest_P.max(initial=0) - newest_P, 0)
    return Sessions(
        indptr_S=np.concatenate([[0], np.cumsum(count_P)]).astype(np.int64),
        item_N=history.item_N[order_N].astype(np.int32),
        step_N=step_N[order_N].astype(np.int32),
        age_days_S=(age_us_P / DAY_US).astype(np.float32),
    )


def _nearest(row_C: np.ndarray, like_C: np.ndarray, most: int, people: int) -> np.ndarray:
    """Return the places of each row's `most` likest, rows ascending; ties go to the lower session."""
    count_P = np.bincount(row_C, minlength=people)
    if count_P.max(initial=0) <= most:
        return np.arange(len(row_C))
    order_C = np.lexsort((-like_C, row_C))
    place_C = np.arange(len(row_C)) - (np.cumsum(count_P) - count_P)[row_C]
    return np.asarray(order_C[place_C < most])


def fit(config: SessionKnnConfig, training: TrainingSet, seed: int) -> SessionKnn:
    """Choose what the config leaves open, and keep everybody's latest items; nothing is random."""
    choices = options(training)
    way = Way(
        fit=_fitted,
        again=lambda model, other: SessionKnn(other, model.sessions, model.buyers_I),
        asked=frozenset(choices),
    )
    return _fitted(settle(config, choices, training, way), training)


def _fitted(config: SessionKnnConfig, training: TrainingSet) -> SessionKnn:
    sessions = compact(training.interactions, config.length)
    return SessionKnn(config, sessions, dense.buyers(training.interactions))


def load(folder: Path) -> SessionKnn:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(SessionKnnConfig, artefact.read_json(folder / "config.json"), "sessionknn")
    buyers_I = artefact.read_array(folder / "buyers.npy", np.float32)
    sessions = Sessions(
        indptr_S=artefact.read_array(folder / "sessions.npy", np.int64),
        item_N=artefact.read_array(folder / "items.npy", np.int32),
        step_N=artefact.read_array(folder / "steps.npy", np.int32),
        age_days_S=artefact.read_array(folder / "ages.npy", np.float32),
    )
    fits = (
        len(sessions.indptr_S) == len(sessions) + 1
        and sessions.indptr_S[0] == 0
        and bool((np.diff(sessions.indptr_S) >= 0).all())
        and len(sessions.item_N) == len(sessions.step_N) == sessions.indptr_S[-1]
        and sessions.item_N.min(initial=0) >= 0
        and sessions.item_N.max(initial=-1) < len(buyers_I)
    )
    if not fits:
        raise IntegrityError(
            "the parts of sessions do not fit each other; restore the artefact by its digest"
        )
    return SessionKnn(config, sessions, buyers_I)


FAMILY = Family(
    config=SessionKnnConfig,
    fit=fit,
    load=load,
    paper="Garg, Gupta, Malhotra, Vig, Shroff: Sequence and time aware neighborhood for session-based recommendations, "
    "SIGIR 2019; Ludewig, Jannach: Evaluation of session-based recommendation algorithms, UMUAI 2018 (V-SKNN)",
)
