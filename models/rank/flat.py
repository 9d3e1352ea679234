"""A booster's trees as flat arrays, walked by a compiled loop to the very scores that XGBoost gives.

All candidates go down a tree together, level by level, so that there is no branch to guess and each level's loads overlap. What
is absent has no direction to look up: each signal is there twice, with minus infinity and with plus infinity for NaN, and a node
reads the one that goes its default way. Leaves hold on to who has come: their limit is NaN, which nothing reaches.
Scores are float32 sums of leaves, tree after tree, as XGBoost adds them (Chen & Guestrin, KDD 2016).
Shapes: N candidates, F signals, T trees, A nodes of all trees.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from counterfoil.compiled import loop

if TYPE_CHECKING:
    import xgboost as xgb

# Objectives whose scores are the sums themselves.
SUMS = {"rank:ndcg", "rank:pairwise", "reg:squarederror"}
ROWS = 1024  # candidates at a time


@dataclass(frozen=True, kw_only=True)
class Flat:
    """Trees one after another; `child_A` is where the left child lies, the right one behind it, and a leaf itself."""

    root_T: np.ndarray  # uint32
    depth_T: np.ndarray  # int64
    side_A: np.ndarray  # uint32: the signal, or F + the signal where NaN goes right
    limit_A: np.ndarray  # float32
    child_A: np.ndarray  # uint32
    leaf_A: np.ndarray  # float32
    base: np.float32
    signals: int

    def score(self, signal_FN: np.ndarray) -> np.ndarray:
        """Return one score per column, float32 [N]."""
        score_N = np.full(signal_FN.shape[1], self.base, np.float32)
        for start in range(0, len(score_N), ROWS):
            part_FN = np.ascontiguousarray(signal_FN[:, start : start + ROWS], np.float32)
            count = part_FN.shape[1]
            both = np.empty(2 * part_FN.size, np.float32)
            walk(
                part_FN,
                both,
                self.root_T,
                self.depth_T,
                self.side_A,
                self.limit_A,
                self.child_A,
                self.leaf_A,
                np.empty(count, np.uint32),
                score_N[start : start + count],
            )
        return score_N


@loop(
    "void(float32[:,::1], float32[::1], uint32[::1], int64[::1], uint32[::1], float32[::1], uint32[::1], float32[::1], "
    "uint32[::1], float32[::1])"
)
def walk(signal_FN, both, root_T, depth_T, side_A, limit_A, child_A, leaf_A, at_N, score_N):  # type: ignore[no-untyped-def]
    """Add every tree's leaves to `score_N`; `both` and `at_N` are room to work in."""
    signals, rows = signal_FN.shape
    for f in range(signals):
        for i in range(rows):
            value = signal_FN[f, i]
            absent = value != value
            both[f * rows + i] = -np.inf if absent else value
            both[(signals + f) * rows + i] = np.inf if absent else value
    width = np.uint32(rows)
    for t in range(len(root_T)):
        root = root_T[t]
        for i in range(rows):
            at_N[i] = root
        for _ in range(depth_T[t]):
            for i in range(rows):
                a = at_N[i]
                right = both[np.uint32(side_A[a] * width + np.uint32(i))] >= limit_A[a]
                at_N[i] = child_A[a] + np.uint32(right)
        for i in range(rows):
            score_N[i] += leaf_A[at_N[i]]


def flatten(trees: "xgb.Booster") -> Flat | None:
    """Return the trees as flat arrays; None where XGBoost does more than add leaves, or numbers cannot be read to the bit."""
    learner: dict[str, Any] = orjson.loads(bytes(trees.save_raw("json")))["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree" or learner["objective"]["name"] not in SUMS:
        return None
    grown: list[dict[str, Any]] = booster["model"]["trees"]
    base = _float32(orjson.loads(learner["learner_model_param"]["base_score"]))
    signals = int(learner["learner_model_param"]["num_feature"])
    plain = all(group == 0 for group in booster["model"]["tree_info"]) and all(map(_is_plain, grown))
    if not plain or base is None or base.size != 1 or not grown:
        return None
    parts = [_tree(tree, signals) for tree in grown]
    value_A = _float32([value for tree in grown for value in tree["split_conditions"]])
    if value_A is None:
        return None
    count_T = np.array([len(part["child"]) for part in parts])
    root_T = np.cumsum(count_T) - count_T
    leaf_A = np.concatenate([part["leaf"] for part in parts])
    return Flat(
        root_T=root_T.astype(np.uint32),
        depth_T=np.array([_depth(part["child"]) for part in parts], np.int64),
        side_A=np.concatenate([part["side"] for part in parts]).astype(np.uint32),
        limit_A=np.where(leaf_A, np.float32(np.nan), value_A),
        child_A=np.concatenate(
            [part["child"] + root for part, root in zip(parts, root_T, strict=True)]
        ).astype(np.uint32),
        leaf_A=np.where(leaf_A, value_A, np.float32(0)),
        base=base.ravel()[0],
        signals=signals,
    )


def _is_plain(tree: dict[str, Any]) -> bool:
    """Say whether a tree asks only whether numbers lie below limits, and holds one number per leaf."""
    left, right = tree["left_children"], tree["right_children"]
    beside = all(b == a + 1 and a > at for at, (a, b) in enumerate(zip(left, right, strict=True)) if a >= 0)
    return beside and not any(tree["split_type"]) and int(tree["tree_param"]["size_leaf_vector"]) <= 1


def _tree(tree: dict[str, Any], signals: int) -> dict[str, np.ndarray]:
    left, signal = np.array(tree["left_children"]), np.array(tree["split_indices"])
    leaf = left < 0
    goes_right = ~np.array(tree["default_left"], bool)
    return {
        "leaf": leaf,
        "child": np.where(leaf, np.arange(len(left)), left),
        "side": np.where(leaf, 0, signal + signals * goes_right),
    }


def _depth(child_A: np.ndarray) -> int:
    """Return how many steps lead to the deepest leaf; children lie behind their parents."""
    depth_A = np.zeros(len(child_A), np.int64)
    for a, child in enumerate(child_A.tolist()):
        if child != a:
            depth_A[child] = depth_A[child + 1] = depth_A[a] + 1
    return int(depth_A.max())


def _float32(told: Any) -> np.ndarray | None:
    """Return numbers that were told in decimals as the float32 they came from; None when one could be either of two.

    Going through float64 rounds twice, which only matters where the first rounding ends halfway between two float32.
    """
    exact = np.array(told, np.float64)
    near = exact.astype(np.float32)
    beyond = np.nextafter(near, np.where(exact > near, np.inf, -np.inf).astype(np.float32))
    halfway = exact - near.astype(np.float64) == beyond.astype(np.float64) - exact
    return None if (halfway & (exact != near)).any() else near
