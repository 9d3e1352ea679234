"""Landed events as families take them, without features: for holding families and metrics against figures that others published.

What a shop learns from goes through a dataset version instead (flows/snapshot.py); sets without real times have no such split.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from counterfoil.settings import Settings
from models.data import DAY_US, Features, Interactions, Query, TrainingSet
from tests.conftest import SHARED


def real_set(name: str) -> Path:
    """Return the folder of a real set; the test is skipped, and says so, when it is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/data/{name}, which is not here")
    return folder


@dataclass(frozen=True)
class History:
    """Interactions and what their numbers stand for, both in sorted order."""

    interactions: Interactions
    person_ids: np.ndarray
    item_ids: np.ndarray


def landed_history(settings: Settings, kind: str) -> History:
    """Read every landed event of one kind; items are numbered over the catalogue, people over those who did anything."""
    with duckdb.connect(config={"threads": settings.threads}) as con:
        con.execute("SET TimeZone = 'UTC'")
        events = f"read_parquet('{settings.landing}/events/*/events.parquet', hive_partitioning = false)"
        items = f"(SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM '{settings.landing}/items.parquet')"
        rows = con.sql(
            "SELECT dense_rank() OVER (ORDER BY e.person) - 1 AS person, i.number AS item, epoch_us(e.time) AS time,"
            f" e.person AS id FROM {events} e JOIN {items} i ON i.id = e.item WHERE e.kind = '{kind}'"
            " ORDER BY 1, 3, 2"
        ).fetchnumpy()
        item_ids = con.sql(f"SELECT id FROM {items} ORDER BY number").fetchnumpy()["id"]
    person_N = rows["person"].astype(np.int32)
    first_P = np.flatnonzero(np.diff(person_N, prepend=-1))
    return History(
        interactions=Interactions(
            person_N=person_N,
            item_N=rows["item"].astype(np.int32),
            time_N=rows["time"].astype(np.int64),
            weight_N=np.ones(len(person_N), np.float32),
            people=len(first_P),
            items=len(item_ids),
        ),
        person_ids=np.asarray(rows["id"])[first_P],
        item_ids=np.asarray(item_ids),
    )


def no_features(people: int, items: int) -> Features:
    """Return features of nothing: families then go by what they learned at fit."""
    return Features(
        person_names=(),
        item_names=(),
        pair_names=(),
        person_PF=np.zeros((people, 0), np.float32),
        item_IF=np.zeros((items, 0), np.float32),
        pair_person_N=np.zeros(0, np.int32),
        pair_item_N=np.zeros(0, np.int32),
        pair_NF=np.zeros((0, 0), np.float32),
    )


def training_on(interactions: Interactions) -> TrainingSet:
    """Return everything as a training set without cut-offs."""
    return TrainingSet(
        interactions=interactions,
        until_us=int(interactions.time_N.max()) + 1,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(interactions.people, interactions.items),
    )


def question(history: Interactions, *, exclude_history: bool = False) -> Query:
    """Return the question for everybody in `history`, asked a day after each one's last event.

    Only the order is known in these sets, so events are laid a day apart: a half-life in days then is one in steps.
    """
    lengths_P = np.diff(history.indptr)
    to_the_end_N = np.repeat(history.indptr[1:], lengths_P) - np.arange(len(history))
    as_of_us = 20_000 * DAY_US
    laid = replace(history, time_N=as_of_us - to_the_end_N * DAY_US)
    rows = zip(history.indptr, history.indptr[1:], strict=False)
    return Query(
        history=laid,
        as_of_us=as_of_us,
        features=no_features(history.people, history.items),
        exclude=tuple(history.item_N[a:b] for a, b in rows) if exclude_history else None,
    )


@dataclass(frozen=True)
class LeaveOneOut:
    """The papers' split: everybody's last item is asked for; nothing was learned from it, nor from the last but one."""

    training: TrainingSet
    query: Query
    truth: tuple[np.ndarray, ...]
    takers_I: np.ndarray


def leave_one_out(history: Interactions) -> LeaveOneOut:
    """Split off the last item (asked for) and the last but one (for tuning, in the papers); what was taken is not asked for."""
    from_the_end_N = np.repeat(history.indptr[1:], np.diff(history.indptr)) - np.arange(len(history))
    known = history.where(from_the_end_N > 1)
    learned = history.where(from_the_end_N > 2)
    last_P = history.indptr[1:] - 1
    return LeaveOneOut(
        training=training_on(learned),
        query=question(known, exclude_history=True),
        truth=tuple(history.item_N[last_P][:, None]),
        takers_I=known.matrix().getnnz(axis=0),
    )
