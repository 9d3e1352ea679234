"""The floor: the parts of one answer called directly, in one process and one thread.

    echo 6 | python -m bench.serving.floor HOME

The model is the very one of the bento. Encode a history of 50 (by arrays or by torch, whichever is quicker), retrieve 200 of all
items, gather 200 x 40 numbers from memory, rank by the bento's trees, re-rank 20 of 60 (maximal marginal relevance: Carbonell &
Goldstein, SIGIR 1998), write JSON. Nothing of a service is in it: no person is looked up, no signal computed from a history,
no rule applied, no receipt kept.
"""

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench.serving.home import MADE, settings_of
from bench.serving.load import percentiles
from bench.serving.shop import person_id
from counterfoil.pseudonym import pseudonym

ASKED, ROUNDS = 200, 6
LENGTH, CANDIDATES, POOL, SHOWN = 50, 200, 60, 20
DIVERSITY = 0.3  # weight of unlikeness against relevance
ENOUGH = 0.99  # recall from which a way counts as retrieval
WAYS = ("exact", "coarse", "graph")
READERS = ("arrays", "torch")  # ways to encode
PARTS = ("encode", "retrieve", "gather", "rank", "rerank", "json")


class Parts:
    """The parts, ready to be called."""

    def __init__(self, home: Path) -> None:
        import torch

        from bentos import snapshot
        from bentos.bundle import open_bundle
        from counterfoil import compiled
        from models import coarse
        from models.families import family

        torch.set_num_threads(1)
        self.torch = torch
        made = orjson.loads((home / MADE).read_bytes())
        bundle = open_bundle(home / "bentoml" / "bentos" / made["bento"].replace(":", "/"))
        self.model: Any = family(bundle.about["family"]).load(bundle.model)
        self.items = snapshot.read(bundle.data, bundle.about["as_of_us"])
        self.encoder = encoder = self.model.retrievers["sasrec"]
        self.network, self.embedding_ID = encoder.network, torch.from_numpy(encoder.embedding_ID)
        self.vector_ID = np.ascontiguousarray(encoder.embedding_ID)
        self.bias_I = encoder.bias_I
        self.trees = self.model.ranker.trees
        self.histories = histories(home, made, self.items.index)
        self.signal_IF = self._signals()
        length_I = np.linalg.norm(self.vector_ID, axis=1, keepdims=True)
        self.unit_ID = self.vector_ID / np.maximum(length_I, 1e-9)
        compiled.compile_all()
        self.coarse = coarse.Coarse(self.vector_ID, self.bias_I)
        self.graph = self._graph(home / f"bench-graph-{made['bento'].partition(':')[2]}")
        self.way, self.reader = WAYS[0], READERS[0]
        self.encode_ms = {reader: self._encoding(reader) for reader in READERS}
        self.reader = min(self.encode_ms, key=lambda reader: self.encode_ms[reader])
        self.recall = {way: self._recall(way) for way in WAYS}

    def encode(self, item_L: np.ndarray) -> np.ndarray:
        """Return the last state of a history, float32 [D]: by arrays, as the model itself does, or by torch."""
        if self.reader == "arrays":
            return self.encoder._read(item_L)[0]  # type: ignore[no-any-return]
        with self.torch.inference_mode():
            state_BLD = self.network(self.embedding_ID[self.torch.from_numpy(item_L)][None])
            return state_BLD[0, -1].numpy()  # type: ignore[no-any-return]

    def retrieve(self, state_D: np.ndarray) -> np.ndarray:
        """Return the 200 best items: of every product, of whole numbers first, or through a graph."""
        from models.family import best_of

        if self.way == "graph":
            return self.graph.search(np.append(state_D, np.float32(1.0))[None], CANDIDATES)[0][0]
        found = self.coarse.best(state_D, CANDIDATES) if self.way == "coarse" else None
        return best_of(self.vector_ID @ state_D + self.bias_I, CANDIDATES) if found is None else found[0]

    def gather(self, item_N: np.ndarray) -> np.ndarray:
        """Return the candidates' signals, float32 [200, 40]."""
        return self.signal_IF[item_N]

    def rank(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return the trees' scores, float32 [200]."""
        scores: np.ndarray = self.trees.inplace_predict(signal_NF, validate_features=False)
        return scores

    def rerank(self, item_N: np.ndarray, score_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return 20 of the 60 best, relevance weighed against likeness to what was chosen before."""
        best = np.argpartition(-score_N, POOL)[:POOL]
        item_C, score_C = item_N[best], score_N[best]
        alike_CC = self.unit_ID[item_C] @ self.unit_ID[item_C].T
        worth_C, most_C = (1 - DIVERSITY) * score_C, np.zeros(len(item_C), np.float32)
        chosen = []
        for _ in range(SHOWN):
            at = int((worth_C - DIVERSITY * most_C).argmax())
            chosen.append(at)
            worth_C[at] = -np.inf
            np.maximum(most_C, alike_CC[at], out=most_C)
        return item_C[chosen], score_C[chosen]

    def json(self, item_K: np.ndarray, score_K: np.ndarray) -> bytes:
        """Return what would be sent."""
        ids, titles = self.items.ids, self.items.titles
        shown = [
            {"item": ids[item], "title": titles[item], "score": score, "sources": ("sasrec",), "reasons": ()}
            for item, score in zip(item_K.tolist(), score_K.tolist(), strict=True)
        ]
        return orjson.dumps({"items": shown, "receipt": None, "rules": (), "degraded": ()})

    def answer(self, item_L: np.ndarray) -> bytes:
        """Return an answer to somebody with this history: all parts, one after another."""
        return self.timed(item_L)[0]

    def timed(self, item_L: np.ndarray) -> tuple[bytes, list[int]]:
        """Return an answer, and the moments between its parts (nanoseconds)."""
        clock = time.perf_counter_ns
        at = [clock()]
        state_D = self.encode(item_L)
        at.append(clock())
        item_N = self.retrieve(state_D)
        at.append(clock())
        signal_NF = self.gather(item_N)
        at.append(clock())
        score_N = self.rank(signal_NF)
        at.append(clock())
        item_K, score_K = self.rerank(item_N, score_N)
        at.append(clock())
        body = self.json(item_K, score_K)
        at.append(clock())
        return body, at

    def _signals(self) -> np.ndarray:
        """Return 40 numbers for every item: such as the model computes for some people's candidates, dealt out among all."""
        from models.data import Features, Interactions, Query
        from models.rank import pool

        rows = []
        for item_L in self.histories[:20]:
            query = Query(
                history=Interactions(
                    person_N=np.zeros(len(item_L), np.int32),
                    item_N=item_L.astype(np.int32),
                    time_N=np.arange(len(item_L), dtype=np.int64) * 86_400_000_000
                    + self.items.as_of_us
                    - 86_400_000_000 * 60,
                    weight_N=np.ones(len(item_L), np.float32),
                    people=1,
                    items=len(self.items),
                ),
                as_of_us=self.items.as_of_us,
                features=self._features(Features),
                content=self.items.content,
            )
            lists = [model.recommend(query, CANDIDATES) for model in self.model.retrievers.values()]
            rows.append(self.model._signals(pool.merge(lists, 1, len(self.items)), query))
        value_RF = np.ascontiguousarray(np.concatenate(rows), np.float32)
        return value_RF[np.random.default_rng(0).integers(0, len(value_RF), len(self.items))]

    def _features(self, kind: Any) -> Any:
        from feature_repo.transforms import ITEM_FEATURES, PAIR_FEATURES, PERSON_FEATURES

        return kind(
            person_names=PERSON_FEATURES,
            item_names=ITEM_FEATURES,
            pair_names=PAIR_FEATURES,
            person_PF=np.full((1, len(PERSON_FEATURES)), np.nan, np.float32),
            item_IF=self.items.item_IF,
            pair_person_N=np.zeros(0, np.int32),
            pair_item_N=np.zeros(0, np.int32),
            pair_NF=np.zeros((0, len(PAIR_FEATURES)), np.float32),
        )

    def _graph(self, kept: Path) -> Any:
        """Return a graph over the vectors, their bias one more dimension; built once, and kept."""
        from models import index

        if not kept.is_dir():
            sys.stderr.write("building a graph for the floor's retrieval ...\n")
            half = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", dir=kept.parent))
            index.Vectors(np.column_stack([self.vector_ID, self.bias_I]), exact=1).save(half)
            with suppress(OSError):  # the bare service builds one too, and was first
                half.rename(kept)
        return index.load(kept)

    def _encoding(self, reader: str) -> float:
        """Return what it takes to encode a history that way, the median in milliseconds."""
        self.reader = reader
        took = []
        for item_L in [*self.histories[:20], *self.histories]:
            began = time.perf_counter()
            self.encode(item_L)
            took.append(1e3 * (time.perf_counter() - began))
        return round(float(np.median(took[20:])), 4)

    def _recall(self, way: str) -> float:
        """Return which share of the 200 best is found that way."""
        shares = []
        for item_L in self.histories[:50]:
            state_D = self.encode(item_L)
            self.way = "exact"
            exact = self.retrieve(state_D)
            self.way = way
            shares.append(len(np.intersect1d(exact, self.retrieve(state_D))) / len(exact))
        return float(np.mean(shares))


def histories(home: Path, made: Mapping[str, Any], index: Mapping[str, int]) -> list[np.ndarray]:
    """Return the latest 50 items of those who are asked for, from the features that were built, int64 [50] each."""
    import pyarrow.parquet as pq

    from counterfoil import canonical
    from feature_repo.build import partition

    current = settings_of(home)
    path = partition(current.features, "person", canonical.utc_time(made["as_of"]))
    wanted = {pseudonym(name, current.pseudonym_key): name for name in names(made)}
    table = pq.read_table(path, columns=["person", "history_items"], filters=[("person", "in", list(wanted))])
    rows = zip(table["person"].to_pylist(), table["history_items"].to_pylist(), strict=True)
    found = {
        wanted[who]: np.array([index[item] for item in items[-LENGTH:]], np.int64) for who, items in rows
    }
    return [found[name] for name in names(made)]


def names(made: Mapping[str, Any]) -> list[str]:
    """Return the shop's own names of the people who are asked for here."""
    return [person_id(number) for number in range(min(made["people"], ASKED))]


def measure(parts: Parts, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return medians and more per part and of the sum, in milliseconds, by each way to retrieve; the quickest is the floor."""
    ways = {}
    for way in WAYS:
        parts.way = way
        ways[way] = _measured(parts, rounds)
    best = min((way for way in WAYS if parts.recall[way] >= ENOUGH), key=lambda way: ways[way]["sum"]["p50"])
    return {
        "parts": ways[best],
        "sum_ms": ways[best]["sum"]["p50"],
        "cpu_ms": ways[best]["sum"]["cpu"],
        "retrieval": best,
        "encoded_by": parts.reader,
        "encode_ms": parts.encode_ms,
        "recall@200": {way: round(found, 4) for way, found in parts.recall.items()},
        "other": {way: told for way, told in ways.items() if way != best},
        "items": len(parts.items),
        "signals": parts.signal_IF.shape[1],
        "trees": parts.trees.num_boosted_rounds(),
    }


def _measured(parts: Parts, rounds: int) -> dict[str, Any]:
    for item_L in parts.histories:
        parts.answer(item_L)
    moments: list[list[int]] = []
    busy = time.thread_time()
    for _ in range(rounds):
        moments += [parts.timed(item_L)[1] for item_L in parts.histories]
    busy = time.thread_time() - busy
    took_NP = np.diff(np.array(moments), axis=1) / 1e6
    found = {name: percentiles(took_N) for name, took_N in zip(PARTS, took_NP.T, strict=True)}
    return {**found, "sum": {**percentiles(took_NP.sum(axis=1)), "cpu": round(1000 * busy / len(took_NP), 4)}}


def main(arguments: Sequence[str]) -> None:
    """Load the home's bento, then measure as often as each line that comes in says, and answer it with a line."""
    from bentos.startup import settle

    parts = Parts(Path(arguments[0]))
    settle()
    for line in sys.stdin:
        sys.stdout.buffer.write(orjson.dumps(measure(parts, int(line))) + b"\n")
        sys.stdout.buffer.flush()
    os._exit(0)  # what native libraries say while they are taken down is nobody's business


if __name__ == "__main__":
    main(sys.argv[1:])
