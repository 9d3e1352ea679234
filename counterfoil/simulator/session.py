"""One chunk of the past: who visits, what they are shown, what they do. Vectorised; no state passes between chunks."""

from dataclasses import fields

import numpy as np

from counterfoil.simulator import cycle, listing, page
from counterfoil.simulator.calendar import Chunk
from counterfoil.simulator.stock import stock
from counterfoil.simulator.visit import Rows, visits
from counterfoil.simulator.world import World

PILOT_VISITS = 1500


def visits_rate(world: World, rng: np.random.Generator) -> float:
    """Return the mean number of events of a visit, measured on a pilot of three days."""
    days = np.unique(np.linspace(0, world.config.days - 1, 3).astype(int))
    pilots = [Chunk(number=0, first_day=int(day), last_day=int(day)) for day in days]
    events = sum(len(generate(world, pilot, np.array([PILOT_VISITS]), None, rng)) for pilot in pilots)
    return events / (PILOT_VISITS * len(pilots))


def generate(
    world: World, chunk: Chunk, count_G: np.ndarray, cycles: cycle.Cycles | None, rng: np.random.Generator
) -> Rows:
    """Return the events of a chunk, sorted by time; `count_G` says how many visits there are on each of its days."""
    goods = stock(world, chunk)
    guests = visits(world, chunk, count_G, rng)
    parts, clicked = listing.lists(world, goods, guests, rng)
    opened = page.opened(world, goods, guests, rng)
    pages = tuple(np.concatenate(both) for both in zip(clicked, opened, strict=True))
    parts += page.outcomes(world, guests, pages, rng)
    if cycles is not None:
        parts += cycle.restock(world, chunk, cycles, len(guests), rng)
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)}
    order_N = np.argsort(columns["time_N"], kind="stable")
    return Rows(**{name: column_N[order_N] for name, column_N in columns.items()})
