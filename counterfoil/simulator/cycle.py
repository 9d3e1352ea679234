"""Repurchase cycles: what is used up is bought again, each in its own rhythm. Planted, and then acted out chunk by chunk.

Shapes: J cycles, N purchases that come due.
"""

from dataclasses import dataclass, replace

import numpy as np

from counterfoil.simulator import calendar, wording
from counterfoil.simulator.calendar import Chunk
from counterfoil.simulator.chance import Stream, generator, hashed
from counterfoil.simulator.page import quantities
from counterfoil.simulator.visit import Rows, Visits, rows
from counterfoil.simulator.world import CHANNELS, World

SHARE = 0.03  # of all events, those of repurchase cycles
EVENTS = 3  # that one repurchase makes: view, cart, purchase
TAKEN = 0.9  # of the turns that come due
STORE = CHANNELS.index("store")


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Who buys what again and again: row j is due at first_day + n x period days, give or take 15% of a period."""

    person_J: np.ndarray
    item_J: np.ndarray
    period_J: np.ndarray
    first_J: np.ndarray


def plant(world: World) -> Cycles:
    """Plant the repurchase cycles: active people, items that are used up, the best liked of eight."""
    config, items, people = world.config, world.items, world.people
    rng = generator(config.seed, Stream.CYCLES)
    period_C = np.array([shelf[2] for shelf in wording.SHELVES[: world.categories]])
    used_up_I = np.flatnonzero((period_C[items.category_I] > 0) & (items.arrival_I == 0))
    typical_days = float(period_C[period_C > 0].mean())
    wanted = config.events * SHARE / EVENTS / max(config.days / typical_days, 0.25)
    count = min(int(wanted), 3 * config.people)
    share_P = np.cumsum(people.activity_P)
    person_J = np.searchsorted(share_P, rng.random(count) * share_P[-1], side="right").clip(
        max=config.people - 1
    )
    weight_U = np.cumsum(np.exp(items.log_weight_EI[0][used_up_I]))
    pick_J8 = np.searchsorted(weight_U, rng.random((count, 8)) * weight_U[-1], side="right")
    pick_J8 = used_up_I[pick_J8.clip(max=len(used_up_I) - 1)]
    best_J1 = world.logits(np.zeros(count, np.int64), person_J, pick_J8).argmax(axis=1)[:, None]
    item_J = np.take_along_axis(pick_J8, best_J1, axis=1)[:, 0]
    period_J = period_C[items.category_I[item_J]] * np.exp(0.2 * rng.standard_normal(count))
    first_J = people.arrival_P[person_J] + rng.random(count) * period_J
    return Cycles(person_J=person_J, item_J=item_J, period_J=period_J, first_J=first_J)


def due(cycles: Cycles, seed: int, first_day: int, last_day: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which cycles come due on these days (row numbers) and when, in days; one turn in ten is skipped."""
    low_J = np.maximum(np.floor((first_day - cycles.first_J) / cycles.period_J - 0.15), 0).astype(np.int64)
    high_J = np.ceil((last_day + 1 - cycles.first_J) / cycles.period_J + 0.15).astype(np.int64)
    count_J = np.maximum(high_J - low_J + 1, 0)
    row_N = np.repeat(np.arange(len(count_J)), count_J)
    turn_N = np.arange(len(row_N)) - np.repeat(np.cumsum(count_J) - count_J, count_J) + low_J[row_N]
    shift_N = np.where(turn_N > 0, 0.3 * hashed(seed, row_N, turn_N) - 0.15, 0)
    time_N = cycles.first_J[row_N] + (turn_N + shift_N) * cycles.period_J[row_N]
    kept_N = (time_N >= first_day) & (time_N < last_day + 1) & (hashed(seed + 1, row_N, turn_N) < TAKEN)
    return row_N[kept_N], time_N[kept_N]


def restock(
    world: World, chunk: Chunk, cycles: Cycles, first_session: int, rng: np.random.Generator
) -> list[Rows]:
    """Return the visits in which something that was used up is bought again: view, cart, purchase."""
    row_N, day_N = due(cycles, world.config.seed, chunk.first_day, chunk.last_day)
    mine_N = row_N % chunk.blocks == chunk.block
    row_N, day_N = row_N[mine_N], day_N[mine_N].astype(np.int64)
    person_N, item_N, count = cycles.person_J[row_N], cycles.item_J[row_N], len(row_N)
    visits = Visits(
        day_S=day_N,
        person_S=person_N,
        start_S=(calendar.hours(rng, count) * 3600e6).astype(np.int64),
        channel_S=np.where(rng.random(count) < 0.5, STORE, world.people.channel_P[person_N]).astype(np.int8),
        cut_SC=np.empty((count, 0)),
    )
    all_N, price_N, bought_N = np.arange(count), world.prices(day_N, item_N), quantities(rng, count)
    view_ms, dwell_ms = rng.integers(1_000, 20_000, count), rng.integers(2_000, 15_000, count)
    paid_ms = view_ms + dwell_ms + rng.integers(20_000, 200_000, count)
    made = [
        rows(world, visits, "view", all_N, view_ms, item=item_N, price=price_N, dwell=dwell_ms),
        rows(world, visits, "cart", all_N, view_ms + dwell_ms, item=item_N, price=price_N, quantity=bought_N),
        rows(world, visits, "purchase", all_N, paid_ms, item=item_N, price=price_N, quantity=bought_N),
    ]
    return [replace(part, session_N=part.session_N + first_session) for part in made]
