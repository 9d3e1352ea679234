"""Canonical JSON: equal values have equal bytes, whatever order, zone or number type they came in."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil import canonical

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True)
class Point:
    x: float
    label: str


class Colour(Enum):
    RED = "red"


def test_literal_bytes() -> None:
    value = {"b": (1, 2.5, None), "a": Point(1.0, "é"), "c": Colour.RED, "d": Path("x/y"), "e": True}
    assert canonical.encode(value) == (
        '{"a":{"label":"é","x":1.0},"b":[1,2.5,null],"c":"red","d":"x/y","e":true}'.encode()
    )


def test_literal_digest() -> None:
    assert canonical.sha256({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_files_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert canonical.file_digest(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@given(JSON)
def test_what_is_read_back_encodes_the_same(value: object) -> None:
    encoded = canonical.encode(value)
    assert canonical.encode(json.loads(encoded)) == encoded


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_order_of_keys_does_not_matter(value: dict, random) -> None:  # type: ignore[no-untyped-def]
    keys = list(value)
    random.shuffle(keys)
    assert canonical.sha256({key: value[key] for key in keys}) == canonical.sha256(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_what_has_no_json_form_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no JSON form"):
        canonical.encode({"score": value})


def test_numbers_of_numpy_are_plain_numbers() -> None:
    assert canonical.encode([np.int32(3), np.float64(0.5), np.bool_(True)]) == b"[3,0.5,true]"


def test_moments_are_utc_whatever_zone_they_came_in() -> None:
    berlin = timezone(timedelta(hours=2))
    assert canonical.utc_text(datetime(2024, 6, 1, 14, tzinfo=berlin)) == "2024-06-01T12:00:00Z"
    assert canonical.encode(datetime(2024, 6, 1, 14, tzinfo=berlin)) == b'"2024-06-01T12:00:00Z"'


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        canonical.utc_text(datetime(2024, 6, 1))


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))])))
def test_moments_come_back(moment: datetime) -> None:
    try:
        text = canonical.utc_text(moment)
    except OverflowError:  # the first and last hours of the calendar have no UTC
        return
    assert canonical.utc_time(text) == moment


def test_text_without_an_offset_is_utc() -> None:
    assert canonical.utc_time("2024-06-01") == datetime(2024, 6, 1, tzinfo=UTC)
    assert canonical.utc_time("2024-06-01T01:30:00+02:00") == datetime(2024, 5, 31, 23, 30, tzinfo=UTC)
