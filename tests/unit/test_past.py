"""Groups: lines gathered by a key, whether keys lie close or far apart."""

import numpy as np
import pytest

from models.rank.past import Groups

NEAR, FAR = 50, 10**9


@pytest.mark.parametrize("keys", [None, NEAR, FAR])
def test_groups_say_the_same_however_keys_lie(keys: int | None) -> None:
    random = np.random.default_rng(5)
    key_H, key_N = random.integers(0, NEAR, 60), np.arange(NEAR)
    value_H = random.random(60)
    groups = Groups(key_H, key_N, keys)
    lines = [np.flatnonzero(key_H == key) for key in key_N]
    nan = float("nan")
    np.testing.assert_allclose(groups.total(value_H), [value_H[some].sum() for some in lines])
    np.testing.assert_array_equal(groups.total(), [len(some) for some in lines])
    np.testing.assert_array_equal(groups.latest(value_H), [value_H[h[-1]] if len(h) else nan for h in lines])
    np.testing.assert_array_equal(groups.earliest(value_H), [value_H[h[0]] if len(h) else nan for h in lines])
    np.testing.assert_allclose(
        groups.several([value_H, np.ones(60)]), [groups.total(value_H), groups.total()]
    )


def test_without_lines_everything_is_absent() -> None:
    for keys in (None, NEAR):
        groups = Groups(np.zeros(0, np.int64), np.arange(3), keys)
        assert groups.total().tolist() == [0, 0, 0]
        assert np.isnan(groups.latest(np.zeros(0))).all()
        assert groups.several([np.zeros(0), np.zeros(0)]).tolist() == [[0, 0, 0]] * 2
