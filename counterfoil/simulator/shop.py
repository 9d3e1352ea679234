"""The past of a shop, written to a folder: chunk by chunk in bounded memory, the same bytes for the same config."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.contracts import EVENT
from counterfoil.errors import InputError
from counterfoil.simulator import calendar, cycle, saboteur, session, table, world
from counterfoil.simulator.chance import Stream, generator
from counterfoil.simulator.config import ShopConfig
from counterfoil.simulator.truth import write_truth

PART_ROWS = 4_000_000
FIRST_EXTRA = (
    1_000_000_000_000  # faults number the events that they add from here, so that all others keep their ids
)
OWN = {"events", "items.parquet", "people.parquet", "truth"}
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    """What was written: where, how much, which faults, in how many seconds."""

    folder: Path
    events: int
    items: int
    people: int
    parts: tuple[Path, ...]
    faults: tuple[saboteur.Fault, ...]
    seconds: float


def simulate(config: ShopConfig, folder: Path, progress: Progress | None = None) -> Simulated:
    """Write a shop's past to `folder`: events/part-*.parquet, items.parquet, people.parquet and truth/.

    `progress` is told (events so far, events wanted) after each chunk. A shop that lies in the folder is replaced once
    the new one is whole; InputError when anything else lies there.
    """
    began = perf_counter()
    folder = folder.resolve()
    _refuse_foreign(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "events").mkdir(parents=True)
    shop = world.build(config)
    spoiler = _spoiler(config)
    cycles = cycle.plant(shop)
    count, parts = _write_events(partial / "events", _tables(shop, cycles, spoiler, progress))
    pq.write_table(table.items(shop), partial / "items.parquet", compression="zstd")
    pq.write_table(table.people(shop), partial / "people.parquet", compression="zstd")
    faults = spoiler.account()
    write_truth(partial / "truth", shop, cycles, faults, count)
    _replace(partial, folder)
    return Simulated(
        folder=folder,
        events=count,
        items=config.items,
        people=config.people,
        parts=tuple(folder / "events" / name for name in parts),
        faults=faults,
        seconds=perf_counter() - began,
    )


def _spoiler(config: ShopConfig) -> saboteur.Saboteur:
    rng = generator(config.seed, Stream.FAULT)
    days = saboteur.days_of(config.faults, config.days, config.fault_day, rng)
    end_us = int(config.day_start(config.days).timestamp()) * 1_000_000
    return saboteur.Saboteur(days, seed=config.seed, rows=config.fault_rows, end_us=end_us)


def _tables(
    shop: world.World, cycles: cycle.Cycles, spoiler: saboteur.Saboteur, progress: Progress | None
) -> Iterator[pa.Table]:
    """Yield the events chunk by chunk, and last those that come late."""
    config, press = shop.config, table.Press(shop)
    expected = _visits_per_day(shop, cycles)
    first, extra = 0, FIRST_EXTRA

    def fresh_ids(count: int) -> pa.Array:
        nonlocal extra
        extra += count
        return press.ids(extra - count, count)

    for chunk in calendar.chunks(config):
        rng = generator(config.seed, Stream.CHUNK, chunk.number)
        count_G = rng.poisson(expected[chunk.days] / chunk.blocks)
        rows = session.generate(shop, chunk, count_G, cycles, rng)
        events = press.events(rows, first, chunk.number)
        first += len(events)
        events = spoiler.strike(events, chunk.days, press.days(rows), chunk.block, fresh_ids)
        del rows  # nothing of a chunk is held while the next one is made
        yield events
        del events
        if progress is not None:
            progress(first, config.events)
    if spoiler.late:
        yield pa.concat_tables(spoiler.late).sort_by("time")


def _visits_per_day(shop: world.World, cycles: cycle.Cycles) -> np.ndarray:
    """Return the mean number of visits on each day, so that about the wanted number of events comes out."""
    config = shop.config
    rate = session.visits_rate(shop, generator(config.seed, Stream.PILOT))
    turns = np.maximum(config.days - cycles.first_J, 0) / cycles.period_J * cycle.TAKEN
    free = max(config.events - float(turns.sum()) * cycle.EVENTS, config.events * 0.5)
    return calendar.busy(config) * free / rate


def _write_events(folder: Path, tables: Iterator[pa.Table]) -> tuple[int, list[str]]:
    """Write tables as row groups of few large files; return the number of rows and the files' names."""
    names: list[str] = []
    writer: pq.ParquetWriter | None = None
    total = filled = 0
    for events in tables:
        if writer is None or filled + len(events) > PART_ROWS:
            if writer is not None:
                writer.close()
            names.append(f"part-{len(names):05d}.parquet")
            writer, filled = _writer(folder / names[-1]), 0
        writer.write_table(events, row_group_size=max(len(events), 1))
        total, filled = total + len(events), filled + len(events)
        del events
    if writer is not None:
        writer.close()
    return total, names


def _writer(path: Path) -> pq.ParquetWriter:
    plain = [name for name in EVENT.names if name not in ("id", "session", "time")]
    return pq.ParquetWriter(
        path, EVENT.arrow(), compression="zstd", compression_level=1, use_dictionary=plain
    )


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the simulated shop")
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there and (there - OWN or not (folder / "truth" / "truth.json").is_file()):
        raise InputError(f"{folder} holds something else than a simulated shop; name an empty folder")


def _replace(partial: Path, folder: Path) -> None:
    """Put the new shop where the old one lies, as a whole: a crash leaves the old one, the new one or none."""
    for path in sorted(partial.rglob("*.*")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
