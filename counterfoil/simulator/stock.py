"""What can be had on the days of a chunk, and how much it is in demand: draws by popularity.

Shapes: G days of the chunk, I items.
"""

from dataclasses import dataclass

import numpy as np

from counterfoil.simulator.calendar import Chunk
from counterfoil.simulator.world import World


@dataclass(frozen=True, kw_only=True)
class Stock:
    """Popularity on the days of a chunk: `flat` is the running sum on the shelf, day after day, each day adding up to 1."""

    first_day: int
    flat: np.ndarray
    items: int

    def draw(
        self, rng: np.random.Generator, day: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> np.ndarray:
        """Draw a shelf place by popularity from the places [start, stop) on each day; shapes broadcast."""
        row = (day - self.first_day) * self.items
        low = np.where(start > 0, self.flat[row + start - 1], day - self.first_day)
        high = self.flat[row + stop - 1]
        goal = low + rng.random(np.broadcast_shapes(day.shape, start.shape)) * (high - low)
        goal = np.minimum(
            goal, np.nextafter(high, -np.inf)
        )  # rounding must not lead past the last item that is there
        return np.searchsorted(self.flat, goal, side="right") - row


def stock(world: World, chunk: Chunk) -> Stock:
    """Return the popularity of items on the days of a chunk, in the order of the shelf."""
    flat_GI = np.empty((len(chunk.days), world.config.items))
    for row, day in enumerate(chunk.days):
        log_I = world.log_weights(int(day))
        sum_I = np.cumsum(np.exp(log_I - log_I.max())[world.shelf_I])
        flat_GI[row] = sum_I / sum_I[-1] + row
    return Stock(first_day=chunk.first_day, flat=flat_GI.ravel(), items=world.config.items)
