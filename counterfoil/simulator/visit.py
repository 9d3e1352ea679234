"""Who visits in a chunk and when, what shelves they walk to, and the rows that their doings become.

Shapes: S sessions, N events, G days of the chunk, C categories.
"""

from dataclasses import dataclass

import numpy as np

from counterfoil.contracts import KINDS
from counterfoil.simulator import calendar
from counterfoil.simulator.calendar import Chunk
from counterfoil.simulator.world import World

DAY_US, SECOND_US = 86_400_000_000, 1_000_000
AFFINITY = 2.5  # how strongly taste steers which shelf a person walks to
LONGEST_S = 4_800
KIND = {kind: code for code, kind in enumerate(KINDS)}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Events as parallel columns: codes and numbers; -1 and NaN stand for absent. `session_N` numbers the chunk's visits."""

    time_N: np.ndarray
    person_N: np.ndarray
    kind_N: np.ndarray
    session_N: np.ndarray
    item_N: np.ndarray
    query_N: np.ndarray
    position_N: np.ndarray
    dwell_N: np.ndarray
    quantity_N: np.ndarray
    price_N: np.ndarray
    channel_N: np.ndarray

    def __len__(self) -> int:
        return len(self.time_N)


@dataclass(frozen=True, kw_only=True)
class Visits:
    """The visits of a chunk. `cut_SC` is the cumulative share of each shelf in what a person walks to."""

    day_S: np.ndarray
    person_S: np.ndarray
    start_S: np.ndarray
    channel_S: np.ndarray
    cut_SC: np.ndarray

    def __len__(self) -> int:
        return len(self.day_S)


def visits(world: World, chunk: Chunk, count_G: np.ndarray, rng: np.random.Generator) -> Visits:
    """Draw the visits of a chunk: people by activity among those who have arrived, hours by the clock's habits."""
    day_S = np.repeat(chunk.days, count_G)
    share_P = np.r_[0.0, np.cumsum(world.people.activity_P)]
    there_G = np.searchsorted(world.people.arrival_P, chunk.days, side="right")
    share_S = (chunk.block + rng.random(len(day_S))) / chunk.blocks * np.repeat(share_P[there_G], count_G)
    person_S = np.searchsorted(share_P, share_S, side="right") - 1
    person_S = np.minimum(person_S, np.repeat(there_G, count_G) - 1)
    own_S = world.people.channel_P[person_S]
    other_S = rng.integers(0, 2, len(day_S)).astype(np.int8)
    return Visits(
        day_S=day_S,
        person_S=person_S,
        start_S=(calendar.hours(rng, len(day_S)) * 3600e6).astype(np.int64),
        channel_S=np.where(rng.random(len(day_S)) < 0.8, own_S, other_S),
        cut_SC=_affinity(world, day_S, person_S),
    )


def _affinity(world: World, day_S: np.ndarray, person_S: np.ndarray) -> np.ndarray:
    """Return the running share of each category in what these people walk to, float32 [S, C], last column 1."""
    tastes = world.config.tastes
    taste_SD = world.people.vector_EPK[world.epoch(day_S), person_S, :tastes]
    log_SC = np.einsum("sd,cd->sc", taste_SD, (AFFINITY / 3 * world.items.centroid_CD).astype(np.float32))
    days, inverse_S = np.unique(day_S, return_inverse=True)
    size_GC = np.array([world.log_categories(int(day)) for day in days], np.float32).reshape(
        -1, world.categories
    )
    cut_SC = np.cumsum(np.exp(log_SC + size_GC[inverse_S]), axis=1)
    return cut_SC / cut_SC[:, -1:]


def categories(cut_NC: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
    """Draw `width` categories for each row, int64 [N, width]."""
    draw_NM = rng.random((len(cut_NC), width), np.float32)
    code_NM = (draw_NM[:, :, None] >= cut_NC[:, None, :]).sum(axis=2)
    return np.minimum(code_NM, cut_NC.shape[1] - 1)


def rows(
    world: World,
    visits: Visits,
    kind: str,
    session_N: np.ndarray,
    offset_N: np.ndarray,
    *,
    item: np.ndarray | None = None,
    query: np.ndarray | None = None,
    position: np.ndarray | None = None,
    dwell: np.ndarray | None = None,
    quantity: np.ndarray | None = None,
    price: np.ndarray | None = None,
) -> Rows:
    """Return events of one kind; `offset_N` counts ms since the visit began and is cut off at LONGEST_S."""
    count = len(session_N)
    none, nothing = np.full(count, -1, np.int32), np.full(count, np.nan)
    offset_us = np.minimum(offset_N, LONGEST_S * 1000) * 1000
    start_us = int(world.config.start.timestamp()) * SECOND_US
    return Rows(
        time_N=start_us + visits.day_S[session_N] * DAY_US + visits.start_S[session_N] + offset_us,
        person_N=visits.person_S[session_N].astype(np.int32),
        kind_N=np.full(count, KIND[kind], np.int8),
        session_N=session_N.astype(np.int64),
        item_N=none if item is None else item.astype(np.int32),
        query_N=none if query is None else query.astype(np.int32),
        position_N=none if position is None else position.astype(np.int32),
        dwell_N=none if dwell is None else dwell.astype(np.int32),
        quantity_N=nothing if quantity is None else quantity,
        price_N=nothing if price is None else price,
        channel_N=visits.channel_S[session_N].astype(np.int8),
    )
