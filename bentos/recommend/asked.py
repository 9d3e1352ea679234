"""What is asked at a moment: read off a body that came in, or off the request that a receipt kept."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bentos.recommend.request import (
    Caps,
    CartRequest,
    Filters,
    RecommendRequest,
    Request,
    Route,
    SimilarRequest,
)
from counterfoil import canonical
from counterfoil.pseudonym import of_session, pseudonym
from counterfoil.types import NOBODY

NONCE_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question: `person` and `session` are pseudonyms (None: not known), `items` what it is about (similar, cart).

    `recorded` is the request as a receipt keeps it, `nonce` the answer's own random number in hex digits.
    """

    person: str | None
    n: int
    filters: Filters
    moment: datetime
    recorded: Mapping[str, Any]
    route: Route = "recommend"
    session: str | None = None
    items: tuple[str, ...] = ()
    diversity: float | None = None
    caps: Caps = field(default_factory=Caps)
    nonce: str = ""

    @property
    def as_of_us(self) -> int:
        """The moment in microseconds since 1970."""
        return round(self.moment.timestamp() * 1e6)


def received(request: Request, now: datetime, key: str, route: Route = "recommend") -> Question:
    """Return the question of a request that arrived at `now`; person and session by their pseudonyms under this key.

    Where the request asks not to be profiled, neither of them is in the question, so that nothing can be read by them.
    """
    context = request.context
    moment = now if context.time is None else context.time.astimezone(UTC)
    name = request.person if isinstance(request, RecommendRequest) and request.profile else None
    visit = context.session if request.profile else None
    session = None if visit is None else of_session(visit, key)
    items = _items(request)
    return Question(
        person=None if name is None else pseudonym(name, key),
        n=request.n,
        filters=request.filters,
        moment=moment,
        recorded=recorded(request, moment, session, route, items),
        route=route,
        session=session,
        items=items,
        diversity=request.diversity,
        caps=request.caps,
        nonce=secrets.token_hex(NONCE_BYTES),
    )


def _items(request: Request) -> tuple[str, ...]:
    if isinstance(request, SimilarRequest):
        return (request.item,)
    return tuple(request.items) if isinstance(request, CartRequest) else ()


def recorded(
    request: Request, moment: datetime, session: str | None, route: Route, items: tuple[str, ...]
) -> dict[str, Any]:
    """Return the request as a receipt keeps it: no name of a person, and what is as always left out."""
    out: dict[str, Any] = {
        "n": request.n,
        "context": {
            "time": canonical.utc_text(moment),
            "session": session,
            "channel": request.context.channel,
        },
        "filters": request.filters.model_dump(),
    }
    if route != "recommend":
        out["route"] = route
    if items:
        out["items"] = list(items)
    if request.diversity is not None:
        out["diversity"] = request.diversity
    caps = request.caps.model_dump(exclude_none=True)
    if caps:
        out["caps"] = caps
    if not request.profile:
        out["profile"] = False
    return out


def recalled(kept: Mapping[str, Any], person: str, nonce: str = "") -> Question:
    """Return the question of a request that a receipt kept, and of the person and nonce that the receipt names."""
    return Question(
        person=None if person == NOBODY else person,
        n=kept["n"],
        filters=Filters.model_validate(kept["filters"]),
        moment=canonical.utc_time(kept["context"]["time"]),
        recorded=kept,
        route=kept.get("route", "recommend"),
        session=kept["context"].get("session"),
        items=tuple(kept.get("items", ())),
        diversity=kept.get("diversity"),
        caps=Caps.model_validate(kept.get("caps", {})),
        nonce=nonce,
    )
