"""Occasions: moments from which a ranker learns, what was known then, who is asked, and what they took afterwards for what gain.

Where there are cut-offs each is an occasion; else what `models.splits.inner` keeps from learning is the only one.
Shapes: P people, R rows of a question, N interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.data import Interactions, Query, TrainingSet
from models.splits import inner


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What was known at the moment, the question, and per row of it what was taken; the weight is the gain."""

    blind: TrainingSet
    query: Query
    taken: Interactions

    def rows(self, rows_R: np.ndarray) -> "Occasion":
        """Return the occasion for these rows of the question."""
        return replace(self, query=self.query.rows(rows_R), taken=self.taken.rows(rows_R))

    def parts(self, size: int) -> Iterator["Occasion"]:
        """Yield the occasion in parts of at most `size` rows."""
        for start in range(0, self.query.people, size):
            yield self.rows(np.arange(start, min(start + size, self.query.people)))


def count(training: TrainingSet) -> int:
    """Return how many occasions there are."""
    return max(1, len(training.cutoffs))


def occasions(training: TrainingSet, most: int, random: np.random.Generator) -> Iterator[Occasion]:
    """Yield occasions from the earliest; of those who took something at most so many people, drawn at random.

    InputError when there are no cut-offs and too little to keep anything from learning.
    """
    if not training.cutoffs:
        yield _kept(training, most, random)
    for cutoff_us in sorted(training.cutoffs):
        after = gains(training).between(cutoff_us, cutoff_us + training.horizon_us)
        people_R = _drawn(np.unique(after.person_N), most, random)
        yield Occasion(
            blind=training.known_at(cutoff_us),
            query=training.query(people_R, cutoff_us),
            taken=after.rows(people_R),
        )


def gains(training: TrainingSet) -> Interactions:
    """Return the labels weighted by their gain: what the data say of each kind of label, 1 where all are of one kind."""
    if training.other_labels is not None:
        return training.other_labels
    known = training.interactions
    return replace(known, weight_N=np.ones(len(known), np.float32))


def _kept(training: TrainingSet, most: int, random: np.random.Generator) -> Occasion:
    blind, trial = inner(training)
    row_R = _drawn(np.arange(trial.query.people), most, random)
    size_R = np.array([len(trial.truth[row]) for row in row_R], np.int64)
    item_N = np.concatenate([trial.truth[row] for row in row_R]).astype(np.int32)
    taken = Interactions(
        person_N=np.repeat(np.arange(len(row_R), dtype=np.int32), size_R),
        item_N=item_N,
        time_N=np.full(len(item_N), trial.query.as_of_us, np.int64),
        weight_N=np.ones(len(item_N), np.float32),
        people=len(row_R),
        items=trial.query.items,
    )
    return Occasion(blind=blind, query=trial.query.rows(row_R), taken=taken)


def _drawn(people_P: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
    if len(people_P) <= most:
        return people_P
    return np.sort(random.choice(people_P, most, replace=False))


def ask_again(
    occasion: Occasion, *, strangers: float, newcomers: float, random: np.random.Generator
) -> Occasion:
    """Ask a share of the rows a second time as strangers, another as newcomers, at the end.

    Strangers come without history and features; newcomers without features and with the last part of their history only.
    """
    query, people = occasion.query, occasion.query.people
    stranger_R = random.choice(people, int(np.ceil(strangers * people)), replace=False)
    newcomer_R = random.choice(people, int(np.ceil(newcomers * people)), replace=False)
    row_R = np.concatenate([np.arange(people), stranger_R, newcomer_R])
    at_R = np.arange(len(row_R))
    first_R, short_R = at_R < people, at_R >= people + len(stranger_R)
    history = query.history.rows(np.where(first_R | short_R, row_R, -1))
    exclude = query.exclude
    if exclude is not None:
        nothing = np.zeros(0, np.int32)
        asked_R = first_R | short_R
        exclude = tuple(exclude[row] if asked else nothing for row, asked in zip(row_R, asked_R, strict=True))
    return replace(
        occasion,
        query=replace(
            query,
            history=_shorten(history, short_R, random),
            features=query.features.rows(np.where(first_R, row_R, -1)),
            exclude=exclude,
        ),
        taken=occasion.taken.rows(row_R),
    )


def _shorten(history: Interactions, short_R: np.ndarray, random: np.random.Generator) -> Interactions:
    """Keep of the rows that are to be short only the latest few interactions, as of somebody who is new here.

    How many is drawn log-uniformly between one and all.
    """
    count_R = np.diff(history.indptr)
    kept_R = np.where(
        short_R, np.exp(random.random(len(count_R)) * np.log(count_R + 1.0)).astype(int), count_R
    )
    from_end_N = np.repeat(history.indptr[1:], count_R) - np.arange(len(history))
    return history.where(from_end_N <= kept_R[history.person_N])
