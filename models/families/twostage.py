"""Two stages: retrievers propose a few hundred candidates, a ranker orders them by point-in-time signals.

Here: what is fitted when, so that no retriever has seen the labels that the ranker learns from. Occasions, pool, signals and
rankers live in models/rank/. Shapes: P people, K list length, N candidates, F signals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import ConfigError
from models import artefact
from models.assembly.members import settled_of
from models.config import Checked, bounds, build
from models.data import Interactions, Query, Ranking, TrainingSet
from models.explain import NO_SUM, Explanation, Proposal, parts_of, proposals
from models.families import dense
from models.families.ease import EaseConfig
from models.family import Family, Model, joined
from models.rank import habits, itemtable, kin, pool, ranker, shelves, signals, single, trends
from models.rank.booster import BoosterConfig
from models.rank.examples import Examples, join, sample
from models.rank.itemtable import ItemTable
from models.rank.kin import Kin
from models.rank.occasions import Occasion, ask_again, count, occasions
from models.rank.ranker import Ranker, RankerConfig
from models.rank.signals import Lore

PEOPLE_PER_PART = 512

# Who retrieves, and how many, where the config names nobody: people who come back for the same, and people asked for what is new.
AGAIN = {"repurchase": 120, "itemknn": 50, "popularity": 50}
ANEW = {"ease": 100, "itemknn": 100, "als": 100, "popularity": 50, "sessionknn": 100}
DEPTH = 100  # of retrievers that are named without


@dataclass(frozen=True, kw_only=True)
class TwoStageConfig(Checked):
    """Retrievers by name with the length of their lists, the ranker, and bounds on what it learns from.

    Without names the retrievers are those that suit the data: whether people are asked for what they had already.
    `negatives` candidates that were not taken are kept per person and occasion; `rows` bounds all examples. A share of
    people is asked about a second time as `strangers`, without history and features, another one as `newcomers`, without
    features and with the last part of the history only, so that the ranker learns what to answer when these are missing.
    """

    family: ClassVar[str] = "twostage"
    retrievers: tuple[str, ...] = ()
    depths: tuple[int, ...] = ()
    ranker: RankerConfig = field(default_factory=BoosterConfig)
    negatives: int = bounds(40, 1, 10_000)
    strangers: float = bounds(0.05, 0.0, 1.0)
    newcomers: float = bounds(0.05, 0.0, 1.0)
    rows: int = bounds(600_000, 1_000, 10_000_000)


class TwoStage:
    """Fitted retrievers, what is known of items, and the ranker over what is proposed."""

    def __init__(
        self,
        config: TwoStageConfig,
        retrievers: Mapping[str, Model],
        grown: Ranker,
        lore: Lore,
        names: tuple[str, ...],
    ) -> None:
        self.config = config
        self.retrievers = retrievers
        self.ranker = grown
        self.lore = lore
        self.names = names
        used = np.flatnonzero(np.isin(names, grown.names))
        self._used = slice(None) if len(used) == len(names) else used  # a slice copies nothing

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` candidates per person.

        InputError for a question that does not fit; ConfigError when its features are not those learned from.
        """
        dense.check(query, k, self.lore.table.items)
        return joined(self._part(part, k) for part in query.parts(PEOPLE_PER_PART))

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return which retrievers proposed these items to one person, and what each signal added to the ranker's score."""
        depths = tuple(max(depth, k) for depth in self.config.depths)
        lists = ask(self.retrievers, depths, query)
        candidates = pool.merge(lists, query.people, query.items)
        value_NF = self._signals(candidates, query)
        parts_NF = self.ranker.contributions(value_NF) if len(candidates) else None
        score_N = self.ranker.score(value_NF)
        by_item = {item: row for row, item in enumerate(candidates.item_N.tolist())}
        proposed = proposals(self.retrievers, lists, query, item_N, max(depths))
        return tuple(
            self._explained(item, by_item.get(item), who, value_NF, parts_NF, score_N)
            for item, who in zip(item_N.tolist(), proposed, strict=True)
        )

    def _explained(
        self,
        item: int,
        row: int | None,
        who: tuple[Proposal, ...],
        value_NF: np.ndarray,
        parts_NF: np.ndarray | None,
        score_N: np.ndarray,
    ) -> Explanation:
        if row is None:
            return Explanation(
                item=item, method="none", said="no retriever proposed it, so it was not ranked"
            )
        if parts_NF is None:
            said = f"ranked by {self.ranker.told}; {NO_SUM}"
            return Explanation(item=item, method="none", said=said, members=who)
        return Explanation(
            item=item,
            method=self.ranker.told,
            said="the ranker's score, comparable with those of the same answer alone",
            total=float(score_N[row]),
            bias=float(parts_NF[row, -1]),
            parts=parts_of(self.ranker.names, value_NF[row], parts_NF[row]),
            members=who,
        )

    def save(self, folder: Path) -> None:
        """Write `twostage.json`, the ranker's files, what is known of items, and one sub folder per retriever."""
        about = {
            "config": self.config,
            "signals": self.names,
            "ranker_signals": self.ranker.names,
            "item_columns": self.lore.table.names,
            "levels": self.lore.shelves.levels,
        }
        artefact.write_json(folder / "twostage.json", about)
        self.lore.table.save(folder / "items.npy")
        self.lore.shelves.save(folder)
        if kin.of(self.retrievers) is None:
            self.lore.kin.save(folder)
        self.ranker.save(folder)
        for name, model in self.retrievers.items():
            (folder / name).mkdir()
            model.save(folder / name)

    def _part(self, query: Query, k: int) -> Ranking:
        depths = tuple(max(depth, k) for depth in self.config.depths)
        candidates = propose(self.retrievers, depths, query)
        query.lap("candidates")
        value_NF = self._signals(candidates, query)
        query.lap("signals")
        score_N = self.ranker.score(value_NF)
        query.lap("rank")
        return pool.best(candidates, score_N, k, self.config.retrievers)

    def _signals(self, candidates: pool.Pool, query: Query) -> np.ndarray:
        found = single.fill if single.ready(query) else signals.signals
        names, value_NF = found(candidates, query, lore=self.lore, retrievers=self.config.retrievers)
        if names != self.names:
            odd = sorted(set(names) ^ set(self.names)) or ["their order"]
            raise ConfigError(
                f"the query's features are not those that the ranker learned from: {', '.join(odd)} differ; "
                "ask with the feature service of its dataset, or fit again"
            )
        return value_NF[:, self._used]


def fit(config: TwoStageConfig, training: TrainingSet, seed: int) -> TwoStage:
    """Fit retrievers on what was known at the first occasion, the ranker on what was taken after each, then all on everything."""
    config = settled(config, training)
    _check(config, training)
    examples, early = frame(config, training, seed)
    grown = ranker.grow(config.ranker, examples.telling(), seed=seed, threads=training.threads)
    names = examples.names
    del examples
    retrievers = _fit_retrievers(config, training, seed, settled_by=early)
    lore = learn_lore(training, kin.learn(training, retrievers))
    return TwoStage(config, retrievers, grown, lore, names)


def settled(config: TwoStageConfig, training: TrainingSet) -> TwoStageConfig:
    """Return the config with retrievers and depths. EASE is left out where there are more items than it may learn.

    Depths without names are for those that suit the data; names without depths retrieve DEPTH each.
    """
    if config.retrievers:
        return replace(config, depths=config.depths or (DEPTH,) * len(config.retrievers))
    suited = AGAIN if training.repeats else ANEW
    if training.interactions.items > EaseConfig().most_items:
        suited = {name: depth for name, depth in suited.items() if name != EaseConfig.family}
    return replace(config, retrievers=tuple(suited), depths=config.depths or tuple(suited.values()))


def load(kind: type[TwoStageConfig], folder: Path) -> TwoStage:
    """Read what `save` wrote."""
    about = artefact.read_json(folder / "twostage.json")
    config: TwoStageConfig = build(kind, about["config"], kind.family)
    retrievers = {name: _family(name).load(folder / name) for name in config.retrievers}
    grown = ranker.load(config.ranker, folder, tuple(about["ranker_signals"]))
    lore = Lore(
        table=itemtable.load(folder / "items.npy", tuple(about["item_columns"])),
        shelves=shelves.load(folder, tuple(about["levels"])),
        kin=kin.of(retrievers) or kin.load(folder),
    )
    return TwoStage(config, retrievers, grown, lore, tuple(about["signals"]))


def propose(retrievers: Mapping[str, Model], depths: tuple[int, ...], query: Query) -> pool.Pool:
    """Ask every retriever and merge their lists."""
    return pool.merge(ask(retrievers, depths, query), query.people, query.items)


def ask(retrievers: Mapping[str, Model], depths: tuple[int, ...], query: Query) -> list[Ranking]:
    """Return every retriever's list."""
    return [
        model.recommend(query, min(depth, query.items))
        for model, depth in zip(retrievers.values(), depths, strict=True)
    ]


def learn_lore(training: TrainingSet, near: Kin) -> Lore:
    """Learn what is known of items from a training set's interactions, but for who is near to whom."""
    known, now_us = training.interactions, training.until_us
    placed = shelves.learn(known.items, training.category_I, training.content)
    columns = {
        **habits.learn(known, now_us, training.horizon_us, placed.category_I),
        **trends.learn(known, now_us),
    }
    return Lore(table=ItemTable.of(columns), shelves=placed, kin=near)


def frame(config: TwoStageConfig, training: TrainingSet, seed: int) -> tuple[Examples, Mapping[str, Model]]:
    """Return the candidates of the people who took something at an occasion, and the retrievers that proposed them.

    ConfigError when none of them was taken.
    """
    random = np.random.default_rng(seed)
    most = max(1, config.rows // count(training) // (config.negatives + 10))
    parts: list[Examples] = []
    retrievers: dict[str, Model] = {}
    near: Kin | None = None
    for occasion in occasions(training, most, random):
        # later occasions are asked by what was fitted at the first: when serving, too, a retriever is older than the question
        retrievers = retrievers or _fit_retrievers(config, occasion.blind, seed)
        near = near or kin.learn(occasion.blind, retrievers)
        lore = learn_lore(occasion.blind, near)
        again = ask_again(occasion, strangers=config.strangers, newcomers=config.newcomers, random=random)
        parts += [_examples(config, part, retrievers, lore, random) for part in again.parts(PEOPLE_PER_PART)]
    if not any(part.gain_N.any() for part in parts):
        raise ConfigError(
            f"no retriever of {', '.join(config.retrievers)} proposed anything that was taken after a cut-off; "
            "the ranker has nothing to learn from: give it more history or other retrievers"
        )
    return join(parts), retrievers


def _examples(
    config: TwoStageConfig,
    occasion: Occasion,
    retrievers: Mapping[str, Model],
    lore: Lore,
    random: np.random.Generator,
) -> Examples:
    candidates = propose(retrievers, config.depths, occasion.query)
    gain_N = _gains(candidates, occasion.taken)
    kept_N = sample(candidates, gain_N, config.negatives, random)
    candidates = candidates.where(kept_N)
    names, value_NF = signals.signals(candidates, occasion.query, lore=lore, retrievers=config.retrievers)
    return Examples(names=names, value_NF=value_NF, gain_N=gain_N[kept_N], group_N=candidates.row_N)


def _gains(candidates: pool.Pool, taken: Interactions) -> np.ndarray:
    """Return the most that taking each candidate was worth, 0 where it was not taken, float32 [N]."""
    key_M = taken.person_N.astype(np.int64) * candidates.items + taken.item_N
    at_M = np.searchsorted(candidates.key_N, key_M)
    found_M = at_M < len(candidates)
    found_M[found_M] = candidates.key_N[at_M[found_M]] == key_M[found_M]
    gain_N = np.zeros(len(candidates), np.float32)
    np.maximum.at(gain_N, at_M[found_M], taken.weight_N[found_M])
    return gain_N


def _fit_retrievers(
    config: TwoStageConfig, training: TrainingSet, seed: int, *, settled_by: Mapping[str, Model] | None = None
) -> dict[str, Model]:
    """Fit the retrievers; what they choose on validation is chosen once, by those of `settled_by`."""
    chosen = {name: settled_of(model, _family(name)) for name, model in (settled_by or {}).items()}
    return {
        name: family.fit(chosen.get(name) or family.config(), training, seed)
        for name, family in ((name, _family(name)) for name in config.retrievers)
    }


def _family(name: str) -> Family:
    from models.families import FAMILIES  # the registry imports this module when asked

    return FAMILIES[name]


def _check(config: TwoStageConfig, training: TrainingSet) -> None:
    faults = []
    if not training.cutoffs and training.inner == "time":
        faults.append(
            "the training set has no cut-offs, so there are no labels to rank by; ask for at least one"
        )
    if len(config.depths) != len(config.retrievers):
        faults.append(f"{len(config.retrievers)} retrievers but {len(config.depths)} depths; give one each")
    if len(set(config.retrievers)) > 8 or len(set(config.retrievers)) != len(config.retrievers):
        faults.append(f"retrievers {config.retrievers} must be at most 8 different families")
    if config.family in config.retrievers:
        faults.append(f"{config.family} cannot retrieve for itself; name other families")
    if faults:
        raise ConfigError("; ".join(faults))


def registered(kind: type[TwoStageConfig], paper: str) -> Family:
    """Return the registry line of two stages with this config."""
    return Family(config=kind, fit=fit, load=partial(load, kind), paper=paper, seeded=True)


STAGES = (
    "Covington, Adams, Sargin: Deep neural networks for YouTube recommendations, RecSys 2016 (two stages)"
)
FAMILY = registered(
    TwoStageConfig,
    f"{STAGES}; Burges: From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82 (the ranker)",
)
