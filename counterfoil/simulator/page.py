"""Pages that people open, and what that leads to: dwell, favourite, cart, purchase, rating.

Shapes: S sessions, V views, M pages weighed up before one is opened. Pages travel as (session, item, offset in ms).
"""

import numpy as np

from counterfoil.simulator import behaviour
from counterfoil.simulator.stock import Stock
from counterfoil.simulator.visit import Rows, Visits, categories, rows
from counterfoil.simulator.world import World

VIEWS = 4.0  # mean number of pages opened without a list
CHOICES = 4


def opened(world: World, stock: Stock, visits: Visits, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return the pages that people open of themselves, as (session, item, offset ms): the best of a few by taste."""
    count_S = rng.geometric(1 / (VIEWS + 1), len(visits)) - 1
    session_V = np.repeat(np.arange(len(visits)), count_S)
    category_V1 = categories(visits.cut_SC[session_V], rng, 1)
    start_VM = np.repeat(world.type_start[category_V1 * world.kinds], CHOICES, axis=1)
    stop_VM = np.repeat(world.type_start[(category_V1 + 1) * world.kinds], CHOICES, axis=1)
    day_V = visits.day_S[session_V]
    item_VM = world.shelf_I[stock.draw(rng, day_V[:, None], start_VM, stop_VM)]
    logit_VM = world.logits(world.epoch(day_V), visits.person_S[session_V], item_VM)
    chosen_V1 = (logit_VM - np.log(rng.standard_exponential(logit_VM.shape))).argmax(axis=1)[:, None]
    step_V = np.arange(len(session_V)) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    offset_V = 5_000 + step_V * 45_000 + rng.integers(0, 40_000, len(session_V))
    return session_V, np.take_along_axis(item_VM, chosen_V1, 1)[:, 0], offset_V


def outcomes(
    world: World, visits: Visits, pages: tuple[np.ndarray, ...], rng: np.random.Generator
) -> list[Rows]:
    """Return the views of opened pages and what they led to."""
    session_V, item_V, offset_V = pages
    day_V = visits.day_S[session_V]
    logit_V = world.logits(world.epoch(day_V), visits.person_S[session_V], item_V)
    outcome = behaviour.outcomes(rng, behaviour.attraction(logit_V))
    price_V = world.prices(day_V, item_V)
    after_V = offset_V + outcome.dwell_N
    paid_V = after_V + rng.integers(30_000, 400_000, len(item_V))
    rated_V = paid_V + rng.integers(300_000, 2_000_000, len(item_V))
    kinds: tuple[tuple[str, np.ndarray, np.ndarray], ...] = (
        ("view", np.ones(len(item_V), bool), offset_V),
        ("favourite", outcome.favourite_N, after_V - outcome.dwell_N // 3),
        ("cart", outcome.cart_N, after_V),
        ("purchase", outcome.purchase_N, paid_V),
        ("rating", outcome.rated_N, rated_V),
    )
    bought_V = quantities(rng, len(item_V))
    amount = {"cart": bought_V, "purchase": bought_V, "rating": outcome.rating_N}
    made = []
    for kind, mask_V, offset in kinds:
        extra = {"quantity": amount[kind][mask_V]} if kind in amount else {}
        if kind in ("view", "cart", "purchase"):
            extra["price"] = price_V[mask_V]
        if kind == "view":
            extra["dwell"] = outcome.dwell_N
        made.append(
            rows(world, visits, kind, session_V[mask_V], offset[mask_V], item=item_V[mask_V], **extra)
        )
    return made


def quantities(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw how many of a thing are taken: mostly one."""
    return np.minimum(rng.geometric(0.8, count), 6).astype(np.float64)
