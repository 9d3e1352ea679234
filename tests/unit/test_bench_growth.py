"""How the cost of a fit grows: the planted shop, one real fit, and the verdict."""

import numpy as np
import pytest

from bench import growth
from models.families import FAMILIES


def test_the_planted_shop_has_tastes_and_as_many_events_as_asked() -> None:
    known = growth.planted(20_000)
    assert 0.5 < len(known) / 20_000 < 1.5
    assert np.all(np.diff(known.person_N) >= 0)
    assert len(np.unique(known.person_N.astype(np.int64) * known.items + known.item_N)) == len(known)
    shelves = [len(np.unique(row // growth.SHELF)) for row in known.by_person() if len(row)]
    assert max(shelves) <= growth.TASTES
    counts_I = np.bincount(known.item_N, minlength=known.items)
    assert counts_I.max() > 5 * np.median(counts_I)


def test_a_fit_tells_what_it_cost() -> None:
    found = growth.fit(growth.Fit(family="popularity", events=5_000, out=""), 1)
    assert found["events"] > 1_000 and found["fit_cpu_seconds"] >= 0 and found["peak_bytes"] > 10e6


@pytest.mark.parametrize(("cost", "held"), [(9.0, True), (12.0, False)])
def test_growing_faster_than_the_events_is_told(cost: float, held: bool) -> None:
    small, large = (
        {"events": events, "fit_cpu_seconds": seconds} for events, seconds in ((100, 1.0), (1000, cost))
    )
    assert growth.growth(small, large)["held"] is held


def test_only_families_are_left_out() -> None:
    assert set(FAMILIES) > growth.LEFT_OUT
