"""What is left open: one field after another is tried on few people, and a first value stands until another is clearly better."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from models.data import Query, Ranking, TrainingSet
from models.settle import Way, Work, settle
from models.splits import leave_one_out
from tests.shop_data import interactions


@dataclass(frozen=True)
class Setting:
    """A shift of the answer, and a field that changes nothing."""

    shift: int | None = None
    idle: float | None = None


class Shifted:
    """Answers the item that lies `shift` after the last one; counts who was asked and what was learned."""

    asked: list[int] = []
    learned: list[int] = []

    def __init__(self, config: Setting) -> None:
        self.config = config

    def recommend(self, query: Query, k: int) -> Ranking:
        Shifted.asked.append(query.people)
        last_P = query.history.item_N[query.history.indptr[1:] - 1]
        item_PK = ((last_P + (self.config.shift or 0)) % query.items)[:, None].astype(np.int32)
        return Ranking(
            item_PK=item_PK,
            score_PK=np.ones(item_PK.shape, np.float32),
            sources=("shifted",),
            source_PK=np.ones(item_PK.shape, np.uint8),
        )

    def save(self, folder: Path) -> None:
        raise AssertionError("nothing here is to be saved")


def learn(config: Setting, training: TrainingSet) -> Shifted:
    Shifted.learned.append(len(training.interactions))
    return Shifted(config)


WAY = Way(fit=learn, again=lambda model, other: Shifted(other), asked=frozenset({"idle"}))


def steps(people: int = 100, twos: int = 60, length: int = 5) -> TrainingSet:
    """The first `twos` people go from an item to the second next, all others to the next one."""
    step = np.where(np.arange(people) < twos, 2, 1)
    item = (np.arange(people)[:, None] + step[:, None] * np.arange(length)) % 50
    time = np.tile(np.arange(length), people) * 86_400_000_000
    person = np.repeat(np.arange(people), length)
    return leave_one_out(
        interactions(person.tolist(), item.ravel().tolist(), time.tolist(), people=people, items=50),
        repeats=True,
    ).training


def test_the_better_value_is_chosen_and_what_is_given_stays() -> None:
    options = {"shift": (1, 2, 3), "idle": (0.5, 0.7)}
    assert settle(Setting(), options, steps(), WAY) == Setting(shift=2, idle=0.5)
    assert settle(Setting(shift=3, idle=0.9), options, steps(), WAY) == Setting(shift=3, idle=0.9)


@pytest.mark.parametrize(("twos", "shift"), [(54, 1), (60, 2)])
def test_a_lead_within_luck_is_not_believed(twos: int, shift: int) -> None:
    # 54 against 46 is .8 standard errors (of 10 people), 60 against 40 is 2
    found = settle(Setting(idle=0.5), {"shift": (1, 2)}, steps(twos=twos), WAY, errors=1.5)
    assert found.shift == shift


def test_too_little_to_choose_by_leaves_the_first() -> None:
    training = replace(steps(), validation=None, inner="time")
    assert settle(Setting(), {"shift": (1, 2)}, training, WAY).shift == 1


def test_work_is_bounded_by_people_their_lines_and_pairs() -> None:
    # a validation of 100 people with 3 lines each; 300 interactions, 900 pairs
    for work, asked, learned in (
        (Work(people=30), 30, 300),
        (Work(lines=60), 20, 300),
        (Work(learned=100, pairs=900), 100, 300),
        (Work(learned=100, pairs=300), 100, 102),
        (Work(learned=300, pairs=300), 100, 300),
    ):
        Shifted.asked, Shifted.learned = [], []
        settle(Setting(idle=0.5), {"shift": (1, 2)}, steps(), WAY, work=work)
        assert Shifted.asked == [asked] * 2
        assert Shifted.learned == [learned] * 2
