"""Two stages with a deep and cross network as the ranker (models/rank/network.py)."""

from dataclasses import dataclass, field
from typing import ClassVar

from models.families import twostage
from models.rank.network import CrossConfig


@dataclass(frozen=True, kw_only=True)
class DcnStagesConfig(twostage.TwoStageConfig):
    """As for `twostage`."""

    family: ClassVar[str] = "dcn"
    ranker: CrossConfig = field(default_factory=CrossConfig)


FAMILY = twostage.registered(
    DcnStagesConfig,
    f"{twostage.STAGES}; Wang et al.: DCN V2: Improved deep & cross network, WWW 2021 (the ranker)",
)
