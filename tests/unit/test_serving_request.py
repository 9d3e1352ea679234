from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from bentos.recommend.request import parse
from bentos.seam import FieldFault


def faults(body: Any) -> dict[str, str]:
    with pytest.raises(FieldFault) as caught:
        parse(body if isinstance(body, bytes) else orjson.dumps(body))
    return {fault["field"]: fault["reason"] for fault in caught.value.fields}


def test_an_empty_object_asks_for_ten_items_for_nobody() -> None:
    request = parse(b"{}")
    assert (request.person, request.n, request.filters.exclude, request.context.time) == (None, 10, [], None)


def test_everything_that_may_be_said() -> None:
    request = parse(
        b'{"person":"household 7","n":3,"context":{"time":"2017-12-03T10:00:00+02:00","session":"s","channel":"web"},'
        b'"filters":{"in_stock":true,"categories":["GROCERY"],"price_min":1,"price_max":2.5,"exclude_bought":true,'
        b'"exclude":["a","b"]}}'
    )
    assert request.context.time is not None
    assert request.context.time.astimezone(UTC) == datetime(2017, 12, 3, 8, tzinfo=UTC)
    assert request.filters.price_max == 2.5 and request.filters.exclude == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b"", "body", "Invalid JSON"),
        (b"{", "body", "Invalid JSON"),
        (b"[]", "body", "object"),
        (b"null", "body", "object"),
        (b'{"n":1e400}', "n", "integer"),
        (b'{"person":"\xff"}', "body", "Invalid JSON"),
        ({"persn": "7"}, "persn", "there is no such field"),
        ({"person": 7}, "person", "string"),
        ({"person": ""}, "person", "at least 1 character"),
        ({"person": "x" * 129}, "person", "at most 128 characters"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 101}, "n", "less than or equal to 100"),
        ({"n": "10"}, "n", "integer"),
        ({"n": 1.5}, "n", "integer"),
        ({"n": True}, "n", "integer"),
        ({"n": None}, "n", "integer"),
        ({"context": []}, "context", "object"),
        ({"context": {"time": "yesterday"}}, "context.time", "datetime"),
        ({"context": {"time": "2017-12-03T10:00:00"}}, "context.time", "timezone"),
        ({"context": {"time": "1066-10-14T09:00:00Z"}}, "context.time", "greater than or equal to"),
        ({"context": {"time": "9999-01-01T00:00:00Z"}}, "context.time", "less than or equal to"),
        ({"context": {"device": "web"}}, "context.device", "there is no such field"),
        ({"filters": {"instock": True}}, "filters.instock", "there is no such field"),
        ({"filters": {"in_stock": "yes"}}, "filters.in_stock", "boolean"),
        ({"filters": {"in_stock": 1}}, "filters.in_stock", "boolean"),
        ({"filters": {"categories": "food"}}, "filters.categories", "array"),
        ({"filters": {"categories": ["x"] * 101}}, "filters.categories", "at most 100"),
        ({"filters": {"price_min": -1}}, "filters.price_min", "greater than or equal to 0"),
        ({"filters": {"price_min": 3, "price_max": 2}}, "filters.price_min", "3 is above filters.price_max, 2"),
        (b'{"filters":{"price_max":NaN}}', "filters.price_max", "finite"),
        (b'{"filters":{"price_max":Infinity}}', "filters.price_max", "finite"),
        ({"filters": {"exclude": ["x"] * 10_001}}, "filters.exclude", "at most 10000"),
        ({"filters": {"exclude": ["a", 5]}}, "filters.exclude.1", "string"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_reason(body: Any, field: str, reason: str) -> None:
    found = faults(body)
    assert list(found) == [field]
    assert reason in found[field]


def test_all_faults_are_named_at_once() -> None:
    assert set(faults({"n": 0, "m": 1, "filters": {"price_min": "a"}})) == {"n", "m", "filters.price_min"}


def test_a_flood_of_faults_is_cut_off() -> None:
    assert len(faults({f"field{number}": 1 for number in range(5000)})) == 20
