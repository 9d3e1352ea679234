"""A receipt as the canonical JSON that is kept, hashed and proven, and back."""

import math
import types
from datetime import datetime
from typing import Any, get_origin, get_type_hints

import orjson

from counterfoil import canonical
from counterfoil.types import Receipt, ReceiptItem

HINTS = get_type_hints(Receipt)
ITEM = tuple(get_type_hints(ReceiptItem))
ENCODED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def encode(receipt: Receipt) -> bytes:
    """Return what `canonical.encode` does of a receipt, in a third of the time; ValueError where a number is not finite."""
    check(receipt)
    return dumps(receipt)


def dumps(value: Any) -> bytes:
    """Return canonical JSON of a receipt, or of what one was in another form; TypeError where JSON has no word for something."""
    return orjson.dumps(value, default=_told, option=ENCODED)


def check(receipt: Receipt) -> None:
    """ValueError where a score or a chance is not finite: JSON has no word for it, and orjson would tell it as null.

    Features have None for what is absent.
    """
    numbers = (receipt.propensity, *receipt.explored.values(), *(item.score for item in receipt.items))
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError(f"{receipt.id} has a score or a chance that is not finite")


def _told(value: Any) -> Any:
    """Return what canonical JSON has of a value that is none of JSON's own; TypeError where there is nothing."""
    if isinstance(value, Receipt):
        told = {name: getattr(value, name) for name in HINTS}
        told["items"] = [{name: getattr(item, name) for name in ITEM} for item in value.items]
        return told
    if isinstance(value, datetime):
        return canonical.utc_text(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(payload: bytes) -> Receipt:
    """Return the receipt that `canonical.encode` wrote: tuples are tuples again, times are moments."""
    row: dict[str, Any] = orjson.loads(payload)
    row["items"] = tuple(
        ReceiptItem(
            item=item["item"],
            score=item["score"],
            sources=tuple(item["sources"]),
            reasons=tuple(item["reasons"]),
        )
        for item in row["items"]
    )
    return Receipt(**{name: _typed(value, HINTS[name]) for name, value in row.items()})


def _typed(value: Any, hint: Any) -> Any:
    if value is not None and (
        hint is datetime or (isinstance(hint, types.UnionType) and datetime in hint.__args__)
    ):
        return canonical.utc_time(value)
    return tuple(value) if get_origin(hint) is tuple else value
