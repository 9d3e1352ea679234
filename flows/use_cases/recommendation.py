"""Recommendation: what will this person take in the next four weeks?"""

from counterfoil.types import FeatureSpec, Gate, UseCase
from models.families.als import AlsConfig
from models.families.itemknn import ItemKnnConfig
from models.families.popularity import PopularityConfig
from models.families.repurchase import RepurchaseConfig
from models.families.sasrec import SasRecConfig
from models.families.twostage import TwoStageConfig

RECOMMENDATION = UseCase(
    name="recommendation",
    task="rank",
    features=FeatureSpec(
        service="recommendation_v1",
        keys=("person", "item"),
        label_kinds=("purchase",),
        history_kinds=("purchase",),
        horizon_days=28,
        cutoffs=2,
    ),
    contenders=(
        PopularityConfig(),
        RepurchaseConfig(),
        ItemKnnConfig(),
        AlsConfig(),
        SasRecConfig(),
        TwoStageConfig(),
    ),
    baseline="popularity",
    gate=Gate(
        primary="ndcg@10",
        margin=0.002,
        guardrails={
            "coverage@10": 0.5,
            "novelty@10": 0.9,
            "ndcg@10[new people]": 0.9,
            "ndcg@10[light people]": 0.95,
            "ndcg@10[regular people]": 0.95,
        },
        ceilings={"artefact_bytes": 2e9, "score_ms": 200.0},
        min_units=100,
        noise_seeds=(1,),
    ),
)
