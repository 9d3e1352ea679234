"""Reasons of a bento held against its own answers to real people, as a partition of the home's features has them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq

from bentos import startup
from bentos.bundle import open_bundle
from bentos.recommend import faithful
from bentos.recommend.asked import Question, received
from bentos.recommend.faithful import Case
from bentos.recommend.flow import Answers
from bentos.recommend.person import Person, Recent
from bentos.recommend.request import Route, parse
from flows.recall import _rows


def people(partition: Path, count: int) -> Iterator[Person]:
    """Yield so many people, evenly spread, as they were when the partition was built."""
    names = sorted(pq.read_table(partition, columns=["person"])["person"].to_pylist())
    drawn = [names[at] for at in np.linspace(0, len(names) - 1, count).astype(int)]
    for _, row in _rows(partition, drawn):
        yield Person(
            features={name: np.nan if value is None else value for name, value in row["features"].items()},
            item_ids=tuple(row["items"]),
            time_us_N=np.array(row["times_us"], np.int64),
            quantity_N=np.array(row["quantities"], np.float32),
            affinity=row["affinity"],
        )


def cases(bento: Path, partition: Path, at: str, count: int) -> dict[str, tuple[int, float, float]]:
    """Return the shares by kind of answers to people, to people who look for new things, to carts and to sessions."""
    answers, random = Answers(startup.parse(open_bundle(bento))), np.random.default_rng(0)
    popular = [answers.items.ids[item] for item in answers.items.popular_I[:2000].tolist()]
    now_us = round(datetime.fromisoformat(at).timestamp() * 1e6)

    def asked(route: Route = "recommend", **body: Any) -> Question:
        content = orjson.dumps({"context": {"time": at}, **body})
        return received(parse(content, route), datetime.now(UTC), "key", route)

    found: list[Case] = []
    for person in people(partition, count):
        cart = random.choice(person.item_ids, min(5, len(person.item_ids)), replace=False).tolist()
        seen = Recent(
            item_ids=tuple(random.choice(popular, 5, replace=False).tolist()),
            kinds=("view",) * 5,
            time_us_N=now_us - 60_000_000 * np.arange(5, 0, -1),
            quantity_N=np.ones(5, np.float32),
            here_N=np.ones(5, bool),
        )
        found += faithful.cases(answers, asked(), person, random, 10)
        found += faithful.cases(answers, asked(filters={"exclude_bought": True}), person, random, 10)
        found += faithful.cases(answers, asked("cart", items=cart), person, random, 10)
        found += faithful.cases(answers, asked("next"), Person(recent=seen), random, 10)
    return faithful.shares(found)
