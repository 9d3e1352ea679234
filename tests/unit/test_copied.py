"""Answers from the last good list held against the receipt that they name."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem
from flows.copied import is_copied, judged

NOW = datetime(2026, 4, 12, tzinfo=UTC)


def items(*names: str, source: tuple[str, ...] = ()) -> tuple[ReceiptItem, ...]:
    return tuple(
        ReceiptItem(
            item=name, score=1.0 / (1 + ord(name)), sources=(*source, "popular"), reasons=(f"of {name}",)
        )
        for name in names
    )


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path / "receipts")


def written(receipts: Receipts, **more: object) -> Receipt:
    plain = {
        "id": receipts.new_id(NOW), "time": NOW, "use_case": "recommendation", "release": "r", "bento": "b:1",
        "epoch": 1, "person": "nobody", "request": {"n": 3, "filters": {"exclude": ["b"]}}, "items": items(*"abcde"),
        "rules": (), "features": {}, "feature_time": None, "degraded": (),
    }  # fmt: skip
    made = Receipt(**{**plain, **more})  # type: ignore[arg-type]
    receipts.write(made)
    return made


def test_the_first_items_but_for_excluded_ones_are_the_same_answer(receipts: Receipts) -> None:
    origin = written(receipts)
    assert not is_copied(origin)
    copy = written(
        receipts, items=items(*"acd", source=("last good",)), features={"last_good": {"receipt": origin.id}}
    )
    assert is_copied(copy)
    found = judged(receipts, copy)
    assert (found.kind, found.notes) == ("same", (f"copied from {origin.id}",))


def test_what_is_not_in_the_named_answer_is_told(receipts: Receipts) -> None:
    origin = written(receipts)
    features = {"last_good": {"receipt": origin.id}}
    for names in ("abc", "ac", "cad", "acx"):
        assert judged(receipts, written(receipts, items=items(*names), features=features)).kind == "items"
    first, *rest = items(*"acd")
    odd = written(receipts, items=(replace(first, score=9.0), *rest), features=features)
    assert judged(receipts, odd).kind == "words"


def test_an_item_that_was_asked_about_is_left_out(receipts: Receipts) -> None:
    origin = written(receipts)
    request = {"n": 2, "filters": {"exclude": []}, "route": "similar", "items": ["a"]}
    features = {"last_good": {"receipt": origin.id}}
    copy = written(receipts, request=request, items=items(*"bc"), features=features)
    assert judged(receipts, copy).kind == "same"


def test_without_the_named_answer_nothing_can_be_said(receipts: Receipts) -> None:
    copy = written(receipts, features={"last_good": {"receipt": "receipt-20260412T093401-7f3a9c1e-12"}})
    assert judged(receipts, copy).kind == "cannot replay"
