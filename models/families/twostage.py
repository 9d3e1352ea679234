"""Two stages: retrievers propose a few hundred candidates, LambdaMART ranks them on point-in-time signals.

Here: what is fitted when, so that no retriever has seen the labels that the ranker learns from. The pool, the
signals and the trees live in models/rank/.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import ConfigError
from models import artefact
from models.config import Checked, bounds, build
from models.data import Interactions, Query, Ranking, TrainingSet
from models.families import dense
from models.family import Family, Model
from models.rank import booster, pool, signals
from models.rank import habits as habit
from models.rank.booster import BoosterConfig
from models.rank.habits import Habits

PEOPLE_PER_PART = 512


@dataclass(frozen=True, kw_only=True)
class TwoStageConfig(Checked):
    """Retrievers by name with the length of their lists, how the ranker grows, and bounds on what it learns from.

    `negatives` candidates that were not taken are kept per person and cut-off; `rows` bounds the whole frame. A share of
    people is asked about a second time as `strangers`, without history and features, another one as `newcomers`, without
    features and with the last part of the history only, so that the ranker learns what to answer when these are missing.
    """

    family: ClassVar[str] = "twostage"
    retrievers: tuple[str, ...] = ("repurchase", "itemknn", "popularity")
    depths: tuple[int, ...] = (200, 50, 50)
    ranker: BoosterConfig = field(default_factory=BoosterConfig)
    negatives: int = bounds(60, 1, 10_000)
    strangers: float = bounds(0.05, 0.0, 1.0)
    newcomers: float = bounds(0.05, 0.0, 1.0)
    rows: int = bounds(600_000, 1_000, 10_000_000)


class TwoStage:
    """Fitted retrievers and the ranker over what they propose."""

    def __init__(
        self,
        config: TwoStageConfig,
        retrievers: Mapping[str, Model],
        ranker: booster.Booster,
        habits: Habits,
        category_I: np.ndarray,
    ) -> None:
        self.config = config
        self.retrievers = retrievers
        self.ranker = ranker
        self.habits = habits
        self.category_I = category_I

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` candidates per person.

        InputError for a question that does not fit; ConfigError when its features are not those learned from.
        """
        dense.check(query, k, len(self.category_I))
        parts = [self._part(part, k) for part in (list(query.parts(PEOPLE_PER_PART)) or [query])]
        return Ranking(
            item_PK=np.concatenate([part.item_PK for part in parts]),
            score_PK=np.concatenate([part.score_PK for part in parts]),
            sources=self.config.retrievers,
            source_PK=np.concatenate([part.source_PK for part in parts]),
        )

    def contributions(self, query: Query, item_N: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Return for one person what each signal added to the score of these items.

        Names and exact TreeSHAP values, float32 [N, F + 1]; the last column is the bias; rows add up to the scores. An item that
        no retriever proposes gets NaN.
        """
        candidates = propose(self.retrievers, self.config.depths, query)
        value_NF = self._signals(candidates, query)
        at_N = np.minimum(np.searchsorted(candidates.item_N, item_N), max(len(candidates) - 1, 0))
        out = np.full((len(item_N), len(self.ranker.names) + 1), np.nan, np.float32)
        if len(candidates):
            found_N = candidates.item_N[at_N] == item_N
            out[found_N] = self.ranker.contributions(value_NF[at_N[found_N]])
        return self.ranker.names, out

    def save(self, folder: Path) -> None:
        """Write `twostage.json`, `ranker.ubj`, `habits.npy`, `category.npy` and one sub folder per retriever."""
        about = {"config": self.config, "signals": self.ranker.names}
        artefact.write_json(folder / "twostage.json", about)
        artefact.write_array(folder / "category.npy", self.category_I)
        self.habits.save(folder / "habits.npy")
        self.ranker.save(folder / "ranker.ubj")
        for name, model in self.retrievers.items():
            (folder / name).mkdir()
            model.save(folder / name)

    def _part(self, query: Query, k: int) -> Ranking:
        depths = tuple(max(depth, k) for depth in self.config.depths)
        candidates = propose(self.retrievers, depths, query)
        score_N = self.ranker.score(self._signals(candidates, query))
        return pool.best(candidates, score_N, k, self.config.retrievers)

    def _signals(self, candidates: pool.Pool, query: Query) -> np.ndarray:
        names, value_NF = signals.signals(
            candidates,
            query,
            category_I=self.category_I,
            habits=self.habits,
            retrievers=self.config.retrievers,
        )
        if names != self.ranker.names:
            odd = sorted(set(names) ^ set(self.ranker.names)) or ["their order"]
            raise ConfigError(
                f"the query's features are not those that the ranker learned from: {', '.join(odd)} differ; "
                "ask with the feature service of its dataset, or fit again"
            )
        return value_NF


def fit(config: TwoStageConfig, training: TrainingSet, seed: int) -> TwoStage:
    """Fit retrievers as of the earliest cut-off, the ranker on the labels after it, then the retrievers on everything."""
    _check(config, training)
    earliest_us = min(training.cutoffs)
    blind = replace(
        training,
        interactions=training.interactions.between(None, earliest_us),
        until_us=earliest_us,
        cutoffs={},
        features=training.cutoffs[earliest_us],
    )
    examples = frame(config, training, _fit_retrievers(config, blind, seed), seed)
    ranker = booster.grow(
        examples.value_NF,
        examples.label_N,
        examples.group_N,
        names=examples.names,
        config=config.ranker,
        seed=seed,
        threads=training.threads,
    )
    del examples
    return TwoStage(
        config,
        _fit_retrievers(config, training, seed),
        ranker,
        habit.learn(training.interactions, training.until_us, training.horizon_us, training.category_I),
        training.category_I,
    )


def load(folder: Path) -> TwoStage:
    """Read what `save` wrote."""
    about = artefact.read_json(folder / "twostage.json")
    config: TwoStageConfig = build(TwoStageConfig, about["config"], "twostage")
    retrievers = {name: _family(name).load(folder / name) for name in config.retrievers}
    ranker = booster.load(folder / "ranker.ubj", tuple(about["signals"]))
    category_I = artefact.read_array(folder / "category.npy", np.int32)
    return TwoStage(config, retrievers, ranker, habit.load(folder / "habits.npy"), category_I)


def propose(retrievers: Mapping[str, Model], depths: tuple[int, ...], query: Query) -> pool.Pool:
    """Ask every retriever and merge their lists."""
    lists = [
        model.recommend(query, min(depth, query.items))
        for model, depth in zip(retrievers.values(), depths, strict=True)
    ]
    return pool.merge(lists, query.people, query.items)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the ranker learns from: signals of candidates, sorted by group (one person at one cut-off), and who was taken."""

    names: tuple[str, ...]
    value_NF: np.ndarray  # float32
    label_N: np.ndarray  # float32, 0 or 1
    group_N: np.ndarray  # int64


def frame(config: TwoStageConfig, training: TrainingSet, retrievers: Mapping[str, Model], seed: int) -> Frame:
    """Return the candidates of the people who took something after a cut-off; ConfigError when none of them was taken."""
    random = np.random.default_rng(seed)
    people_most = max(1, config.rows // len(training.cutoffs) // (config.negatives + 10))
    parts: list[Frame] = []
    groups = 0
    for cutoff_us in sorted(training.cutoffs):
        habits = habit.learn(training.interactions, cutoff_us, training.horizon_us, training.category_I)
        after = training.labels.between(cutoff_us, cutoff_us + training.horizon_us)
        people = np.unique(after.person_N)
        if len(people) > people_most:
            people = np.sort(random.choice(people, people_most, replace=False))
        known_R, described_R, people = _ask_again(people, config, random)
        for start in range(0, len(people), PEOPLE_PER_PART):
            part_R = slice(start, start + PEOPLE_PER_PART)
            asked = training.query(known_R[part_R], cutoff_us)
            query = replace(
                asked,
                history=_shorten(asked.history, described_R[part_R] < 0, random),
                features=training.cutoffs[cutoff_us].rows(described_R[part_R]),
            )
            candidates = propose(retrievers, config.depths, query)
            taken = after.rows(people[part_R])
            label_N = np.isin(candidates.key_N, taken.person_N.astype(np.int64) * query.items + taken.item_N)
            kept_N = _sample(candidates, label_N, config.negatives, random)
            parts.append(
                _part(config, training, candidates.where(kept_N), query, habits, label_N[kept_N], groups)
            )
            groups += query.people
    if not any(part.label_N.any() for part in parts):
        raise ConfigError(
            f"no retriever of {', '.join(config.retrievers)} proposed anything that was taken after a cut-off; "
            "the ranker has nothing to learn from: give it more history or other retrievers"
        )
    return Frame(
        names=parts[0].names,
        value_NF=np.concatenate([part.value_NF for part in parts]),
        label_N=np.concatenate([part.label_N for part in parts]),
        group_N=np.concatenate([part.group_N for part in parts]),
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


def _ask_again(
    people: np.ndarray, config: TwoStageConfig, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, with the second askings at the end, whose history is given, whose features are (-1: nobody's), and who it is."""
    strangers = random.choice(people, int(np.ceil(config.strangers * len(people))), replace=False)
    newcomers = random.choice(people, int(np.ceil(config.newcomers * len(people))), replace=False)
    nobody, unread = np.full(len(strangers), -1), np.full(len(newcomers), -1)
    return (
        np.concatenate([people, nobody, newcomers]),
        np.concatenate([people, nobody, unread]),
        np.concatenate([people, strangers, newcomers]),
    )


def _part(
    config: TwoStageConfig,
    training: TrainingSet,
    candidates: pool.Pool,
    query: Query,
    habits: Habits,
    label_N: np.ndarray,
    groups: int,
) -> Frame:
    names, value_NF = signals.signals(
        candidates, query, category_I=training.category_I, habits=habits, retrievers=config.retrievers
    )
    return Frame(
        names=names,
        value_NF=value_NF,
        label_N=label_N.astype(np.float32),
        group_N=candidates.row_N + groups,
    )


def _sample(
    candidates: pool.Pool, label_N: np.ndarray, negatives: int, random: np.random.Generator
) -> np.ndarray:
    """Keep what was taken, and per person at most `negatives` of the rest; nobody without anything taken."""
    taken_P = np.bincount(candidates.row_N[label_N], minlength=candidates.people)
    draw_N = np.where(label_N, -1.0, random.random(len(candidates)))
    order_N = np.lexsort((draw_N, candidates.row_N))
    sizes_P = candidates.sizes_P
    place_N = np.empty(len(candidates), np.int64)
    place_N[order_N] = np.arange(len(candidates)) - np.repeat(np.cumsum(sizes_P) - sizes_P, sizes_P)
    taken_N = taken_P[candidates.row_N]
    return (taken_N > 0) & (place_N < taken_N + negatives)


def _fit_retrievers(config: TwoStageConfig, training: TrainingSet, seed: int) -> dict[str, Model]:
    return {
        name: family.fit(family.config(), training, seed)
        for name, family in ((name, _family(name)) for name in config.retrievers)
    }


def _family(name: str) -> Family:
    from models.families import FAMILIES  # the registry imports this module when asked

    return FAMILIES[name]


def _check(config: TwoStageConfig, training: TrainingSet) -> None:
    faults = []
    if not training.cutoffs:
        faults.append(
            "the training set has no cut-offs, so there are no labels to rank by; ask for at least one"
        )
    if len(config.depths) != len(config.retrievers):
        faults.append(f"{len(config.retrievers)} retrievers but {len(config.depths)} depths; give one each")
    if not 1 <= len(set(config.retrievers)) <= 8 or len(set(config.retrievers)) != len(config.retrievers):
        faults.append(f"retrievers {config.retrievers} must be 1 to 8 different families")
    if TwoStageConfig.family in config.retrievers:
        faults.append("twostage cannot retrieve for itself; name other families")
    if faults:
        raise ConfigError("; ".join(faults))


FAMILY = Family(
    config=TwoStageConfig,
    fit=fit,
    load=load,
    paper="Covington, Adams, Sargin: Deep neural networks for YouTube recommendations, RecSys 2016 (two stages); "
    "Burges: From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82 (the ranker)",
    seeded=True,
)
