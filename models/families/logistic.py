"""Two stages with logistic regression as the ranker (models/rank/linear.py)."""

from dataclasses import dataclass, field
from typing import ClassVar

from models.families import twostage
from models.rank.linear import LogisticConfig


@dataclass(frozen=True, kw_only=True)
class LogisticStagesConfig(twostage.TwoStageConfig):
    """As for `twostage`."""

    family: ClassVar[str] = "logistic"
    ranker: LogisticConfig = field(default_factory=LogisticConfig)


FAMILY = twostage.registered(
    LogisticStagesConfig,
    f"{twostage.STAGES}; Cox: The regression analysis of binary sequences, JRSS B 1958 (the ranker)",
)
