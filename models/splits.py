"""Cutting what is known into what may be learned and what is asked for. No model and no file is touched here.

Leave-one-out: everybody's last item is asked for. Next item: the item after a prefix of a session. By time: everybody is asked
for what they take after a moment (a dataset version is cut so already: models/dataset.py). `inner` cuts a training set
once more, for choosing by what was learned from the rest. Shapes: P people, N interactions.
"""

from dataclasses import dataclass, replace

import numpy as np

from counterfoil.errors import InputError
from models.catalogue import category_codes
from models.data import DAY_US, Content, Features, Interactions, Query, TrainingSet, Trial, spans

NOW_US = 20_000 * DAY_US  # where only the order is known, everybody is asked at this moment
SESSIONS_HELD = 0.05  # share of the newest sessions that `inner` keeps from learning


@dataclass(frozen=True, kw_only=True)
class Split:
    """What may be learned, and the trial. `unit_P` numbers the trial's rows: people, or prefixes in their order."""

    training: TrainingSet
    trial: Trial
    unit_P: np.ndarray


def leave_one_out(history: Interactions, *, refit: bool = False, repeats: bool = False) -> Split:
    """Ask for everybody's last item; the last but one is kept for choosing by, or learned from too with `refit`.

    Only the order counts: events are laid a day apart, so that a half-life in days is one in steps. People with fewer than
    two items are not asked for (fewer than three: not validated by). InputError when nobody is left.
    """
    history = laid_out(history)
    from_end_N = _from_end(history)
    known, learned = history.where(from_end_N > 1), history.where(from_end_N > 2)
    asked_P = np.flatnonzero(np.diff(known.indptr) > 0)
    if not len(asked_P):
        raise InputError("nobody has two items, so no last one can be asked for; choose another protocol")
    training = _without_features(known if refit else learned, repeats=repeats)
    if not refit:
        training = replace(training, validation=_last_of(known, repeats=repeats))
    last_N = history.indptr[1:][asked_P] - 1
    return Split(
        training=training,
        trial=Trial(
            query=question(known.rows(asked_P), repeats=repeats), truth=_singles(history.item_N[last_N])
        ),
        unit_P=asked_P,
    )


def next_item(sessions: Interactions, prefixes: Interactions, target_P: np.ndarray) -> Split:
    """Ask for the item after each prefix; whole `sessions` are learned from. Both number items alike."""
    training = replace(_without_features(sessions, repeats=True), inner="sessions")
    return Split(
        training=training,
        trial=Trial(query=question(laid_out(prefixes), repeats=True), truth=_singles(target_P)),
        unit_P=np.arange(len(target_P)),
    )


def described(split: Split, content: Content | None) -> Split:
    """Return the split with what is said of its items, for learning and for whoever asks; as it is when nothing is said."""
    if content is None:
        return split
    code_I = category_codes(content.category_I)
    training = replace(
        split.training,
        content=content,
        category_I=code_I if (code_I >= 0).any() else code_I[:0],
        validation=_described(split.training.validation, content),
    )
    trial = _described(split.trial, content)
    assert trial is not None
    return replace(split, training=training, trial=trial)


def _described(trial: Trial | None, content: Content) -> Trial | None:
    return trial and replace(trial, query=replace(trial.query, content=content))


def choosing(training: TrainingSet) -> tuple[TrainingSet, Trial]:
    """Return what may be learned when choosing, and the trial to choose by: the set's own validation, else what `inner` cuts.

    InputError when there is neither.
    """
    return inner(training) if training.validation is None else (training, training.validation)


def inner(training: TrainingSet) -> tuple[TrainingSet, Trial]:
    """Cut a training set once more: what may be learned when choosing, and the trial to choose by.

    InputError when it is too small to be cut.
    """
    cut = {"time": _inner_time, "last": _inner_last, "sessions": _inner_sessions}[training.inner]
    blind, trial = cut(training)
    if not trial.query.people or not len(blind.interactions):
        raise InputError(
            f"{len(training.interactions)} interactions are too few to keep some of them from learning; bring more history"
        )
    return blind, replace(trial, query=replace(trial.query, content=training.content))


def laid_out(history: Interactions) -> Interactions:
    """Lay everybody's events a day apart, the last one on the day before NOW_US; the order stays."""
    return replace(history, time_N=NOW_US - _from_end(history) * DAY_US)


def question(history: Interactions, *, repeats: bool) -> Query:
    """Return the question for everybody in a laid-out history; without `repeats` not for what they had."""
    return Query(
        history=history,
        as_of_us=NOW_US,
        features=no_features(history.people, history.items),
        exclude=None if repeats else history.by_person(),
    )


def no_features(people: int, items: int) -> Features:
    """Return features without a column or a pair."""
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


def _without_features(interactions: Interactions, *, repeats: bool) -> TrainingSet:
    return TrainingSet(
        interactions=interactions,
        until_us=NOW_US,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(interactions.people, interactions.items),
        inner="last",
        repeats=repeats,
    )


def _inner_time(training: TrainingSet) -> tuple[TrainingSet, Trial]:
    """Keep the window after the last cut-off."""
    if not training.cutoffs:
        raise InputError("the training set has no cut-offs to choose by; ask for at least one")
    cut_us = max(training.cutoffs)
    after = training.labels.between(cut_us, cut_us + training.horizon_us)
    return training.known_at(cut_us), fair(training, np.unique(after.person_N), after, cut_us).trial


def fair(training: TrainingSet, people_P: np.ndarray, after: Interactions, at_us: int) -> Split:
    """Return the split that asks these people, at a moment, for what they took `after`; without repeats for what was new."""
    query = training.query(people_P, at_us)
    trial, rows_P = _answerable(query, after.rows(people_P).by_person())
    return Split(training=training, trial=trial, unit_P=people_P[rows_P])


def _inner_last(training: TrainingSet) -> tuple[TrainingSet, Trial]:
    """Keep everybody's last item."""
    known = training.interactions
    blind = replace(training, interactions=known.where(_from_end(known) > 1))
    return blind, _last_of(known, repeats=training.repeats)


def _last_of(known: Interactions, *, repeats: bool) -> Trial:
    """Return the trial that asks for everybody's last item by what came before."""
    asked_P = np.flatnonzero(np.diff(known.indptr) > 1)
    before = laid_out(known.where(_from_end(known) > 1)).rows(asked_P)
    truth = _singles(known.item_N[known.indptr[1:][asked_P] - 1])
    return _answerable(question(before, repeats=repeats), truth)[0]


def _inner_sessions(training: TrainingSet) -> tuple[TrainingSet, Trial]:
    """Keep the newest sessions whole, and ask for the item after each of their prefixes."""
    known = training.interactions
    begun_P = np.flatnonzero(np.diff(known.indptr) > 0)
    newest_P = begun_P[np.argsort(known.time_N[known.indptr[begun_P]], kind="stable")]
    held_P = np.sort(newest_P[len(newest_P) - int(np.ceil(SESSIONS_HELD * len(newest_P))) :])
    held_N = np.isin(known.person_N, held_P)
    blind = replace(training, interactions=known.where(~held_N))
    prefixes, target_P = prefixes_of(known.where(held_N))
    return blind, Trial(query=question(laid_out(prefixes), repeats=True), truth=_singles(target_P))


def prefixes_of(sessions: Interactions) -> tuple[Interactions, np.ndarray]:
    """Return every proper prefix of every session as a row of its own, and the item that follows it, int32 [P]."""
    start_N = np.repeat(sessions.indptr[:-1], np.diff(sessions.indptr))
    last_P = np.flatnonzero(np.arange(len(sessions)) > start_N)  # each but the first ends a prefix before it
    length_P = last_P - start_N[last_P]
    index_N = spans(start_N[last_P], length_P)
    prefixes = Interactions(
        person_N=np.repeat(np.arange(len(last_P), dtype=np.int32), length_P),
        item_N=sessions.item_N[index_N],
        time_N=sessions.time_N[index_N],
        weight_N=sessions.weight_N[index_N],
        people=len(last_P),
        items=sessions.items,
    )
    return prefixes, sessions.item_N[last_P]


def _answerable(query: Query, truth: tuple[np.ndarray, ...]) -> tuple[Trial, np.ndarray]:
    """Return the trial of the rows that have a right answer which is not excluded, and which rows these are."""
    if query.exclude is not None:
        truth = tuple(np.setdiff1d(took, had) for took, had in zip(truth, query.exclude, strict=True))
    rows_P = np.flatnonzero([len(took) > 0 for took in truth])
    kept = query if len(rows_P) == len(truth) else query.rows(rows_P)
    return Trial(query=kept, truth=tuple(truth[row] for row in rows_P)), rows_P


def _from_end(history: Interactions) -> np.ndarray:
    """Return 1 for everybody's last interaction, 2 for the last but one, and so on, int64 [N]."""
    return np.repeat(history.indptr[1:], np.diff(history.indptr)) - np.arange(len(history))


def _singles(item_P: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(item_P[:, None])
