"""Fit one peer on a written split and write its top lists; run by the peers' own Python, so nothing of ours is imported.

    python fit.py PEER FOLDER

FOLDER holds `learned.parquet` and `known.parquet` (person, item, step: ascending within a person), and `asked.parquet` (the
person of each row of the trial). Writes `lists.parquet` (row, rank from 1, item) and `cost.json`. Nobody is asked for
what they had. Settings are those that the libraries' authors publish or default to; how long networks learn stands in `EPOCHS`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix

K = 10
Answer = Callable[[np.ndarray], np.ndarray]


def rectools_sasrec(learned: pd.DataFrame, known: pd.DataFrame, items: int) -> Answer:
    """RecTools' SASRec with sampled softmax; sizes as its authors' benchmark has them for sets of this size."""
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    def dataset(table: pd.DataFrame) -> Dataset:
        return Dataset.construct(
            pd.DataFrame(
                {
                    Columns.User: table.person,
                    Columns.Item: table.item,
                    Columns.Weight: 1.0,
                    Columns.Datetime: pd.to_datetime(table.step, unit="s"),
                }
            )
        )

    model = SASRecModel(
        n_factors=64,
        n_blocks=1,
        n_heads=1,
        session_max_len=50,
        dropout_rate=0.2,
        loss="sampled_softmax",
        n_negatives=256,
        lr=1e-3,
        epochs=EPOCHS["rectools-sasrec"],
        batch_size=128,
        deterministic=True,
        recommend_torch_device="cpu",
        verbose=0,
    )
    model.fit(dataset(learned))

    def answer(person_P: np.ndarray) -> np.ndarray:
        asked = dataset(known)
        trained = set(learned.person.unique().tolist())
        hot = np.array([person for person in person_P if person in trained])
        table = model.recommend(hot, asked, k=K, filter_viewed=True, on_unsupported_targets="ignore")
        lists = {person: rows.item_id.to_numpy() for person, rows in table.groupby("user_id", sort=False)}
        return np.array([padded(lists.get(person, np.zeros(0, int))) for person in person_P])

    return answer


def implicit_als(learned: pd.DataFrame, known: pd.DataFrame, items: int) -> Answer:
    """`implicit`'s ALS with 128 factors; people are folded in from what is known of them."""
    from implicit.als import AlternatingLeastSquares

    return _implicit(AlternatingLeastSquares(factors=128, random_state=0), learned, known, items, True)


def implicit_bpr(learned: pd.DataFrame, known: pd.DataFrame, items: int) -> Answer:
    """`implicit`'s BPR with its defaults; it answers people by the factors that it learned of them."""
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(factors=128, random_state=0)
    return _implicit(model, learned, known, items, False)


def _implicit(model, learned: pd.DataFrame, known: pd.DataFrame, items: int, fold_in: bool) -> Answer:  # type: ignore[no-untyped-def]
    people = int(max(learned.person.max(), known.person.max())) + 1
    model.fit(_matrix(learned, people, items), show_progress=False)
    had_PI = _matrix(known, people, items)

    def answer(person_P: np.ndarray) -> np.ndarray:
        found, _ = model.recommend(
            person_P, had_PI[person_P], N=K, filter_already_liked_items=True, recalculate_user=fold_in
        )
        return found

    return answer


def recbole_lightgcn(learned: pd.DataFrame, known: pd.DataFrame, items: int) -> Answer:
    """RecBole's LightGCN with its defaults: 64 dimensions, two layers, BPR."""
    import logging
    import tempfile

    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import LightGCN
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "set").mkdir()
        table = learned[["person", "item"]].rename(
            columns={"person": "user_id:token", "item": "item_id:token"}
        )
        table.to_csv(Path(folder) / "set" / "set.inter", sep="\t", index=False)
        config = Config(
            model="LightGCN",
            dataset="set",
            config_dict={
                "data_path": folder,
                "load_col": {"inter": ["user_id", "item_id"]},
                "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": None, "mode": "full"},
                "epochs": EPOCHS["recbole-lightgcn"],
                "train_batch_size": 2048,
                "use_gpu": False,
                "show_progress": False,
                "checkpoint_dir": folder,
                "state": "ERROR",
            },
        )
        init_seed(0, True)
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)
        model = LightGCN(config, train.dataset)
        Trainer(config, model).fit(train, saved=False, verbose=False, show_progress=False)
    model.eval()
    with torch.no_grad():
        person_UD, item_JD = model.forward()
    number = {
        int(token): index for token, index in dataset.field2token_id["user_id"].items() if token != "[PAD]"
    }
    item_J = np.array([-1, *map(int, dataset.field2id_token["item_id"][1:])])
    had_PI = _matrix(known, int(max(learned.person.max(), known.person.max())) + 1, items)

    def answer(person_P: np.ndarray) -> np.ndarray:
        out = np.full((len(person_P), K), -1)
        for row, person in enumerate(person_P.tolist()):
            if person not in number:
                continue
            score_J = (item_JD @ person_UD[number[person]]).numpy()
            had = np.isin(item_J, had_PI[person].indices)
            score_J[had | (item_J < 0)] = -np.inf
            best = np.argpartition(-score_J, K)[:K]
            out[row] = item_J[best[np.argsort(-score_J[best], kind="stable")]]
        return out

    return answer


PEERS = {
    "rectools-sasrec": rectools_sasrec,
    "implicit-als": implicit_als,
    "implicit-bpr": implicit_bpr,
    "recbole-lightgcn": recbole_lightgcn,
}
EPOCHS = {"rectools-sasrec": 20, "recbole-lightgcn": 50}


def padded(items: np.ndarray) -> np.ndarray:
    """Return a list as long as was asked for, -1 where there are no more items."""
    return np.concatenate([items[:K], np.full(max(0, K - len(items)), -1, int)])


def _matrix(table: pd.DataFrame, people: int, items: int) -> csr_matrix:
    ones = np.ones(len(table), np.float32)
    matrix = csr_matrix((ones, (table.person, table.item)), shape=(people, items))
    matrix.data[:] = 1.0
    return matrix


def main(peer: str, folder: Path) -> None:
    """Fit, write down what that cost, ask, and write the lists."""
    learned, known = (pd.read_parquet(folder / f"{name}.parquet") for name in ("learned", "known"))
    person_P = pd.read_parquet(folder / "asked.parquet").person.to_numpy()
    items = int(max(learned.item.max(), known.item.max())) + 1
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    answer = PEERS[peer](learned, known, items)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "fit_seconds": time.perf_counter() - started,
        "fit_cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": peak_bytes(),
    }
    item_PK = answer(person_P)
    row_M, place_M = np.nonzero(item_PK >= 0)
    lists = pd.DataFrame({"row": row_M, "rank": place_M + 1, "item": item_PK[row_M, place_M]})
    lists.to_parquet(folder / "lists.parquet")
    (folder / "cost.json").write_text(json.dumps(cost))


def peak_bytes() -> int:
    """Return the most memory that this process held; what `getrusage` says on Linux may be the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
