"""What kinds of labels are worth: from the use case's spec into the labels that rankers learn from."""

from dataclasses import replace

import pyarrow as pa
import pytest

from counterfoil.errors import InputError
from counterfoil.types import FeatureSpec
from flows.snapshot import _label_weights
from models.dataset import _interactions

SPEC = FeatureSpec(
    service="recommendation_v1",
    keys=("person", "item"),
    label_kinds=("click", "cart", "purchase"),
    horizon_days=28,
    label_weights={"cart": 0.3, "click": 0.1},
)


def test_kinds_without_a_weight_weigh_one() -> None:
    assert _label_weights(SPEC) == {"click": 0.1, "cart": 0.3, "purchase": 1.0}
    assert _label_weights(replace(SPEC, label_weights={})) == {"click": 1.0, "cart": 1.0, "purchase": 1.0}


def test_weights_that_do_not_fit_are_told_at_once() -> None:
    with pytest.raises(InputError) as told:
        _label_weights(replace(SPEC, label_weights={"view": 0.5, "cart": -1.0}))
    assert "view weighs 0.5, but is no label" in str(told.value)
    assert "cart weighs -1.0, but must weigh more than 0" in str(told.value)


def test_labels_weigh_what_their_kind_is_worth_and_histories_their_quantity() -> None:
    kinds = ["cart", "purchase", "click", "purchase", "view"]
    table = pa.table(
        {
            "person": pa.array([0, 0, 1, 1, 1], pa.int32()),
            "item": pa.array([1, 2, 3, 4, 5], pa.int32()),
            "time": pa.array([10, 20, 30, 40, 50], pa.timestamp("us", tz="UTC")),
            "kind": kinds,
            "quantity": pa.array([None, 7.0, None, -2.0, None]),  # the last purchase was given back
        }
    )
    labels = _interactions(table, ["click", "cart", "purchase"], _label_weights(SPEC), people=2, items=6)
    assert labels.item_N.tolist() == [1, 2, 3]
    assert labels.weight_N.tolist() == pytest.approx([0.3, 1.0, 0.1])
    history = _interactions(table, ["purchase"], None, people=2, items=6)
    assert history.weight_N.tolist() == [7.0]
