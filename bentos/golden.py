"""Golden rows: questions asked when a bento was packaged, with the answers given then. A bento that answers otherwise is refused.

Everything that a question needs is kept, so that the check runs without the dataset.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from counterfoil.errors import IntegrityError
from models.data import Content, Features, Interactions, Query, Ranking
from models.dataset import DatasetFolder
from models.family import Model, joined

PEOPLE = 5
TOP = 10
# Another processor may sum in another order; more than this is another answer.
RELATIVE, ABSOLUTE = 1e-3, 1e-5
QUESTION = ("indptr", "item", "time", "weight", "person", "pair_person", "pair_item", "pair")


def people_of(data: DatasetFolder, count: int = PEOPLE) -> np.ndarray:
    """Return the numbers of the people whose histories are asked: from short to long ones, int64."""
    known = data.history.between(None, data.about["as_of_us"])
    by_length = np.argsort(np.diff(known.indptr), kind="stable")
    return by_length[np.linspace(0, len(by_length) - 1, min(count, len(by_length))).astype(int)]


def question(data: DatasetFolder, count: int = PEOPLE) -> Query:
    """Return the question about so many people, and about somebody unknown, at the dataset's as-of."""
    as_of_us = data.about["as_of_us"]
    known = data.history.between(None, as_of_us)
    people_R = np.concatenate([people_of(data, count), [-1]]).astype(np.int64)
    history = known.rows(people_R).last(data.about["history_cap"])
    # A dataset knows people and pairs as of the holdout's start, items as of now: together they ask all that a ranker reads.
    features = replace(data.features(data.about["holdout_from_us"]), item_IF=data.features(as_of_us).item_IF)
    return Query(history=history, as_of_us=as_of_us, features=features.rows(people_R), content=data.content)


def ask(model: Model, query: Query, k: int) -> Ranking:
    """Return the answers to people who are asked for one at a time: by the way that requests go, and by no other."""
    return joined(model.recommend(single, k) for single in query.parts(1))


def write(data: DatasetFolder, model: Model, folder: Path) -> None:
    """Ask the model for people with short to long histories and for somebody unknown; keep questions and answers."""
    query = question(data)
    history = query.history
    ranking = ask(model, query, TOP)
    arrays = {
        "indptr": history.indptr,
        "item": history.item_N,
        "time": history.time_N,
        "weight": history.weight_N,
        "person": query.features.person_PF,
        "pair_person": query.features.pair_person_N,
        "pair_item": query.features.pair_item_N,
        "pair": query.features.pair_NF,
        "answer_item": ranking.item_PK,
        "answer_score": ranking.score_PK,
    }
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


def check(
    folder: Path,
    model: Model,
    item_IF: np.ndarray,
    content: Content,
    about: dict[str, list[str]],
    as_of_us: int,
) -> None:
    """Ask again; IntegrityError names the first row whose items or scores are not those of the packaging.

    Order among items whose scores lie within the tolerance may differ.
    """
    kept = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in QUESTION}
    expected_item_PK = np.load(folder / "answer_item.npy", allow_pickle=False)
    expected_score_PK = np.load(folder / "answer_score.npy", allow_pickle=False)
    query = _question(kept, item_IF, content, about, as_of_us)
    ranking = ask(model, query, expected_item_PK.shape[1])
    for row in range(query.people):
        if not _agree(ranking, row, expected_item_PK[row], expected_score_PK[row]):
            raise IntegrityError(
                f"golden row {row} answers {ranking.item_PK[row, :3].tolist()}.. where {expected_item_PK[row, :3].tolist()}.. "
                "was answered when the bento was packaged; package it again on this kind of machine"
            )


def _question(
    kept: dict[str, np.ndarray],
    item_IF: np.ndarray,
    content: Content,
    about: dict[str, list[str]],
    as_of_us: int,
) -> Query:
    people = len(kept["indptr"]) - 1
    return Query(
        history=Interactions(
            person_N=np.repeat(np.arange(people, dtype=np.int32), np.diff(kept["indptr"])),
            item_N=kept["item"],
            time_N=kept["time"],
            weight_N=kept["weight"],
            people=people,
            items=len(item_IF),
        ),
        as_of_us=as_of_us,
        features=Features(
            person_names=tuple(about["person_names"]),
            item_names=tuple(about["item_names"]),
            pair_names=tuple(about["pair_names"]),
            person_PF=kept["person"],
            item_IF=item_IF,
            pair_person_N=kept["pair_person"],
            pair_item_N=kept["pair_item"],
            pair_NF=kept["pair"],
        ),
        content=content,
    )


def _agree(ranking: Ranking, row: int, item_K: np.ndarray, score_K: np.ndarray) -> bool:
    if ranking.item_PK.shape[1] != len(item_K) or ((ranking.item_PK[row] >= 0) != (item_K >= 0)).any():
        return False
    real_K = item_K >= 0
    got = dict(zip(ranking.item_PK[row].tolist(), ranking.score_PK[row].tolist(), strict=True))
    close_K = np.isclose(ranking.score_PK[row], score_K, RELATIVE, ABSOLUTE)
    if not close_K[real_K].all() or not real_K.any():
        return bool(close_K[real_K].all())
    last = score_K[real_K][-1]
    for item, score in zip(item_K[real_K].tolist(), score_K[real_K].tolist(), strict=True):
        if item not in got and not np.isclose(score, last, RELATIVE, ABSOLUTE):
            return False
        if item in got and not np.isclose(got[item], score, RELATIVE, ABSOLUTE):
            return False
    return True
