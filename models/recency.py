"""How fast taking fades in a shop, and how loudly what somebody has had speaks for itself: chosen on validation, not believed.

A grocer's customers come back for the same for months; who browses shoes is led by the last click. The two numbers belong to the
data more than to a method, so they are chosen once, by the quickest method that has them: neighbours of the items taken.
Families that weigh a history take them from here unless their config says otherwise. Shapes: P people, I items, N interactions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import InputError
from models import splits
from models.config import changed
from models.data import Interactions, Query, Ranking, TrainingSet, Trial
from models.explain import Explanation, by_history
from models.families import dense
from models.families.prior import Prior
from models.families.repurchase import decay
from models.family import top_k
from models.metrics.accuracy import hits, ndcg, taken

HALF_LIVES_DAYS = (1e4, 180.0, 90.0, 45.0, 20.0, 10.0, 5.0, 3.0, 2.0, 1.0)
OWN_WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
ASKED = 1000  # people of the validation who are asked; more of them change the choice rarely
HISTORY = 100  # interactions per person that neighbours are found by
K = 10

Settled = TypeVar("Settled", bound="Weighing")


class Weighing(Protocol):
    """A config of a family that weighs histories; None is left open, to be chosen when fitting."""

    @property
    def half_life_days(self) -> float | None:
        """Days after which an interaction counts half."""

    @property
    def own_weight(self) -> float | None:
        """What the item that somebody took most counts."""


@dataclass(frozen=True, kw_only=True)
class Recency:
    """After `half_life_days` an interaction counts half.

    `own_weight` is what the item that somebody took most counts against the best of all others; the method's own scores are
    scaled to at most 1 for that. 0: what was taken does not speak for itself.
    """

    half_life_days: float
    own_weight: float

    @classmethod
    def of(cls, config: Weighing) -> "Recency":
        """Return what a settled config says."""
        return cls(half_life_days=config.half_life_days or 90.0, own_weight=config.own_weight or 0.0)

    def weights(self, history: Interactions, as_of_us: int) -> csr_matrix:
        """Return the decayed counts of a history, float32 sparse [P, I]."""
        return history.matrix(decay(history, as_of_us, self.half_life_days))

    def mix(
        self, score_PI: np.ndarray, learned: int, taken_PI: csr_matrix, prior_I: np.ndarray
    ) -> np.ndarray:
        """Scale the scores of the `learned` first items row by row, and add what was taken and the prior; in place.

        Items that came after the fit are put level with the lowest score.
        """
        known_PI = score_PI[:, :learned]
        if known_PI.size:
            most_P = np.maximum(known_PI.max(axis=1), -known_PI.min(axis=1))
            known_PI /= np.where(most_P > 0, most_P, 1)[:, None].astype(np.float32)
            score_PI[:, learned:] = known_PI.min(axis=1, keepdims=True)
        if self.own_weight:
            scale_P = self.own_weight / np.maximum(taken_PI.max(axis=1).toarray()[:, 0], 1e-30)
            row_N = np.repeat(np.arange(taken_PI.shape[0]), np.diff(taken_PI.indptr))
            score_PI[row_N, taken_PI.indices] += (taken_PI.data * scale_P[row_N]).astype(np.float32)
        score_PI += prior_I
        return score_PI


def rank(
    query: Query,
    k: int,
    source: str,
    recency: Recency,
    prior: Prior,
    score: Callable[[csr_matrix], np.ndarray],
) -> Ranking:
    """Rank by `score(weights)`, mixed with what was taken and the prior. InputError for a question that does not fit.

    `score` gets the weighed history over the items that were learned, sparse float32 [P, J], and gives float32 [P, J].
    """
    learned = len(prior.buyers_I)
    dense.check(query, k, learned)

    def mixed(part: Query) -> np.ndarray:
        taken_PI = recency.weights(part.history, part.as_of_us)
        score_PI = np.zeros((part.people, part.items), np.float32)
        score_PI[:, :learned] = score(taken_PI[:, :learned])
        return recency.mix(score_PI, learned, taken_PI, prior.of(part))

    return dense.rank(query, k, source, mixed)


def explain(
    query: Query,
    item_N: np.ndarray,
    recency: Recency,
    prior: Prior,
    said: str,
    score: Callable[[csr_matrix], np.ndarray],
    added: Callable[[csr_matrix, int], np.ndarray],
) -> tuple[Explanation, ...]:
    """Return what each item of one person's history added to the scores that `rank` gives.

    `added` gives by item of the history what it adds to `score` of an item, float [J], before that is scaled. Items that came
    after the fit are put level with the lowest score, which is no sum.
    """
    learned, taken_PI = len(prior.buyers_I), recency.weights(query.history, query.as_of_us)
    known_PI, prior_I = taken_PI[:, :learned], prior.of(query)
    most = float(np.abs(score(known_PI)).max(initial=0.0)) or 1.0
    own = recency.own_weight / max(float(taken_PI.max()), 1e-30) if taken_PI.nnz else 0.0
    weight = dict(zip(taken_PI.indices.tolist(), taken_PI.data.tolist(), strict=True))
    out = []
    for item in item_N.tolist():
        if item >= learned:
            late = "it came after the model learned, and is put level with the lowest score"
            out.append(Explanation(item=item, method="none", said=late))
            continue
        parts_J = added(known_PI, item) / most
        parts = {one: float(parts_J[one]) for one in weight if one < learned}
        parts[item] = parts.get(item, 0.0) + own * weight.get(item, 0.0)
        out.append(by_history(item, said, parts, weight, float(prior_I[item])))
    return tuple(out)


def settled(config: Settled, training: TrainingSet) -> Settled:
    """Return the config with what it leaves open of how a history is weighed chosen on validation."""
    chosen = choose(training, config.half_life_days, config.own_weight)
    return changed(config, {"half_life_days": chosen.half_life_days, "own_weight": chosen.own_weight})


def choose(training: TrainingSet, half_life_days: float | None, own_weight: float | None) -> Recency:
    """Return the recency with what is given, the rest chosen on validation by nDCG@10.

    Where nobody is asked for what they had, it does not speak for itself. Training sets too small to be cut get 90 days, and a
    weight of 1.
    """
    lives = HALF_LIVES_DAYS if half_life_days is None else (half_life_days,)
    owns = (own_weight,) if own_weight is not None else OWN_WEIGHTS if training.repeats else (0.0,)
    if len(lives) == len(owns) == 1:
        return Recency(half_life_days=lives[0], own_weight=owns[0])
    try:
        blind, trial = splits.choosing(training)
    except InputError:
        own = own_weight if own_weight is not None else float(training.repeats)
        return Recency(half_life_days=half_life_days or 90.0, own_weight=own)
    return _best(
        blind, trial, [Recency(half_life_days=life, own_weight=own) for life in lives for own in owns]
    )


def _best(blind: TrainingSet, trial: Trial, choices: list[Recency]) -> Recency:
    """Return the first of the choices with the highest nDCG when items are scored by their neighbours."""
    from models.families.itemknn import ItemKnnConfig, neighbours

    config = ItemKnnConfig(neighbours=100, weighting="cosine", shrink=10.0)
    taken_PI = blind.interactions.last(HISTORY).matrix()
    taken_PI.data[:] = 1
    sim_II = neighbours(config, taken_PI, blind.threads)
    trial = trial.at_most(ASKED)
    size = max(1, dense.PART_BYTES // (4 * trial.query.items))
    value_C = np.zeros(len(choices))
    for start, part in zip(range(0, trial.query.people, size), trial.query.parts(size), strict=True):
        value_C += _values(part, trial.truth[start : start + size], sim_II, choices)
    return choices[int(np.argmax(value_C))]


def _values(
    query: Query, truth: Sequence[np.ndarray], sim_II: csr_matrix, choices: list[Recency]
) -> np.ndarray:
    """Return the sum of nDCG over the people asked, by choice."""
    nothing_I = np.zeros(query.items, np.float32)
    taken_P = taken(truth)
    out_C = np.zeros(len(choices))
    neighbour_PI = last = None
    for c, choice in enumerate(choices):
        weights_PI = choice.weights(query.history, query.as_of_us)
        if last != choice.half_life_days:
            neighbour_PI = (weights_PI[:, : sim_II.shape[0]] @ sim_II).toarray()
            last = choice.half_life_days
        score_PI = np.zeros((query.people, query.items), np.float32)
        score_PI[:, : sim_II.shape[0]] = neighbour_PI
        ranking = top_k(choice.mix(score_PI, sim_II.shape[0], weights_PI, nothing_I), query, K, "neighbours")
        out_C[c] = ndcg(hits(ranking.item_PK, truth), taken_P, K).sum()
    return out_C
