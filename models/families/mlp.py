"""Two stages with a network of two hidden layers as the ranker (models/rank/network.py)."""

from dataclasses import dataclass, field
from typing import ClassVar

from models.families import twostage
from models.rank.network import MlpConfig


@dataclass(frozen=True, kw_only=True)
class MlpStagesConfig(twostage.TwoStageConfig):
    """As for `twostage`."""

    family: ClassVar[str] = "mlp"
    ranker: MlpConfig = field(default_factory=MlpConfig)


FAMILY = twostage.registered(
    MlpStagesConfig,
    f"{twostage.STAGES}; Cao et al.: Learning to rank: from pairwise approach to listwise approach, ICML 2007 (the ranker)",
)
