"""Intervals of means by resampling units, all rows together so that they stay paired. What to make of them: models/decide.py.

Shapes: C rows, U units, R resamples.
"""

import numpy as np

RESAMPLES = 4000
DRAWS_AT_ONCE = 4_000_000


def intervals(value_CU: np.ndarray, confidence: float, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return percentile bootstrap intervals of the rows' means, float64 [C, 2]; every value must be finite.

    Efron and Tibshirani 1993, chapter 13. Time grows with units x resamples, memory is bounded.
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
    tail = (1 - confidence) / 2
    return np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0).T
