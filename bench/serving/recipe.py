"""What is served: a sequence encoder proposes 200 items, 300 trees of depth 6 rank them by 40 signals.

Training quality is not measured, work per answer is: the encoder learns a little, once, and every seed's trees learn from what it
proposed. The parts are the product's own; only the sizes are set here, where a use case would leave them to the data.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from counterfoil.catalog import Made
from counterfoil.types import Attempt, Dataset, FamilyConfig, FeatureSpec, Gate, UseCase
from flows import verbs
from flows.cost import measured
from flows.place import Place
from flows.pure import emptied
from flows.verbs.learning import kept
from models.families.popularity import PopularityConfig
from models.families.sasrec import SasRecConfig
from models.families.twostage import TwoStageConfig
from models.rank.booster import BoosterConfig
from models.rank.examples import Examples

CANDIDATES, SIGNALS, EXPLORED = 200, 40, 20
ENCODER = SasRecConfig(blocks=2, heads=1, width=64, length=50, epochs=0.5)
TREES = BoosterConfig(trees=300, depth=6, min_child_weight=1.0, columns=1.0)
CONFIG = TwoStageConfig(retrievers=("sasrec",), depths=(CANDIDATES,), ranker=TREES, rows=200_000)


def use_case(name: str = "recommendation") -> UseCase:
    """Return the use case: a week to foretell, popularity to beat, and the two stages with one seed more."""
    return UseCase(
        name=name,
        task="rank",
        features=FeatureSpec(
            service="recommendation_v1",
            keys=("person", "item"),
            label_kinds=("purchase",),
            horizon_days=7,
            cutoffs=1,
        ),
        contenders=(PopularityConfig(), CONFIG),
        baseline="popularity",
        gate=Gate(primary="ndcg@10", margin=0.0001, min_units=50, noise_seeds=(1,)),
    )


def fit(
    place: Place,
    use_case: str,
    dataset: Dataset,
    config: FamilyConfig,
    seed: int,
    chosen_by: Sequence[Attempt] = (),
) -> Made:
    """Fit a contender: the two stages as this recipe has them, any other as the product does."""
    if not isinstance(config, TwoStageConfig):
        return verbs.fit(place, use_case, dataset, config, seed, chosen_by)
    folder = emptied(place.folder(use_case, "candidates", f"{config.family}-seed-{seed}"))
    folder.mkdir(parents=True)
    with measured() as cost:
        two_stages(place.opened(dataset.address, dataset.sha256), config, seed, place.settings.threads).save(
            folder
        )
    return kept(place, use_case, dataset, config, seed, folder, cost)


def two_stages(dataset: Path, config: TwoStageConfig, seed: int, threads: int) -> Any:
    """Grow this seed's trees over the encoder's candidates, and return both as one model."""
    from models.families.twostage import TwoStage
    from models.rank import ranker

    retrievers, examples, lore = learned(dataset, config, threads)
    scout = ranker.grow(replace(TREES, trees=EXPLORED), examples.telling(), seed=seed, threads=threads)
    grown = ranker.grow(config.ranker, only(examples, most_used(scout, SIGNALS)), seed=seed, threads=threads)
    return TwoStage(config, retrievers, grown, lore, examples.names)


@lru_cache(maxsize=1)
def learned(dataset: Path, config: TwoStageConfig, threads: int) -> tuple[dict[str, Any], Examples, Any]:
    """Fit the encoder on what was known at the cut-off; return it, what trees may learn from, and what is known of items."""
    from models.dataset import read
    from models.families import twostage
    from models.families.sasrec import FAMILY
    from models.rank import kin
    from models.rank.occasions import count, occasions

    training, random = read(dataset, threads=threads).training(), np.random.default_rng(0)
    most = max(1, config.rows // count(training) // (config.negatives + 10))
    [occasion] = occasions(training, most, random)
    retrievers = {FAMILY.config.family: FAMILY.fit(ENCODER, occasion.blind, 0)}
    lore = twostage.learn_lore(occasion.blind, kin.learn(occasion.blind, retrievers))
    parts = [
        twostage._examples(config, part, retrievers, lore, random)
        for part in occasion.parts(twostage.PEOPLE_PER_PART)
    ]
    from models.rank.examples import join

    return retrievers, join(parts), lore


def most_used(scout: Any, count: int) -> list[str]:
    """Return the names of the signals that trees gain most by, filled up with the others in their order."""
    gain = scout.trees.get_score(importance_type="total_gain")
    by_gain = sorted(range(len(scout.names)), key=lambda at: -gain.get(f"f{at}", 0.0))
    return [scout.names[at] for at in by_gain[:count]]


def only(examples: Examples, names: Sequence[str]) -> Examples:
    """Return the examples with these signals alone, in the order in which they stand."""
    kept = np.flatnonzero(np.isin(examples.names, names))
    return replace(
        examples, names=tuple(examples.names[at] for at in kept), value_NF=examples.value_NF[:, kept]
    )
