"""What may be shown at a moment, held against the rows of the catalogue; and lists that keep to their caps."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.recommend.rerank import BRAND, SELLER, SHELF, Wanted, order
from bentos.recommend.showable import REMEMBERED, Showable
from bentos.snapshot import NO_END

MOMENTS = st.integers(-5, 5) | st.integers(-(2**62), 2**62)
ROWS = st.lists(st.tuples(st.booleans(), st.none() | MOMENTS), max_size=40)


def catalogue(rows: list[tuple[bool, int | None]]) -> Any:
    """Return the two columns that are read, of rows (hidden, end)."""
    return SimpleNamespace(
        hidden_I=np.array([hidden for hidden, _ in rows], bool),
        end_us_I=np.array([NO_END if end is None else end for _, end in rows], np.int64),
    )


@given(rows=ROWS, moments=st.lists(MOMENTS, min_size=1, max_size=2 * REMEMBERED))
def test_what_may_be_shown_is_what_the_rows_say_whatever_was_asked_before(
    rows: list[tuple[bool, int | None]], moments: list[int]
) -> None:
    showable = Showable(catalogue(rows))
    for moment in moments:
        shown_I, said = showable.at(moment)
        ended = [end is not None and end <= moment for _, end in rows]
        expected = [not hidden and not over for (hidden, _), over in zip(rows, ended, strict=True)]
        assert (shown_I is None) == all(expected)
        assert shown_I is None or shown_I.tolist() == expected
        hidden = sum(one for one, _ in rows)
        sentences = [f"none of {hidden} that are hidden"] * bool(hidden)
        sentences += [f"none of {sum(ended)} that can be had no longer"] * any(ended)
        assert list(said) == sentences


def test_a_mask_is_made_once_between_two_ends_and_nobody_writes_to_it() -> None:
    showable = Showable(catalogue([(False, None), (False, 10), (False, 20), (True, None)]))
    first, _ = showable.at(10)
    assert first is not None and showable.at(19)[0] is first and showable.at(20)[0] is not first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = True
    none = Showable(catalogue([(False, None)] * 3))
    assert none.at(0) == none.at(NO_END - 1) == (None, ())


CODES = st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=30)


@given(
    rows=CODES,
    caps=st.dictionaries(st.sampled_from([SHELF, BRAND, SELLER]), st.integers(1, 3), min_size=1),
    n=st.integers(1, 40),
    diversity=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_no_shelf_brand_or_seller_is_over_its_cap_and_a_short_list_has_no_more_to_take(
    rows: list[tuple[int, ...]], caps: dict[int, int], n: int, diversity: float
) -> None:
    chosen = order(np.array(rows, np.int32).T, Wanted(n=n, caps=caps, diversity=diversity))
    assert len(set(chosen)) == len(chosen) <= n
    counts = {row: Counter(rows[one][row] for one in chosen if rows[one][row]) for row in caps}
    assert all(most >= max(counts[row].values(), default=0) for row, most in caps.items())
    if len(chosen) < n:
        for one in {*range(len(rows))} - {*chosen}:
            assert any(rows[one][row] and counts[row][rows[one][row]] == most for row, most in caps.items())
