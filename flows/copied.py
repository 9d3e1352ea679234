"""Answers that no model made: copied by the gateway from an earlier answer, and held against the receipt of that one."""

from bentos.gateway.last_good import DRAWN, ENDED, MARK, RULED
from counterfoil.errors import CounterfoilError
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt
from flows.draw import Replayed
from flows.sameness import SAME


def is_copied(stub: Receipt) -> bool:
    """Say whether a receipt is of an answer from the last good list."""
    return MARK in stub.features


def origin_of(stub: Receipt) -> str:
    """Return the id of the receipt that such an answer was copied from."""
    return str(stub.features[MARK]["receipt"])


def judged(receipts: Receipts, stub: Receipt) -> Replayed:
    """Say whether an answer from the last good list holds the first items of the answer that it names, but for excluded ones.

    And for those that could be had no longer, were excluded by rules, or drawn by chance: which these were, the receipt tells.
    """
    named = origin_of(stub)
    try:
        origin = receipts.find(named)
    except CounterfoilError as fault:
        return Replayed(id=stub.id, bento=stub.bento, kind="cannot replay", detail=str(fault))
    excluded = {*stub.request["filters"]["exclude"], *stub.request.get("items", ())}
    for name in (ENDED, RULED, DRAWN):
        excluded |= set(stub.features[MARK].get(name, ()))
    left = [item for item in origin.items if item.item not in excluded][: stub.request["n"]]
    kind, detail = SAME, ""
    if [item.item for item in left] != [item.item for item in stub.items]:
        kind, detail = "items", f"not the first items of {named}"
    elif [(item.score, item.reasons) for item in left] != [(item.score, item.reasons) for item in stub.items]:
        kind, detail = "words", f"other scores or reasons than {named} has"
    return Replayed(id=stub.id, bento=stub.bento, kind=kind, detail=detail, notes=(f"copied from {named}",))
