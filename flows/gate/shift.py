"""How far two distributions lie apart: Jensen-Shannon divergence for categories, population stability index for bins."""

import numpy as np

NOTHING_LEFT = 10.0  # far beyond any bound, and finite


def js_bits(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of two arrays of counts [K], in bits: 0 same, 1 disjoint.

    When one of them is empty and the other is not, it is 1; when both are, 0. Lin 1991, eq. 4.1 with equal weights.
    """
    if one.sum() == 0 or other.sum() == 0:
        return float(one.sum() != other.sum())
    p_K, q_K = one / one.sum(), other / other.sum()
    middle_K = (p_K + q_K) / 2
    return float(max(0.0, (_kl_bits(p_K, middle_K) + _kl_bits(q_K, middle_K)) / 2))


def _kl_bits(p_K: np.ndarray, q_K: np.ndarray) -> float:
    there_K = p_K > 0
    return float(np.sum(p_K[there_K] * np.log2(p_K[there_K] / q_K[there_K])))


def psi(one: np.ndarray, other: np.ndarray) -> float:
    """Return the population stability index of two arrays of counts per bin [K]: sum (p - q) ln(p / q).

    Half a count is added to every bin, so that an empty bin gives a large number and not an infinity. When one of the two
    has no counts at all and the other has, it is NOTHING_LEFT: half counts alone would look like an even spread.
    """
    if one.sum() == 0 or other.sum() == 0:
        return 0.0 if one.sum() == other.sum() else NOTHING_LEFT
    p_K = (one + 0.5) / (one + 0.5).sum()
    q_K = (other + 0.5) / (other + 0.5).sum()
    return float(np.sum((p_K - q_K) * np.log(p_K / q_K)))
