"""Lists that show more of the catalogue: a candidate's worth is divided by a power of how many took it.

Small powers reorder what is nearly as good; how much is affordable is chosen on a trial. What is worth nothing stays so.
Shapes: P people, D candidates of a list, K list length, I items.
"""

from collections.abc import Sequence

import numpy as np

from models.data import Ranking
from models.metrics.accuracy import hits, ndcg, taken

POWERS = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)


def balanced(ranking: Ranking, takers_I: np.ndarray, power: float, depth: int, k: int) -> Ranking:
    """Return the `k` best after the first `depth` of each list are ordered anew; ties keep their order.

    A candidate is worth its lead over the last of these as a share of the first one's, times (takers + 1)^-power. What lies
    deeper follows as it was. Items that came after the fit have no takers.
    """
    item_PD, shown_PD = ranking.item_PK[:, :depth], ranking.item_PK[:, :depth] >= 0
    share_PD = share(ranking.score_PK[:, :depth], shown_PD)
    known_PD = shown_PD & (item_PD < len(takers_I))
    count_PD = (
        np.where(known_PD, takers_I[np.where(known_PD, item_PD, 0)], 0.0) if len(takers_I) else 0.0 * share_PD
    )
    score_PD = np.where(shown_PD, share_PD * (count_PD + 1.0) ** -power, -np.inf).astype(np.float32)
    order_PD = np.argsort(-score_PD, axis=1, kind="stable")
    places = ranking.item_PK.shape[1]
    rest_PR = np.broadcast_to(
        np.arange(order_PD.shape[1], places), (len(order_PD), places - order_PD.shape[1])
    )
    order_PK = np.concatenate([order_PD, rest_PR], axis=1)[:, :k]
    # below 0, in the order in which they came
    deeper_PR = np.where(
        ranking.item_PK[:, depth:] >= 0, -1.0 - np.arange(places - order_PD.shape[1]), -np.inf
    )
    score_PK = np.concatenate([score_PD, deeper_PR.astype(np.float32)], axis=1)
    return Ranking(
        item_PK=np.take_along_axis(ranking.item_PK, order_PK, axis=1),
        score_PK=np.take_along_axis(score_PK, order_PK, axis=1),
        sources=ranking.sources,
        source_PK=np.take_along_axis(ranking.source_PK, order_PK, axis=1),
    )


def share(score_PD: np.ndarray, shown_PD: np.ndarray) -> np.ndarray:
    """Return each score's lead over the last one shown as a share of the first one's, float32 [P, D]; 1 where all are equal."""
    if not score_PD.size:
        return np.zeros(score_PD.shape, np.float32)
    least_P = np.where(shown_PD, score_PD, np.inf).min(axis=1)
    lead_PD = np.where(shown_PD, score_PD - np.where(shown_PD[:, 0], least_P, 0.0)[:, None], 0.0)
    most_P = lead_PD[:, 0]
    return np.divide(
        lead_PD, most_P[:, None], out=np.ones(score_PD.shape), where=(most_P > 0)[:, None]
    ).astype(np.float32)


def affordable(
    ranking: Ranking,
    truth: Sequence[np.ndarray],
    takers_I: np.ndarray,
    *,
    keep: float,
    depth: int,
    k: int,
) -> tuple[float, tuple[dict[str, float], ...]]:
    """Return the largest power by which nDCG@k surely stays at `keep` of what it was, and what was tried.

    Surely: by one standard error of the paired difference.
    """
    taken_P = taken(truth)
    before_P = ndcg(hits(ranking.item_PK[:, :k], truth), taken_P, k)
    chosen, tried = 0.0, []
    for power in POWERS:
        after_P = ndcg(hits(balanced(ranking, takers_I, power, depth, k).item_PK, truth), taken_P, k)
        tried.append({"step": power, f"ndcg@{k}": float(after_P.mean())})
        spare_P = after_P - keep * before_P
        if power and float(spare_P.mean()) >= float(spare_P.std()) / np.sqrt(len(spare_P)):
            chosen = power
    return chosen, tuple(tried)
