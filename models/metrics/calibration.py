"""Whether lists keep to the mix of categories that people had before (Steck: Calibrated recommendations, RecSys 2018).

Shapes: P units, K list length, I items, N interactions, E pairs of a unit and a category of its history.
"""

import numpy as np

from models.data import Interactions

SMOOTHING = 0.01  # Steck's alpha: this share of the history's mix goes into the list's, so that nothing is divided by zero


def miscalibration(item_PK: np.ndarray, history: Interactions, category_I: np.ndarray) -> np.ndarray:
    """Return per unit how far the list's mix of categories is from the history's: Kullback-Leibler, in nats; 0 is calibrated.

    Steck 2018, equation 6: sum over categories of p log(p / q~), q~ = (1 - .01) q + .01 p. p is the share of the history's
    interactions (each counts once), q the share of the list's items. Items of no category (-1) are left out; NaN for a
    unit whose history or list has no categorised item.
    """
    units, categories = len(item_PK), int(category_I.max(initial=-1)) + 1
    if not categories:
        return np.full(units, np.nan)
    had_N = category_I[history.item_N]
    had_N = history.person_N[had_N >= 0].astype(np.int64) * categories + had_N[had_N >= 0]
    shown_PK = np.where(item_PK >= 0, category_I[item_PK], -1)
    row_M, place_M = np.nonzero(shown_PK >= 0)
    shown_M = row_M * categories + shown_PK[row_M, place_M]
    key_E, had_E = np.unique(had_N, return_counts=True)
    key_F, shown_F = np.unique(shown_M, return_counts=True)
    person_E = key_E // categories
    had_P = np.bincount(person_E, had_E, minlength=units)
    shown_P = np.bincount(row_M, minlength=units)
    p_E = had_E / had_P[person_E]
    at_E = np.minimum(np.searchsorted(key_F, key_E), max(len(key_F) - 1, 0))
    listed_E = np.where(key_F[at_E] == key_E, shown_F[at_E], 0) if len(key_F) else np.zeros(len(key_E))
    q_E = listed_E / np.maximum(shown_P[person_E], 1)
    divergence_E = p_E * np.log(p_E / ((1 - SMOOTHING) * q_E + SMOOTHING * p_E))
    total_P = np.bincount(person_E, divergence_E, minlength=units)
    return np.where((had_P > 0) & (shown_P > 0), total_P, np.nan)
