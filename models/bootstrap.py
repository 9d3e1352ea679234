"""Intervals of means by resampling units, all rows together so that they stay paired. What to make of them: models/decide.py.

Shapes: C rows, U units, R resamples.
"""

import numpy as np

RESAMPLES = 4000
DRAWS_AT_ONCE = 4_000_000


def resampled(value_CU: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the rows' means over units drawn with replacement, the same units for all rows, float64 [R, C].

    Every value must be finite. Time grows with units x resamples, memory is bounded.
    """
    units = value_CU.shape[1]
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // units)
    means = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn_RU = random.integers(units, size=(rows, units)) + np.arange(rows)[:, None] * units
        count_RU = np.bincount(drawn_RU.ravel(), minlength=rows * units).reshape(rows, units)
        means.append(count_RU @ value_CU.T / units)
    return np.concatenate(means)


def intervals(value_CU: np.ndarray, confidence: float, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return percentile bootstrap intervals of the rows' means, each by itself, float64 [C, 2].

    Efron and Tibshirani 1993, chapter 13.
    """
    return percentile(resampled(value_CU, seed, resamples), confidence)


def percentile(mean_RC: np.ndarray, confidence: float) -> np.ndarray:
    """Return the middle `confidence` of resampled means, each row by itself, float64 [C, 2]."""
    tail = (1 - confidence) / 2
    return np.quantile(mean_RC, [tail, 1 - tail], axis=0).T


def joint(mean_C: np.ndarray, mean_RC: np.ndarray, confidence: float, counted_C: np.ndarray) -> np.ndarray:
    """Return intervals of means that hold together for the rows that are counted, float64 [C, 2].

    Romano and Wolf 2005 (max-T): each row's deviations are taken in its own standard errors, and the bounds are the
    quantiles of the most extreme of the counted rows per resample. Rows that move together cost less than by Bonferroni, and
    one row alone has its percentile interval. A row that is not counted gets bounds as wide, or its own if that is wider.
    """
    deviation_RC = mean_RC - mean_C
    error_C = deviation_RC.std(axis=0)
    # A row that never varies deviates by nothing; what is left of it in the last digit is no deviation.
    varies_C = error_C > 1e-12 * np.maximum(np.abs(mean_C), 1.0)
    in_errors_RC = np.divide(
        deviation_RC,
        error_C,
        out=np.zeros_like(deviation_RC),
        where=np.broadcast_to(varies_C, deviation_RC.shape),
    )
    own_C2 = percentile(in_errors_RC, confidence)
    if counted_C.any():
        low_R, high_R = in_errors_RC[:, counted_C].min(axis=1), in_errors_RC[:, counted_C].max(axis=1)
        tail = (1 - confidence) / 2
        bounds = np.array([np.quantile(low_R, tail), np.quantile(high_R, 1 - tail)])
        own_C2 = np.stack([np.minimum(own_C2[:, 0], bounds[0]), np.maximum(own_C2[:, 1], bounds[1])], axis=1)
    return mean_C[:, None] + own_C2 * np.where(varies_C, error_C, 0.0)[:, None]
