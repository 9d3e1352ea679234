"""What a training set was at an earlier moment, and features that are read only when one is asked for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import Features, FeaturesByMoment
from models.splits import no_features
from tests.shop_data import shop


def test_features_are_read_when_asked_for_and_only_of_their_moments() -> None:
    read: list[int] = []

    def reader(moment_us: int) -> Features:
        read.append(moment_us)
        return no_features(1, 1)

    features = FeaturesByMoment((10, 20), reader)
    assert (list(features), len(features), max(features), 30 in features) == ([10, 20], 2, 20, False)
    assert read == []
    assert features[20].item_names == ()
    assert read == [20]
    with pytest.raises(KeyError):
        features[30]


def test_what_was_known_at_a_cut_off_has_nothing_at_or_after_it() -> None:
    training = shop(cutoffs=3).training
    first, second, third = training.cutoffs
    blind = training.known_at(third)
    assert blind.until_us == third
    assert blind.interactions.time_N.max() < third
    assert list(blind.cutoffs) == [first, second]
    assert blind.features is training.cutoffs[third]
    assert blind.cutoffs[second] is training.cutoffs[second]
    assert list(blind.known_at(second).cutoffs) == [first]
    assert not training.known_at(first).cutoffs


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30), unique=True))
def test_pairs_with_some_items_are_found(paired: set[int], asked: list[int]) -> None:
    item_N = np.array(sorted(paired), np.int32)
    features = replace(
        no_features(1, 31),
        pair_names=("times",),
        pair_person_N=np.zeros(len(item_N), np.int32),
        pair_item_N=item_N,
        pair_NF=item_N[:, None].astype(np.float32),
    )
    rows = features.pairs_with(np.array(asked, np.int32))
    assert item_N[rows].tolist() == sorted(paired & set(asked))
