"""Who asks, and who answers: read off a body that is parsed once, for nothing else."""

from dataclasses import dataclass
from typing import Any

import orjson

from bentos.guard import MAX_DEPTH, Refusal, depth
from bentos.routes import Route, Routes


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the gateway reads of a question. `who` is what an assignment sticks to: it is hashed, and never written down."""

    who: str
    channel: str | None


def asked(body: bytes, key: str, address: str) -> Asked:
    """Read a question: the person sticks, else the session, else the caller's key and address. Refusal when it is no JSON object.

    Fields of a wrong type stick to nothing: the service says what is wrong with them.
    """
    if depth(body) > MAX_DEPTH:
        raise Refusal(400, "depth", f"the body nests deeper than {MAX_DEPTH} levels; flatten it")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise Refusal(422, "request", f"the body is no JSON ({fault}); send one JSON object") from None
    if not isinstance(content, dict):
        raise Refusal(422, "request", "the body is no JSON object; send one")
    context = content.get("context")
    context = context if isinstance(context, dict) else {}
    person, session = _text(content.get("person")), _text(context.get("session"))
    if person is not None:
        who = f"person\0{person}"
    elif session is not None:
        who = f"session\0{session}"
    else:
        who = f"caller\0{key}\0{address}"
    return Asked(who=who, channel=_text(context.get("channel")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def propensity(routes: Routes, route: Route) -> float:
    """Return the chance with which somebody comes to that release."""
    challenger = routes.challenger
    if challenger is None or challenger.share <= 0:
        return 1.0
    return challenger.share if route is challenger else 1.0 - challenger.share
