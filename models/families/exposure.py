"""Exposure: members propose, learned chances order it, and what is hardly shown gets room.

Trees say how likely a person takes what members propose (models/assembly/chance.py). A list holds what is likeliest plus a bonus
for items that few lists hold (models/assembly/exposure.py), as far as the chances say that it costs little. Shapes: P people,
I items, N rows of a pool, K list length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import InputError, IntegrityError
from models import artefact
from models.assembly import chance, members
from models.assembly.exposure import Board, board, fill, join, learn
from models.assembly.members import Cut, Member
from models.config import Checked, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation, Proposal, explained, parts_of, proposals
from models.families import dense
from models.family import Family, Model, joined
from models.metrics.accuracy import hits, ndcg, taken
from models.rank import booster, pool
from models.rank.booster import Booster
from models.rank.pool import Pool

ASKED = 3_000  # people of the trial from whom chances are learned
CROWD = 6_000  # people whose lists the bonus is learned from
BONUSES = (0.0, 0.1, 0.2, 0.25, 0.3, 0.325, 0.35, 0.375, 0.4, 0.425, 0.45, 0.5, 0.6, 0.7, 1.0)
LATER_FIRSTS = ("twostage", "sessionknn", "ease", "als", "bpr")
WIDE = ("bpr",)  # asked beside the members that suit the data: they propose what these do not
SAME_FOR_ALL = ("popularity",)  # a place in its list names the item (models/assembly/chance.py)
PEOPLE_PER_PART = 512
CURVE = "curve.json"


@dataclass(frozen=True, kw_only=True)
class ExposureConfig(Checked):
    """Who proposes, and how far lists make room for what is hardly shown.

    Without `members` those that suit the data are taken; each is asked for `depth`. Chances are divided by the takers of an
    item to the `power`. `most` is the largest bonus, as a share of the median person's best value; None: the largest one by
    which nDCG@`at` (10; for sessions 20) is expected to stay at `keep` of the best member's, and to lose no more than the
    share `give` of its own.
    """

    family: ClassVar[str] = "exposure"
    members: tuple[str, ...] = ()
    depth: int = bounds(100, 1, 10_000)
    power: float = bounds(0.1, 0.0, 4.0)
    most: float | None = bounds(None, 0.0, 10.0)
    keep: float = bounds(0.99, 0.0, 1.0)
    give: float = bounds(0.02, 0.0, 1.0)
    at: int | None = bounds(None, 1, 1000)


class Exposure:
    """Fitted members, the trees that know their chances (None: a single member answers alone), takers and bonus per item."""

    def __init__(
        self,
        config: ExposureConfig,
        models: Mapping[str, Model],
        trees: Booster | None,
        takers_I: np.ndarray,
        bonus_I: np.ndarray,
        tried: tuple[dict[str, float], ...],
    ) -> None:
        self.config = config
        self.models = models
        self.trees = trees
        self.takers_I = takers_I
        self.bonus_I = bonus_I
        self.tried = tried

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` of all that the members propose; InputError for a question that does not fit."""
        dense.check(query, k, len(self.bonus_I))
        if self.trees is None:
            return self.models[self.config.members[0]].recommend(query, k)
        return joined(self._part(self.trees, part, k) for part in query.parts(PEOPLE_PER_PART))

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each signal added to the log-odds that an item is taken, its bonus, and how members came to propose it.

        Where a single member answers, its explanation.
        """
        if self.trees is None:
            return explained(self.models[self.config.members[0]], query, item_N, k)
        depth = min(max(self.config.depth, k), query.items)
        lists = [self.models[name].recommend(query, depth) for name in self.config.members]
        found = pool.merge(lists, query.people, query.items)
        signal_NF = chance.signals(found, _had(query))
        parts_NF = self.trees.contributions(signal_NF) if len(found) else np.zeros((0, 1), np.float32)
        chance_N = self.trees.score(signal_NF)
        by_item = {item: row for row, item in enumerate(found.item_N.tolist())}
        models = {name: self.models[name] for name in self.config.members}
        proposed = proposals(models, lists, query, item_N, depth)
        return tuple(
            self._explained(item, by_item.get(item), who, signal_NF, parts_NF, chance_N)
            for item, who in zip(item_N.tolist(), proposed, strict=True)
        )

    def _explained(
        self,
        item: int,
        row: int | None,
        who: tuple[Proposal, ...],
        signal_NF: np.ndarray,
        parts_NF: np.ndarray | None,
        chance_N: np.ndarray,
    ) -> Explanation:
        if row is None or parts_NF is None or self.trees is None:
            return Explanation(item=item, method="none", said="no member proposed it")
        bonus = float(self.bonus_I[item]) if item < len(self.bonus_I) else 0.0
        return Explanation(
            item=item,
            method=self.trees.told,
            said=f"the log-odds of the chance that it is taken, {chance_N[row]:.4g}; a list holds the best by chance (less for "
            f"what many take) plus a bonus for what few lists hold, here {bonus:.4g}; the score is 1 over the place",
            total=float(np.log(chance_N[row]) - np.log1p(-float(chance_N[row]))),
            of="log-odds of the chance",
            bias=float(parts_NF[row, -1]),
            parts=parts_of(self.trees.names, signal_NF[row], parts_NF[row]),
            members=who,
        )

    def save(self, folder: Path) -> None:
        """Write `exposure.json`, the bonuses tried as `curve.json`, the trees, takers, bonuses, and a sub folder per member."""
        artefact.write_json(folder / "exposure.json", self.config)
        artefact.write_json(folder / CURVE, self.tried)
        artefact.write_array(folder / "takers.npy", self.takers_I)
        artefact.write_array(folder / "bonus.npy", self.bonus_I)
        if self.trees is not None:
            self.trees.save(folder)
        for name, model in self.models.items():
            (folder / name).mkdir()
            model.save(folder / name)

    def _part(self, trees: Booster, query: Query, k: int) -> Ranking:
        depth = min(max(self.config.depth, k), query.items)
        lists = [self.models[name].recommend(query, depth) for name in self.config.members]
        laid = _laid(self.config, lists, trees, dense.padded(self.takers_I, query.items), _had(query))
        bonus_I = dense.padded(self.bonus_I, query.items)
        return fill(laid, bonus_I, self.config.at or 0, min(k, query.items), self.config.members)


def fit(config: ExposureConfig, training: TrainingSet, seed: int) -> Exposure:
    """Fit members on what may be learned, learn chances, choose the largest bonus, fit all on everything, learn the bonuses.

    One member answers alone: the only one, or the only one that does not refuse the data; the first where training sets are too
    small to choose by; the best where chances learned from its trial do not reach it. ConfigError for members that cannot be, or
    all refuse.
    """
    names = config.members or _usual(training)
    members.check(names, config.family)
    config = replace(config, members=names, at=config.at or members.length(training))
    first = members.family(names[0])
    if len(names) == 1:
        return _alone(config, names[0], first.fit(first.config(), training, seed), training)
    try:
        cut = members.cut(training, ASKED)
    except InputError:
        return _alone(config, names[0], first.fit(first.config(), training, seed), training)
    crowd = _crowd(cut.blind)
    found, _ = members.ask(names, cut, config.depth, seed, also=crowd)
    if len(found) == 1:
        return _alone(config, found[0].name, members.final(found[0], cut, seed), training)
    config = replace(config, members=tuple(member.name for member in found))
    trial = _Trial(config, found, cut)
    lesson = trial.lesson
    chance_N = chance.apart(lesson, seed, training.threads)
    best = max(found, key=lambda member: trial.accuracy(member.ranking.item_PK))
    fused = _board(config, trial.pool, chance_N, trial.takers_I)
    nothing_I = np.zeros_like(trial.takers_I)
    if trial.accuracy(trial.lists(fused, nothing_I)) < config.keep * trial.accuracy(best.ranking.item_PK):
        return _alone(config, best.name, members.final(best, cut, seed), training)
    trees = chance.learn(lesson, seed, training.threads)
    laid = _crowded(config, _crowds(found), trees, trial.takers_I, crowd)
    tried: tuple[dict[str, float], ...] = ()
    if config.most is None:
        config, tried = _affordable(config, trial, fused, laid, chance_N, best)
    models = {member.name: members.final(member, cut, seed) for member in found}
    takers_I = trial.takers_I
    if cut.whole is not None:  # fitted anew, on more
        takers_I, crowd = dense.buyers(cut.whole.interactions), _crowd(cut.whole)
        lists = [model.recommend(crowd, min(config.depth, crowd.items)) for model in models.values()]
        laid = _crowded(config, lists, trees, takers_I, crowd)
    bonus_I = _bonuses(config, laid, len(takers_I), len(trial.truth))
    return Exposure(config, models, trees, takers_I, bonus_I, tried)


class _Trial:
    """What members proposed on the trial, and what was taken."""

    def __init__(self, config: ExposureConfig, found: Sequence[Member], cut: Cut) -> None:
        self.k = config.at or 0
        self.truth = cut.trial.truth
        self.takers_I = dense.buyers(cut.blind.interactions)
        self.pool = pool.merge(
            [member.ranking for member in found], cut.trial.query.people, cut.trial.query.items
        )
        self.taken_P = taken(self.truth)
        self.lesson = chance.lesson(self.pool, config.members, self.truth, _had(cut.trial.query), self.k)

    def accuracy(self, item_PK: np.ndarray) -> float:
        """Return the mean nDCG of these lists."""
        item_PK = item_PK[:, : self.k]
        return float(ndcg(hits(item_PK, self.truth), self.taken_P, self.k).mean())

    def lists(self, fused: Board, bonus_I: np.ndarray) -> np.ndarray:
        """Return the leading items of a board, int64 [P, K]."""
        return fused.items(fused.best(bonus_I, self.k))

    def foreseen(self, item_PK: np.ndarray, chance_N: np.ndarray) -> float:
        """Return the nDCG that these lists may expect; what no member proposed has no chance."""
        item_PK = item_PK[:, : self.k]
        key_N, key_PK = self.pool.key_N, np.arange(len(item_PK))[:, None] * self.pool.items + item_PK
        at_PK = np.minimum(np.searchsorted(key_N, key_PK), len(key_N) - 1)
        known_PK = (key_N[at_PK] == key_PK) & (item_PK >= 0)
        return float(ndcg(np.where(known_PK, chance_N[at_PK], 0.0), self.taken_P, self.k).mean())


def _usual(training: TrainingSet) -> tuple[str, ...]:
    """Return the members that suit the data and can be told from each other by what they say of a person."""
    names = members.usual(training)
    if names == members.LATER_FIRSTS:
        return LATER_FIRSTS
    kept = tuple(name for name in names if name not in SAME_FOR_ALL)
    return kept + tuple(name for name in WIDE if name not in kept)


def _alone(config: ExposureConfig, name: str, model: Model, training: TrainingSet) -> Exposure:
    """Return the model in which one member answers alone."""
    config = replace(config, members=(name,), most=0.0)
    takers_I = dense.buyers(training.interactions)
    return Exposure(config, {name: model}, None, takers_I, np.zeros_like(takers_I), ())


def _crowd(training: TrainingSet) -> Query:
    """Return the question for those who are known, at most CROWD of them, evenly spread."""
    people_P = np.unique(training.interactions.person_N)
    if len(people_P) > CROWD:
        people_P = people_P[np.linspace(0, len(people_P) - 1, CROWD).astype(np.int64)]
    return training.query(people_P, training.until_us)


def _had(query: Query) -> np.ndarray:
    """Return how many interactions of each person the question brings, int64 [P]."""
    return np.diff(query.history.indptr)


def _crowds(found: Sequence[Member]) -> list[Ranking]:
    return [member.crowd for member in found if member.crowd is not None]


def _board(config: ExposureConfig, found: Pool, chance_N: np.ndarray, takers_I: np.ndarray) -> Board:
    return board(found, chance_N * (takers_I[found.item_N] + 1.0) ** np.float32(-config.power))


def _laid(
    config: ExposureConfig, lists: Sequence[Ranking], trees: Booster, takers_I: np.ndarray, had_P: np.ndarray
) -> Board:
    """Lay out what all propose, by the chances that trees see."""
    found = pool.merge(lists, len(had_P), len(takers_I))
    return _board(config, found, trees.score(chance.signals(found, had_P)), takers_I)


def _crowded(
    config: ExposureConfig, lists: Sequence[Ranking], trees: Booster, takers_I: np.ndarray, crowd: Query
) -> Board:
    """Lay the crowd's lists out part by part, so that signals of all are never held at once."""
    had_P = _had(crowd)
    return join(
        [
            _laid(config, [_rows(ranking, part) for ranking in lists], trees, takers_I, had_P[part])
            for part in _parts(crowd.people)
        ]
    )


def _parts(people: int) -> Iterator[slice]:
    for start in range(0, people, PEOPLE_PER_PART):
        yield slice(start, min(start + PEOPLE_PER_PART, people))


def _rows(ranking: Ranking, part: slice) -> Ranking:
    return replace(
        ranking,
        item_PK=ranking.item_PK[part],
        score_PK=ranking.score_PK[part],
        source_PK=ranking.source_PK[part],
    )


def _bonuses(config: ExposureConfig, laid: Board, items: int, asked: int) -> np.ndarray:
    """Learn the bonuses from the crowd's lists, so that each item is shown once among as many people as come in a while."""
    best_P = laid.value_PC[:, 0]
    unit = float(np.median(best_P[np.isfinite(best_P)]))
    quota = max(1.0, len(best_P) / max(1, asked))
    return learn(laid, items, config.at or 0, (config.most or 0.0) * unit, quota)


def _affordable(
    config: ExposureConfig, trial: _Trial, fused: Board, laid: Board, chance_N: np.ndarray, best: Member
) -> tuple[ExposureConfig, tuple[dict[str, float], ...]]:
    """Return the config with the largest bonus that costs little by the chances, and what was tried.

    Hits are too few to tell such lists apart: luck would choose. Chances are those of trees that did not learn from the person.
    """
    least = config.keep * trial.foreseen(best.ranking.item_PK, chance_N)
    most, k = 0.0, trial.k
    tried: list[dict[str, float]] = []
    for bonus in BONUSES:
        bonus_I = _bonuses(replace(config, most=bonus), laid, trial.pool.items, len(trial.truth))
        item_PK = trial.lists(fused, bonus_I)
        expected = trial.foreseen(item_PK, chance_N)
        if not tried:
            least = max(least, (1 - config.give) * expected)
        tried.append(
            {
                "step": len(tried),
                "most": bonus,
                f"ndcg@{k}": trial.accuracy(item_PK),
                f"expected_ndcg@{k}": expected,
                f"coverage@{k}": len(np.unique(item_PK[item_PK >= 0])) / trial.pool.items,
            }
        )
        if expected < least:
            break
        most = bonus
    return replace(config, most=most), tuple(tried)


def load(folder: Path) -> Exposure:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: ExposureConfig = build(ExposureConfig, artefact.read_json(folder / "exposure.json"), "exposure")
    members.check(config.members, config.family)
    takers_I = artefact.read_array(folder / "takers.npy", np.float32)
    bonus_I = artefact.read_array(folder / "bonus.npy", np.float32)
    if len(takers_I) != len(bonus_I):
        raise IntegrityError("takers.npy and bonus.npy differ in length; restore the artefact by its digest")
    alone = not (folder / booster.FILE).exists()
    if alone and len(config.members) > 1:
        raise IntegrityError(f"{booster.FILE} is missing; restore the artefact by its digest")
    trees = None if alone else booster.load(chance.TREES, folder, chance.names(config.members))
    models = {name: members.family(name).load(folder / name) for name in config.members}
    return Exposure(config, models, trees, takers_I, bonus_I, artefact.read_steps(folder / CURVE))


FAMILY = Family(
    config=ExposureConfig,
    fit=fit,
    load=load,
    paper="Wolpert: Stacked generalization, Neural Networks 1992; Xu, Chen, Xu, Wen: P-MMF: provider max-min fairness re-ranking "
    "in recommender system, WWW 2023; Balseiro, Lu, Mirrokni: Dual mirror descent for online allocation problems, ICML 2020",
    seeded=True,
)
