"""Two answers to one question held against each other: the one that a receipt keeps, and the one made anew. Pure functions.

What differs has one class, the first that applies; what stands behind it is said beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from counterfoil import canonical
from counterfoil.types import Receipt

SAME = "same"
# The answers differ, or something is not what it was.
DIFFERS = (
    "degraded differs",
    "features differ",
    "history differs",
    "items",
    "order",
    "scores",
    "words",
    "bento altered",
    "receipt altered",
)
# Nothing differs as far as anybody can see: there is nothing left to see by.
GONE = ("features gone", "rules gone", "bento gone", "cannot replay")
CLASSES = (SAME, *DIFFERS, *GONE)
TOLERANCE = 1e-6  # of scores, absolute
CLOSE = 1e-6  # of features, relative: other machines may round otherwise

Found = tuple[str, str]


def judge(stub: Receipt, answer: Mapping[str, Any]) -> Found:
    """Return the class of what is different between a receipt and an answer made anew, and the difference in a sentence."""
    for check in (_degraded, _features, _items, _scores, _words):
        found = check(stub, answer)
        if found is not None:
            return found
    return SAME, ""


def _degraded(stub: Receipt, answer: Mapping[str, Any]) -> Found | None:
    then, now = list(stub.degraded), list(answer["degraded"])
    return None if then == now else ("degraded differs", f"{_listed(then)} then, {_listed(now)} now")


def _features(stub: Receipt, answer: Mapping[str, Any]) -> Found | None:
    """Compare the person's features, and those of pairs that both answers hold."""
    then, now = stub.features, answer["features"]
    pairs = then.get("pairs", {}).keys() & now["pairs"].keys()
    groups = [("person", then.get("person", {}), now["person"])]
    groups += [(f"pair with {item}", then["pairs"][item], now["pairs"][item]) for item in sorted(pairs)]
    for group, before, after in groups:
        odd = [
            name
            for name in sorted(before.keys() | after.keys())
            if not _close(before.get(name), after.get(name))
        ]
        if odd:
            name = odd[0]
            return "features differ", (
                f"{len(odd)} of the {group}: {name} was {before.get(name)}, and is {after.get(name)} by what is kept"
            )
    if then.get("history", {}) != now["history"]:
        return "history differs", f"{then.get('history')} then, {now['history']} now"
    return None


def _close(then: Any, now: Any) -> bool:
    if then is None or now is None:
        return then is now
    return abs(float(then) - float(now)) <= CLOSE * max(1.0, abs(float(then)))


def _items(stub: Receipt, answer: Mapping[str, Any]) -> Found | None:
    then, now = [item.item for item in stub.items], [item["item"] for item in answer["items"]]
    if then == now:
        return None
    if sorted(then) == sorted(now):
        at = next(place for place, (a, b) in enumerate(zip(then, now, strict=True), 1) if a != b)
        return "order", f"place {at} was {then[at - 1]}, and is {now[at - 1]} now"
    return "items", f"{_listed(_without(then, now))} then, {_listed(_without(now, then))} now"


def _without(some: Iterable[str], others: Iterable[str]) -> list[str]:
    left = set(others)
    return [one for one in some if one not in left]


def _scores(stub: Receipt, answer: Mapping[str, Any]) -> Found | None:
    gaps = [
        (abs(then.score - now["score"]), then.item)
        for then, now in zip(stub.items, answer["items"], strict=True)
    ]
    worst, item = max(gaps, default=(0.0, ""))
    if worst <= TOLERANCE:
        return None
    return "scores", f"the score of {item} differs by {worst:.3g}, more than {TOLERANCE:g}"


def _words(stub: Receipt, answer: Mapping[str, Any]) -> Found | None:
    """Compare sources, reasons and rules."""
    for then, now in zip(canonical.plain(stub.items), answer["items"], strict=True):
        for name in ("sources", "reasons"):
            if then[name] != now[name]:
                return (
                    "words",
                    f"{name} of {then['item']}: {_listed(then[name])} then, {_listed(now[name])} now",
                )
    if stub.explored != answer.get("explored", {}):
        return "words", f"explored: {stub.explored} then, {answer.get('explored')} now"
    if list(stub.rules) != answer["rules"]:
        return "words", f"rules: {_listed(stub.rules)} then, {_listed(answer['rules'])} now"
    return None


def _listed(names: Iterable[str]) -> str:
    return "; ".join(names) or "nothing"
