"""Sequential rules: what follows an item, near after it more than far, and with less weight what came before it.

With `reach` 1 and `backward` 0 it is a Markov chain. Things taken at one moment (a basket) follow nothing among themselves.
Shapes: P people, I items, N interactions, B baskets; rule_II is sparse, a row holds what its item brings about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, diags, vstack

from models import artefact
from models.config import Checked, Options, Span, bounds, build
from models.data import DAY_US, Interactions, Query, Ranking, TrainingSet
from models.families import dense, sparse
from models.families.prior import Prior
from models.families.repurchase import decay
from models.family import Family
from models.settle import Way, given, settle

ASKED_FIELDS = frozenset({"asked_fade", "own_weight"})  # the others change what is learned
LEAST_WEIGHT = 1e-4  # of a step; what is further away is left out
CHUNK_PAIRS = 20_000_000  # of a product of matrices at a time, before the weak are dropped


@dataclass(frozen=True, kw_only=True)
class RulesConfig(Checked):
    """How far a rule reaches, in baskets of a person, and what a basket further away costs, when learning and when asked.

    A rule from i to j weighs its decayed count, over the takers of i to the power `by_source` and of j to the power
    `by_target` (.5 each: a cosine; 1 and 0: a conditional probability), damped by `shrink`; what happened `half_life_days` before
    the end counts half. `own_weight` is how much an item that the person took speaks for itself: 1 is as much as a
    rule that always holds. What is None is chosen on validation when fitting.
    """

    family: ClassVar[str] = "rules"
    reach: int = bounds(10, 1, 1000)
    fade: float | None = bounds(None, 0.0, 1.0, search=Span(0.4, 0.98))
    backward: float | None = bounds(None, 0.0, 1.0, search=Span(0.0, 1.0))
    half_life_days: float | None = bounds(None, 0.01, 1e9, search=Span(1, 1000, log=True))
    asked_fade: float | None = bounds(None, 0.0, 1.0, search=Span(0.4, 0.99))
    by_source: float = bounds(0.5, 0.0, 1.0, search=Span(0.2, 1.0))
    by_target: float | None = bounds(None, 0.0, 1.0, search=Span(0.0, 0.8))
    shrink: float | None = bounds(None, 0.0, 1e6, search=Span(1, 100, log=True))
    kept: int = bounds(200, 1, 10_000)
    own_weight: float | None = bounds(None, 0.0, 1e6, search=Options(0.0, 0.1, 0.3, 1.0))
    prior_weight: float = bounds(1e-6, 1e-9, 1.0)
    feature: str = "buyers_28d"


def options(training: TrainingSet) -> dict[str, tuple[float, ...]]:
    """Return what open settings are chosen among; half-lives are parts of the time that is learned from."""
    time_N = training.interactions.time_N
    span_days = float(np.ptp(time_N)) / DAY_US if len(time_N) else 1.0
    return {
        "own_weight": (0.3, 0.0, 0.1, 1.0, 3.0) if training.repeats else (0.0,),
        "asked_fade": (0.7, 0.5, 0.85, 0.95, 0.99),
        "backward": (0.5, 0.2, 1.0),
        "shrink": (20.0, 5.0),
        "by_target": (0.5, 0.3),
        "half_life_days": (1e9, *(max(span_days / part, 0.01) for part in (2, 4, 8))),
        "fade": (0.8, 0.6, 0.95),
    }


class Rules:
    """What every item brings about, and the prior."""

    def __init__(self, config: RulesConfig, rule_II: csr_matrix, buyers_I: np.ndarray) -> None:
        self.config = config
        self.rule_II = rule_II
        self.buyers_I = buyers_I
        self.prior = Prior(buyers_I, feature=config.feature, weight=config.prior_weight)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items that the person's latest ones bring about; InputError for a question that does not fit."""
        dense.check(query, k, len(self.buyers_I))

        def score(part: Query) -> Iterator[sparse.Scored]:
            asked_N = np.power(given(self.config.asked_fade), steps_back(part.history))
            taken_PI = part.history.matrix(asked_N)[:, : len(self.buyers_I)]
            brought_PI = taken_PI @ self.rule_II
            own_weight = given(self.config.own_weight)
            return sparse.rows(brought_PI + taken_PI * np.float32(own_weight) if own_weight else brought_PI)

        return sparse.rank(query, k, RulesConfig.family, score, self.prior)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `buyers.npy` and the rules as CSR parts."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_array(folder / "buyers.npy", self.buyers_I)
        artefact.write_csr(folder, "rules", self.rule_II)


def baskets(history: Interactions) -> np.ndarray:
    """Number the moments at which somebody took something, in the order of the interactions, int64 [N]."""
    if not len(history):
        return np.zeros(0, np.int64)
    person_N, time_N = history.person_N, history.time_N
    begins_N = np.ones(len(history), np.int64)
    begins_N[1:] = (person_N[1:] != person_N[:-1]) | (time_N[1:] != time_N[:-1])
    return np.cumsum(begins_N) - 1


def steps_back(history: Interactions) -> np.ndarray:
    """Return how many baskets ago each interaction was, int64 [N]; 0 for everything in the latest."""
    basket_N = baskets(history)
    last_P = np.zeros(history.people, np.int64)
    np.maximum.at(last_P, history.person_N, basket_N)
    return last_P[history.person_N] - basket_N


def fit(config: RulesConfig, training: TrainingSet, seed: int) -> Rules:
    """Choose what the config leaves open, and count what follows what; nothing is random."""
    way = Way(
        fit=_fitted,
        again=lambda model, other: Rules(other, model.rule_II, model.buyers_I),
        asked=ASKED_FIELDS,
    )
    return _fitted(settle(config, options(training), training, way), training)


def _fitted(config: RulesConfig, training: TrainingSet) -> Rules:
    return Rules(config, learn(config, training.interactions), dense.buyers(training.interactions))


def learn(config: RulesConfig, history: Interactions) -> csr_matrix:
    """Return the strongest `kept` rules of every item, float32 sparse [I, I]; no item is a rule for itself."""
    taken_BI, after_BI = _taken_and_after(config, history)
    backward, shrink, by_target = given(config.backward), given(config.shrink), given(config.by_target)
    takers_I = np.bincount(taken_BI.indices, minlength=history.items).astype(np.float64)
    source_I = np.where(takers_I > 0, (takers_I + shrink) ** -config.by_source, 0.0)
    target_I = np.where(takers_I > 0, (takers_I + shrink) ** -by_target, 0.0)
    taken_IB, after_IB = taken_BI.T.tocsr(), after_BI.T.tocsr()
    parts = []
    for chunk in _chunks(taken_IB, after_BI, after_IB, taken_BI, backward):
        rule_CI = taken_IB[chunk] @ after_BI
        if backward:
            rule_CI = rule_CI + backward * (after_IB[chunk] @ taken_BI)
        parts.append(strongest(_weighed(rule_CI.tocsr(), chunk, source_I, target_I), config.kept))
    rule_II = vstack(parts, format="csr").astype(np.float32)
    rule_II.sort_indices()
    return rule_II


def _weighed(rule_CI: csr_matrix, chunk: slice, source_I: np.ndarray, target_I: np.ndarray) -> csr_matrix:
    """Weigh counts of a chunk of items by both ends; what an item says of itself is dropped."""
    weighed_CI = (diags(source_I[chunk]) @ rule_CI @ diags(target_I)).tocoo()
    other = weighed_CI.row + chunk.start != weighed_CI.col
    return csr_matrix(
        (weighed_CI.data[other], (weighed_CI.row[other], weighed_CI.col[other])), shape=weighed_CI.shape
    )


def _taken_and_after(config: RulesConfig, history: Interactions) -> tuple[csr_matrix, csr_matrix]:
    """Return what each basket holds, and what its person took afterwards, a step further each time faded, sparse [B, I]."""
    basket_N = baskets(history)
    count = int(basket_N[-1]) + 1 if len(basket_N) else 0
    ones_N = np.ones(len(history), np.float32)
    taken_BI = csr_matrix((ones_N, (basket_N, history.item_N)), shape=(count, history.items))
    taken_BI.sum_duplicates()
    taken_BI.data[:] = 1.0
    person_B = np.zeros(count, np.int64)
    person_B[basket_N] = history.person_N
    fresh_B = np.zeros(count, np.float32)
    fresh_B[basket_N] = decay(history, int(history.time_N.max(initial=0)), given(config.half_life_days))
    from_M, to_M, weight_M = _pairs(config, person_B)
    move_BB = csr_matrix((weight_M * fresh_B[to_M], (from_M, to_M)), shape=(count, count))
    return taken_BI, move_BB @ taken_BI


def _pairs(config: RulesConfig, person_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return earlier and later basket of the same person within reach, and what the later one counts, float32."""
    fade = given(config.fade)
    earlier = [
        np.flatnonzero(person_B[:-step] == person_B[step:])
        for step in range(1, min(config.reach, len(person_B) - 1) + 1)
        if fade ** (step - 1) > LEAST_WEIGHT
    ]
    from_M = np.concatenate([np.zeros(0, np.int64), *earlier])
    step_M = np.repeat(np.arange(1, len(earlier) + 1), [len(some_B) for some_B in earlier])
    return from_M, from_M + step_M, np.power(fade, step_M - 1).astype(np.float32)


def _chunks(
    taken_IB: csr_matrix, after_BI: csr_matrix, after_IB: csr_matrix, taken_BI: csr_matrix, backward: float
) -> list[slice]:
    """Cut the items so that the products of a chunk stay within CHUNK_PAIRS pairs."""
    pairs_I = taken_IB.astype(bool).astype(np.int64) @ np.diff(after_BI.indptr)
    if backward:
        pairs_I = pairs_I + after_IB.astype(bool).astype(np.int64) @ np.diff(taken_BI.indptr)
    bin_I = np.cumsum(pairs_I) // CHUNK_PAIRS
    starts = np.flatnonzero(np.diff(bin_I, prepend=-1))
    ends = [*starts[1:], len(pairs_I)]
    return [slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def strongest(matrix: csr_matrix, kept: int) -> csr_matrix:
    """Return the matrix with the `kept` largest values of each row; ties go to the lower column."""
    row_N = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order_N = np.lexsort((matrix.indices, -matrix.data, row_N))
    place_N = np.arange(len(order_N)) - matrix.indptr[:-1][row_N[order_N]]
    keep_N = order_N[place_N < kept]
    return csr_matrix((matrix.data[keep_N], (row_N[keep_N], matrix.indices[keep_N])), shape=matrix.shape)


def load(folder: Path) -> Rules:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config = build(RulesConfig, artefact.read_json(folder / "config.json"), "rules")
    return Rules(
        config,
        artefact.read_csr(folder, "rules"),
        artefact.read_array(folder / "buyers.npy", np.float32),
    )


FAMILY = Family(
    config=RulesConfig,
    fit=fit,
    load=load,
    paper="Kamehkhosh, Jannach, Ludewig: A comparison of frequent pattern techniques and a deep learning method for "
    "session-based recommendation, RecTemp 2017 (sequential rules)",
)
