"""Exposure: another family's lists, whose last places go to items that would otherwise hardly be shown.

The inner family keeps the leading places. Who gets the last ones is a matter of what the inner family and the explorers say
of a person, of how many took the item, and of a bonus for items that few lists hold (models/assembly/exposure.py). How large
a bonus may be is chosen on validation. Shapes: P people, D list length, I items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import InputError, IntegrityError
from models import artefact
from models.assembly import members
from models.assembly.exposure import Board, board, fill, learn
from models.assembly.members import Cut, Member
from models.assembly.worth import total, worth
from models.config import Checked, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.families import dense
from models.family import Family, Model, joined
from models.metrics.accuracy import hits, ndcg, taken
from models.rank import pool

ASKED = 6_000  # people of the trial who are asked when the bonus is chosen
CROWD = 6_000  # people whose lists the bonus is learned from
BONUSES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
SMOOTHING = 20.0  # of ranks (models/assembly/worth.py)
PEOPLE_PER_PART = 512
CURVE = "curve.json"


@dataclass(frozen=True, kw_only=True)
class ExposureConfig(Checked):
    """The inner family, who else proposes, and what is given away.

    Of the first `at` places (10; for sessions 20) the last `share` are given. Worth is divided by the takers of an item to the
    `power`. `most` is the largest bonus, in shares of a person's best candidate; None: the bonus, and as many places up to
    `share`, that show most of the catalogue while nDCG@`at` stays at `keep` of the inner family's, in the mean on validation.
    The inner family is asked for `depth`, explorers for `reach`; explorers that refuse the data are left out.
    """

    family: ClassVar[str] = "exposure"
    inner: str = "twostage"
    explorers: tuple[str, ...] = ("ease", "bpr")
    depth: int = bounds(50, 1, 10_000)
    reach: int = bounds(200, 1, 10_000)
    share: float = bounds(0.2, 0.0, 0.9)
    power: float = bounds(0.2, 0.0, 4.0)
    most: float | None = bounds(None, 0.0, 10.0)
    keep: float = bounds(0.99, 0.0, 1.0)
    at: int | None = bounds(None, 1, 1000)

    @property
    def places(self) -> int:
        """Return how many places are given away."""
        return int(self.share * (self.at or 0) + 1e-9)


class Exposure:
    """The fitted inner family and explorers, how many people took each item, and each item's bonus."""

    def __init__(
        self,
        config: ExposureConfig,
        models: Mapping[str, Model],
        takers_I: np.ndarray,
        bonus_I: np.ndarray,
        tried: tuple[dict[str, float], ...],
    ) -> None:
        self.config = config
        self.models = models
        self.takers_I = takers_I
        self.bonus_I = bonus_I
        self.tried = tried

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the leading items, those that are exposed, and the rest; InputError for a question that does not fit."""
        dense.check(query, k, len(self.takers_I))
        return joined(self._part(part, k) for part in query.parts(PEOPLE_PER_PART))

    def save(self, folder: Path) -> None:
        """Write `exposure.json`, the bonuses tried as `curve.json`, takers, bonuses, and a sub folder per member."""
        artefact.write_json(folder / "exposure.json", self.config)
        artefact.write_json(folder / CURVE, self.tried)
        artefact.write_array(folder / "takers.npy", self.takers_I)
        artefact.write_array(folder / "bonus.npy", self.bonus_I)
        for name, model in self.models.items():
            (folder / name).mkdir()
            model.save(folder / name)

    def _part(self, query: Query, k: int) -> Ranking:
        names = (self.config.inner, *self.config.explorers)
        longest = max(self.config.depth, k + self.config.places)
        inner = self.models[names[0]].recommend(query, min(longest, query.items))
        others = [
            self.models[name].recommend(query, min(self.config.reach, query.items)) for name in names[1:]
        ]
        laid, lead = _laid(self.config, [inner, *others], dense.padded(self.takers_I, query.items))
        bonus_I = dense.padded(self.bonus_I, query.items)
        return fill(_from(inner, names), laid, bonus_I, lead, self.config.places, min(k, query.items))


def fit(config: ExposureConfig, training: TrainingSet, seed: int) -> Exposure:
    """Fit inner family and explorers on what may be learned, choose the largest bonus, fit all on everything, learn the bonuses.

    Nothing is given away without explorers, or where training sets are too small to choose by. ConfigError when the inner
    family, or every explorer, refuses the data.
    """
    names = (config.inner, *config.explorers)
    members.check(names, config.family)
    config = replace(config, at=config.at or members.length(training))
    nothing = replace(config, explorers=(), share=0.0, most=0.0)
    if not config.explorers or not config.places:
        return _alone(nothing, _fitted(config.inner, training, seed), training)
    try:
        cut = members.cut(training, ASKED)
    except InputError:
        return _alone(nothing, _fitted(config.inner, training, seed), training)
    crowd = _crowd(cut.blind)
    found, _ = members.ask((config.inner,), cut, config.depth, seed, also=crowd)
    explorers, _ = members.ask(config.explorers, cut, config.reach, seed, also=crowd)
    found += explorers
    config = replace(config, explorers=tuple(member.name for member in explorers))
    whole = cut.whole or cut.blind
    tried: tuple[dict[str, float], ...] = ()
    if config.most is None:
        config, tried = _affordable(config, found, cut)
    if not config.places:
        return _alone(nothing, members.final(found[0], cut, seed), whole, tried)
    models = {member.name: members.final(member, cut, seed) for member in found}
    takers_I = dense.buyers(whole.interactions)
    lists = _crowds(found)
    if cut.whole is not None:  # fitted anew, on more
        crowd = _crowd(whole)
        lists = [
            model.recommend(
                crowd, min(config.reach if name in config.explorers else config.depth, crowd.items)
            )
            for name, model in models.items()
        ]
    laid, lead = _laid(config, lists, takers_I)
    bonus_I = _bonuses(config, laid, lists[0].item_PK[:, :lead], len(takers_I), cut.trial.query.people)
    return Exposure(config, models, takers_I, bonus_I, tried)


def _fitted(name: str, training: TrainingSet, seed: int) -> Model:
    kind = members.family(name)
    return kind.fit(kind.config(), training, seed)


def _alone(
    config: ExposureConfig, inner: Model, training: TrainingSet, tried: tuple[dict[str, float], ...] = ()
) -> Exposure:
    """Return the inner family's model with nothing given away."""
    takers_I = dense.buyers(training.interactions)
    return Exposure(config, {config.inner: inner}, takers_I, np.zeros_like(takers_I), tried)


def _crowd(training: TrainingSet) -> Query:
    """Return the question for those who are known, at most CROWD of them, evenly spread."""
    people_P = np.unique(training.interactions.person_N)
    if len(people_P) > CROWD:
        people_P = people_P[np.linspace(0, len(people_P) - 1, CROWD).astype(np.int64)]
    return training.query(people_P, training.until_us)


def _laid(config: ExposureConfig, lists: Sequence[Ranking], takers_I: np.ndarray) -> tuple[Board, int]:
    """Lay out what all propose, and return it with the number of leading places."""
    lead = (config.at or 0) - config.places
    inner = lists[0]
    cropped = replace(
        inner,
        item_PK=inner.item_PK[:, : config.depth],
        score_PK=inner.score_PK[:, : config.depth],
        source_PK=inner.source_PK[:, : config.depth],
    )
    found = pool.merge([cropped, *lists[1:]], len(inner.item_PK), len(takers_I))
    worth_N = total(worth(found, "rank", SMOOTHING), (1.0,) * len(lists))
    return board(found, worth_N, takers_I, config.power, inner.item_PK[:, :lead]), lead


def _from(inner: Ranking, names: tuple[str, ...]) -> Ranking:
    """Return the inner ranking as one source among the members."""
    return replace(inner, sources=names, source_PK=(inner.item_PK >= 0).astype(np.uint8))


def _crowds(found: Sequence[Member]) -> list[Ranking]:
    return [member.crowd for member in found if member.crowd is not None]


def _bonuses(config: ExposureConfig, laid: Board, head_PH: np.ndarray, items: int, asked: int) -> np.ndarray:
    """Learn the bonuses from the crowd's lists, so that each item is shown once among as many people as come in a while."""
    quota = max(1.0, len(head_PH) / max(1, asked))
    return learn(laid, head_PH, items, config.places, config.most or 0.0, quota)


def _affordable(
    config: ExposureConfig, found: Sequence[Member], cut: Cut
) -> tuple[ExposureConfig, tuple[dict[str, float], ...]]:
    """Return the config with the places and the bonus that show most of the catalogue, and what was tried.

    nDCG stays at `keep` of the inner family's in the mean; no place is given away where even one costs more without a bonus.
    """
    truth, k = cut.trial.truth, config.at or 0
    taken_P = taken(truth)
    takers_I = dense.buyers(cut.blind.interactions)
    lists = [member.ranking for member in found]
    crowds = _crowds(found)
    inner = _from(lists[0], tuple(member.name for member in found))
    before = float(ndcg(hits(inner.item_PK[:, :k], truth), taken_P, k).mean())
    chosen, widest = replace(config, share=0.0, most=0.0), 0.0
    tried: list[dict[str, float]] = []
    for places in range(config.places, 0, -1):
        given = replace(config, share=places / k)
        laid, lead = _laid(given, lists, takers_I)
        crowd, _ = _laid(given, crowds, takers_I)
        for most in BONUSES:
            given = replace(given, most=most)
            bonus_I = _bonuses(given, crowd, crowds[0].item_PK[:, :lead], len(takers_I), len(truth))
            item_PK = fill(inner, laid, bonus_I, lead, places, k).item_PK
            after = float(ndcg(hits(item_PK, truth), taken_P, k).mean())
            shown = len(np.unique(item_PK[item_PK >= 0])) / max(1, len(takers_I))
            tried.append(
                {
                    "step": len(tried),
                    "places": places,
                    "most": most,
                    f"ndcg@{k}": after,
                    f"coverage@{k}": shown,
                }
            )
            if after < config.keep * before:
                break
            if shown > widest:
                chosen, widest = given, shown
    return chosen, tuple(tried)


def load(folder: Path) -> Exposure:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: ExposureConfig = build(ExposureConfig, artefact.read_json(folder / "exposure.json"), "exposure")
    members.check((config.inner, *config.explorers), config.family)
    takers_I = artefact.read_array(folder / "takers.npy", np.float32)
    bonus_I = artefact.read_array(folder / "bonus.npy", np.float32)
    if len(takers_I) != len(bonus_I):
        raise IntegrityError("takers.npy and bonus.npy differ in length; restore the artefact by its digest")
    models = {name: members.family(name).load(folder / name) for name in (config.inner, *config.explorers)}
    return Exposure(config, models, takers_I, bonus_I, artefact.read_steps(folder / CURVE))


FAMILY = Family(
    config=ExposureConfig,
    fit=fit,
    load=load,
    paper="Xu, Chen, Xu, Wen: P-MMF: provider max-min fairness re-ranking in recommender system, WWW 2023; Balseiro, Lu, "
    "Mirrokni: Dual mirror descent for online allocation problems, ICML 2020",
    seeded=True,
)
