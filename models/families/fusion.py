"""Fusion: a family made of families. Members answer apart; a weighed sum of what their places are worth orders what they propose.

Which members count and how much is chosen on people whom no member has learned from (models/assembly/weigh.py); members of no
weight are dropped. Shapes: P people, K list length, N rows of a pool, M members.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from counterfoil.errors import ConfigError, InputError, IntegrityError
from models import artefact
from models.assembly import members
from models.assembly.members import Cut, Member
from models.assembly.weigh import Weights, weigh
from models.assembly.worth import Kind, total, worth
from models.config import Checked, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.explain import Explanation, Part, proposals
from models.families import dense
from models.family import Family, Model, joined
from models.rank import pool

ASKED = 6_000  # people of the trial who are asked when weights are chosen
KINDS: tuple[Kind, ...] = ("score", "rank")
PEOPLE_PER_PART = 512
CURVE = "curve.json"


@dataclass(frozen=True, kw_only=True)
class FusionConfig(Checked):
    """Members by name, each with its defaults, and how their lists become one.

    Without `members` those that suit the data are taken (models/assembly/members.py); without `weights`, one per member, and
    without `kind` both are chosen on validation by nDCG@`at` (10; for sessions by the mean of nDCG@20 and recall@20). `depth` is
    the length of the members' lists.
    """

    family: ClassVar[str] = "fusion"
    members: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    kind: Kind | None = None
    smoothing: float = bounds(20.0, 0.0, 1e6)
    depth: int = bounds(200, 1, 10_000)
    at: int | None = bounds(None, 1, 1000)


class Fusion:
    """Fitted members of some weight, how the weights were found, and who was left out and why."""

    def __init__(
        self,
        config: FusionConfig,
        models: Mapping[str, Model],
        items: int,
        left_out: Mapping[str, str],
        ascent: tuple[dict[str, float], ...],
    ) -> None:
        self.config = config
        self.models = models
        self.items = items
        self.left_out = left_out
        self.ascent = ascent

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the best `k` of all that the members propose; InputError for a question that does not fit."""
        dense.check(query, k, self.items)
        return joined(self._part(part, k) for part in query.parts(PEOPLE_PER_PART))

    def explain(self, query: Query, item_N: np.ndarray, k: int) -> tuple[Explanation, ...]:
        """Return what each member's opinion of these items is worth, times its weight, and how the member came to it."""
        depth = min(max(self.config.depth, k), query.items)
        lists = [self.models[name].recommend(query, depth) for name in self.config.members]
        found = pool.merge(lists, query.people, query.items)
        worth_NM = worth(found, self.config.kind or KINDS[0], self.config.smoothing)
        by_item = {item: row for row, item in enumerate(found.item_N.tolist())}
        models = {name: self.models[name] for name in self.config.members}
        out = []
        for item, who in zip(item_N.tolist(), proposals(models, lists, query, item_N, depth), strict=True):
            value_M = worth_NM[by_item[item]].tolist() if item in by_item else [0.0] * len(models)
            weighed = zip(self.config.members, value_M, self.config.weights, strict=True)
            parts = tuple(
                Part(name=name, value=value, added=value * weight) for name, value, weight in weighed
            )
            said = f"what a place is worth (by {self.config.kind}) in each member's list, times the member's weight"
            total = sum(part.added for part in parts)
            out.append(
                Explanation(
                    item=item, method="weight x worth", said=said, total=total, parts=parts, members=who
                )
            )
        return tuple(out)

    def save(self, folder: Path) -> None:
        """Write `fusion.json`, the ascent as `curve.json`, and one sub folder per member."""
        about = {"config": self.config, "items": self.items, "left_out": self.left_out}
        artefact.write_json(folder / "fusion.json", about)
        artefact.write_json(folder / CURVE, self.ascent)
        for name, model in self.models.items():
            (folder / name).mkdir()
            model.save(folder / name)

    def _part(self, query: Query, k: int) -> Ranking:
        depth = min(max(self.config.depth, k), query.items)
        lists = [self.models[name].recommend(query, depth) for name in self.config.members]
        found = pool.merge(lists, query.people, query.items)
        worth_NM = worth(found, self.config.kind or KINDS[0], self.config.smoothing)
        return pool.best(found, total(worth_NM, self.config.weights), k, self.config.members)


def fit(config: FusionConfig, training: TrainingSet, seed: int) -> Fusion:
    """Fit members on what may be learned, choose how much each counts, and fit those that do on everything.

    Training sets too small to choose by get equal weights. ConfigError for members that cannot be.
    """
    names = config.members or members.usual(training)
    members.check(names, config.family)
    if config.weights:
        return _given(replace(config, members=names), training, seed)
    try:
        cut = members.cut(training, ASKED)
    except InputError:
        equal = replace(config, members=names, weights=(1.0,) * len(names))
        return _given(equal, training, seed)
    found, left_out = members.ask(names, cut, config.depth, seed)
    chosen = weigh(
        [member.name for member in found],
        [member.ranking for member in found],
        cut.trial.truth,
        kinds=KINDS if config.kind is None else (config.kind,),
        smoothing=config.smoothing,
        items=cut.trial.query.items,
        k=config.at or members.length(training),
        flat=members.flat(training),
    )
    return _assembled(config, found, chosen, cut, left_out, seed)


def _assembled(
    config: FusionConfig,
    found: list[Member],
    chosen: Weights,
    cut: Cut,
    left_out: dict[str, str],
    seed: int,
) -> Fusion:
    kept = [(member, weight) for member, weight in zip(found, chosen.weight_M, strict=True) if weight]
    settled = replace(
        config,
        members=tuple(member.name for member, _ in kept),
        weights=tuple(weight for _, weight in kept),
        kind=chosen.kind,
    )
    fitted = {member.name: members.final(member, cut, seed) for member, _ in kept}
    without = {
        member.name: "it adds nothing on validation"
        for member, weight in zip(found, chosen.weight_M, strict=True)
        if not weight
    }
    return Fusion(settled, fitted, cut.trial.query.items, left_out | without, chosen.ascent)


def _given(config: FusionConfig, training: TrainingSet, seed: int) -> Fusion:
    """Fit members whose weights are known; those that refuse the data are left out."""
    if len(config.weights) != len(config.members) or min(config.weights) < 0 or not any(config.weights):
        raise ConfigError(
            f"{len(config.members)} members but weights {config.weights}; give one each, none below 0 and one above"
        )
    fitted: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    for name, weight in zip(config.members, config.weights, strict=True):
        if not weight:
            continue
        kind = members.family(name)
        try:
            fitted[name] = kind.fit(kind.config(), training, seed)
        except (ConfigError, InputError) as refusal:
            left_out[name] = str(refusal)
    if not fitted:
        told = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ConfigError(f"no member can be fitted on these data ({told}); name other families")
    weights = dict(zip(config.members, config.weights, strict=True))
    settled = replace(
        config,
        members=tuple(fitted),
        weights=tuple(weights[name] for name in fitted),
        kind=config.kind or KINDS[0],
    )
    return Fusion(settled, fitted, training.interactions.items, left_out, ())


def load(folder: Path) -> Fusion:
    """Read what `save` wrote; IntegrityError when it is not that."""
    about = artefact.read_json(folder / "fusion.json")
    if not {"config", "items", "left_out"} <= about.keys():
        raise IntegrityError("fusion.json lacks a part; restore the artefact by its digest")
    config: FusionConfig = build(FusionConfig, about["config"], FusionConfig.family)
    if not config.members or len(config.members) != len(config.weights):
        raise IntegrityError(
            "fusion.json does not give one weight per member; restore the artefact by its digest"
        )
    models = {name: members.family(name).load(folder / name) for name in config.members}
    return Fusion(config, models, about["items"], about["left_out"], artefact.read_steps(folder / CURVE))


FAMILY = Family(
    config=FusionConfig,
    fit=fit,
    load=load,
    paper="Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet, SIGIR 2009; Fox, Shaw: Combination of "
    "multiple searches, TREC-2 1994 (CombSUM)",
    seeded=True,
)
