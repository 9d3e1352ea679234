"""When people come: growth, seasons, hours, and how a shop's days are cut into chunks of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from counterfoil.simulator.config import ShopConfig

CHUNK_EVENTS = 250_000
CHUNK_CELLS = 2_000_000  # days x items: the popularity table of a chunk
WEEK = (0.90, 0.88, 0.92, 0.97, 1.08, 1.22, 1.03)  # Monday first
HOUR = (4, 2, 1, 1, 1, 2, 6, 14, 22, 28, 32, 36, 40, 36, 32, 32, 34, 40, 48, 56, 58, 46, 22, 0)
LATEST_HOUR = 22.5  # no visit starts later, so that none crosses midnight
GROWTH_PER_YEAR = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Consecutive whole days, or one block of the people on one day when a day is too large (`blocks` > 1)."""

    number: int
    first_day: int
    last_day: int
    block: int = 0
    blocks: int = 1

    @property
    def days(self) -> np.ndarray:
        """Day numbers, both ends included."""
        return np.arange(self.first_day, self.last_day + 1)


def busy(config: ShopConfig) -> np.ndarray:
    """Return the share of all visits that falls on each day: week, year and growth, float64 [days], sum 1."""
    days = np.arange(config.days)
    weekday = (days + config.start.weekday()) % 7
    year_day = (days + config.start.timetuple().tm_yday) % 365
    year = 1 + 0.25 * np.cos(2 * np.pi * (year_day - 345) / 365)  # highest in the middle of December
    share = np.array(WEEK)[weekday] * year * np.exp(np.log1p(GROWTH_PER_YEAR) * days / 365)
    return share / share.sum()


def chunks(config: ShopConfig) -> Iterator[Chunk]:
    """Yield the chunks of a shop in order: about CHUNK_EVENTS events each, whatever the size of the shop."""
    expected = busy(config) * config.events
    number, first, filled = 0, 0, 0.0
    for day in range(config.days):
        filled += expected[day]
        upcoming = expected[day + 1] if day + 1 < config.days else np.inf
        if filled + upcoming <= CHUNK_EVENTS and (day + 2 - first) * config.items <= CHUNK_CELLS:
            continue
        blocks = max(1, int(np.ceil(filled / CHUNK_EVENTS))) if first == day else 1
        for block in range(blocks):
            yield Chunk(number=number, first_day=first, last_day=day, block=block, blocks=blocks)
            number += 1
        first, filled = day + 1, 0.0


def hours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw when visits start, as hours since midnight below LATEST_HOUR."""
    edges = np.minimum(np.arange(len(HOUR) + 1), LATEST_HOUR)
    share = np.r_[0.0, np.cumsum(HOUR)] / sum(HOUR)
    return np.interp(rng.random(count), share, edges)
