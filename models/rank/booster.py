"""LambdaMART: XGBoost's trees on a matrix of signals. It knows neither people nor retrievers.

XGBoost brings scikit-learn and half of scipy with it, so it is imported when trees are grown, read or explained: a run with
nothing to do never does. A process that answers walks the trees by itself, to the same scores (models/rank/flat.py).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from counterfoil.errors import IntegrityError
from models.config import Checked, Span, bounds
from models.rank import flat
from models.rank.examples import Examples

if TYPE_CHECKING:
    import xgboost as xgb

FILE = "ranker.ubj"


@dataclass(frozen=True, kw_only=True)
class BoosterConfig(Checked):
    """How trees are grown; `pairs` is the length of the top list whose order is learned (LambdaMART@k)."""

    kind: Literal["lambdamart"] = "lambdamart"
    trees: int = bounds(150, 1, 10_000, search=Span(50, 600, log=True))
    depth: int = bounds(5, 1, 12, search=Span(3, 9))
    rate: float = bounds(0.07, 1e-4, 1.0, search=Span(0.02, 0.3, log=True))
    min_child_weight: float = bounds(20.0, 0.0, 1e9, search=Span(1, 200, log=True))
    columns: float = bounds(0.3, 0.01, 1.0, search=Span(0.2, 1.0))
    rows: float = bounds(0.5, 0.01, 1.0, search=Span(0.4, 1.0))
    bins: int = bounds(128, 2, 1024)
    pairs: int = bounds(20, 1, 1000)


class Booster:
    """A grown ensemble; scores are float32, higher is better."""

    told = "exact TreeSHAP"

    def __init__(self, trees: "xgb.Booster", names: tuple[str, ...]) -> None:
        self.trees = trees
        self.names = names
        self.trees.set_param({"nthread": 1})

    @cached_property
    def _flat(self) -> flat.Flat | None:
        return flat.flatten(self.trees)

    def score(self, signal_NF: np.ndarray) -> np.ndarray:
        """Return one score per row, float32 [N]."""
        if not len(signal_NF):
            return np.zeros(0, np.float32)
        if flat.walk.ready and self._flat is not None:
            return self._flat.score(signal_NF.T)
        # Signals come column by column; trees walk rows, and in one piece they do it a quarter sooner.
        return self.trees.inplace_predict(np.ascontiguousarray(signal_NF), validate_features=False)

    def contributions(self, signal_NF: np.ndarray) -> np.ndarray | None:
        """Return exact TreeSHAP values, float32 [N, F + 1], the last being the bias; rows add up to the score.

        Lundberg et al., "Consistent individualized feature attribution for tree ensembles" (2018).
        """
        import xgboost as xgb

        return self.trees.predict(
            xgb.DMatrix(signal_NF, nthread=1), pred_contribs=True, validate_features=False
        )

    def save(self, folder: Path) -> None:
        """Write the ensemble as UBJ."""
        (folder / FILE).write_bytes(self.trees.save_raw("ubj"))


def grow(config: BoosterConfig, examples: Examples, *, seed: int, threads: int) -> Booster:
    """Fit LambdaMART (Burges 2010, "From RankNet to LambdaRank to LambdaMART")."""
    import xgboost as xgb

    data = xgb.QuantileDMatrix(
        examples.value_NF, examples.gain_N, qid=examples.group_N, max_bin=config.bins, nthread=threads
    )
    order = {
        "objective": "rank:ndcg",
        "ndcg_exp_gain": False,
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": config.pairs,
    }
    parameters = order | _parameters(config, seed, threads)
    return Booster(xgb.train(parameters, data, config.trees), examples.names)


def chances(
    config: BoosterConfig,
    signal_NF: np.ndarray,
    taken_N: np.ndarray,
    weight_N: np.ndarray,
    names: tuple[str, ...],
    *,
    slopes: tuple[int, ...],
    seed: int,
    threads: int,
) -> Booster:
    """Fit trees whose scores are the chance that a row is taken, between 0 and 1, comparable between people.

    By `slopes` a chance may only rise (1) or fall (-1) with a signal, or do as it likes (0). Logistic loss, each row by its
    weight (Friedman, "Greedy function approximation", Annals of Statistics 2001).
    """
    import xgboost as xgb

    data = xgb.QuantileDMatrix(signal_NF, taken_N, weight=weight_N, max_bin=config.bins, nthread=threads)
    order = {"objective": "binary:logistic", "monotone_constraints": slopes}
    parameters = order | _parameters(config, seed, threads)
    return Booster(xgb.train(parameters, data, config.trees), names)


def _parameters(config: BoosterConfig, seed: int, threads: int) -> dict[str, Any]:
    return {
        "tree_method": "hist",
        "max_depth": config.depth,
        "eta": config.rate,
        "min_child_weight": config.min_child_weight,
        "colsample_bytree": config.columns,
        "subsample": config.rows,
        "max_bin": config.bins,
        "nthread": threads,
        "seed": seed,
    }


def load(config: BoosterConfig, folder: Path, names: tuple[str, ...]) -> Booster:
    """Read an ensemble that `save` wrote; IntegrityError when it is not one for these signals."""
    import xgboost as xgb

    trees = xgb.Booster()
    trees.load_model(bytearray((folder / FILE).read_bytes()))
    if trees.num_features() != len(names):
        raise IntegrityError(
            f"{FILE} ranks by {trees.num_features()} signals but {len(names)} are named beside it; fit again"
        )
    return Booster(trees, names)
