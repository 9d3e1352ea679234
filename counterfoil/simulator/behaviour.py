"""How a person reacts: attraction, click, dwell, favourite, cart, purchase, rating. Used by the past and by live people.

Click model: examination hypothesis (Craswell et al. 2008): P(click) = P(position is examined) x P(item attracts).
"""

from dataclasses import dataclass

import numpy as np

FAVOURITE = 0.06  # x attraction, of a view
CART = 0.17  # x attraction, of a view
PURCHASE_LOW, PURCHASE_HIGH = 0.35, 0.80  # of a cart, at attraction 0 and 1
RATED = 0.20  # of a purchase
RELEVANCE = np.array(
    (0.25, 0.7, 1.0)
)  # x attraction in answers to a search: another kind; the kind; kind and adjective too


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What N views led to. `dwell_N` in ms, `rating_N` 1..5; a purchase implies a cart, a rating a purchase."""

    dwell_N: np.ndarray
    favourite_N: np.ndarray
    cart_N: np.ndarray
    purchase_N: np.ndarray
    rated_N: np.ndarray
    rating_N: np.ndarray


def attraction(logit_N: np.ndarray) -> np.ndarray:
    """Return the probability that an item attracts once it is examined: the logistic of the true preference."""
    return 1.0 / (1.0 + np.exp(-logit_N))


def clicks(rng: np.random.Generator, attraction_N: np.ndarray, examination_N: np.ndarray) -> np.ndarray:
    """Draw which shown items are clicked, bool [N]."""
    return rng.random(len(attraction_N)) < attraction_N * examination_N


def outcomes(rng: np.random.Generator, attraction_N: np.ndarray) -> Outcome:
    """Draw what views of these attractions lead to."""
    count = len(attraction_N)
    cart_N = rng.random(count) < CART * attraction_N
    buys_N = rng.random(count) < PURCHASE_LOW + (PURCHASE_HIGH - PURCHASE_LOW) * attraction_N
    purchase_N = cart_N & buys_N
    return Outcome(
        dwell_N=dwell(rng, attraction_N),
        favourite_N=rng.random(count) < FAVOURITE * attraction_N,
        cart_N=cart_N,
        purchase_N=purchase_N,
        rated_N=purchase_N & (rng.random(count) < RATED),
        rating_N=np.clip(np.rint(2.2 + 2.6 * attraction_N + rng.normal(0, 0.6, count)), 1, 5),
    )


def dwell(rng: np.random.Generator, attraction_N: np.ndarray) -> np.ndarray:
    """Draw how long views last, int64 ms: log-normal, about three times as long for what attracts most."""
    log_ms_N = 9.0 + 1.1 * attraction_N + 0.7 * rng.standard_normal(len(attraction_N))
    return np.minimum(np.exp(log_ms_N), 900_000).astype(np.int64)
