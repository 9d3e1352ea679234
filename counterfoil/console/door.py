"""Who asks, and whether they may: sessions, keys, and the token that every form carries."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import Field

from counterfoil.console import roles
from counterfoil.console.desk import Desk
from counterfoil.console.roles import Right, Role
from counterfoil.console.sessions import Session
from counterfoil.errors import AccessError, InputError

COOKIE = "counterfoil"
BODY_BYTES = 64 * 1024
SAFE = {"GET", "HEAD"}
Number = Annotated[int, Field(ge=-(2**53), le=2**53)]  # what a database takes as a number


class StrangerError(AccessError):
    """Nobody knows who asks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """Who asks: a name, a role, and the session of one who came by a browser."""

    name: str
    role: Role
    session: Session | None = None

    def may(self, right: str) -> bool:
        """Say whether the visitor has a right."""
        return roles.may(self.role, Right(right))


def desk(request: Request) -> Desk:
    """Return the console that was asked."""
    found: Desk = request.app.state.desk
    return found


def visitor(request: Request) -> Visitor | None:
    """Return who asks, or None."""
    given = request.headers.get("authorization")
    if given is not None:
        scheme, _, key = given.partition(" ")
        account = desk(request).accounts.machine(key.strip()) if scheme.lower() == "bearer" else None
        return None if account is None else Visitor(name=account.name, role=account.role)
    session = desk(request).sessions.of(request.cookies.get(COOKIE, ""))
    return None if session is None else Visitor(name=session.name, role=session.role, session=session)


def may(right: Right) -> Callable[[Request], Awaitable[Visitor]]:
    """Return what lets only those in who have a right, and takes a form only with its token.

    StrangerError when nobody knows who asks; AccessError when they may not, or the token is missing.
    """

    async def check(request: Request) -> Visitor:
        found = visitor(request)
        if found is None:
            raise StrangerError(
                "nobody knows you here; log in, or send a key as `Authorization: Bearer cfk_...`"
            )
        request.state.visitor = found
        if not roles.may(found.role, right):
            raise AccessError(
                f"{found.name} is {found.role} and may not {right.value}; ask {roles.who_may(right)}"
            )
        if request.method not in SAFE:
            fields = await read_fields(request)
            if found.session is not None:
                require_token(request, fields, found.session.id)
        return found

    return check


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form or of a JSON object, each once. InputError when they cannot be read, or are too many bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise InputError(f"the form has more than {BODY_BYTES:,} bytes; send less")
    request.state.fields = _parsed(body, request.headers.get("content-type", ""))
    return request.state.fields


def _parsed(body: bytes, kind: str) -> dict[str, str]:
    try:
        if kind.startswith("application/json"):
            import orjson

            told = orjson.loads(body or b"{}")
            return {str(name): _text(name, value) for name, value in told.items()}
        found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=50)
    except (ValueError, AttributeError) as fault:
        raise InputError(f"the form cannot be read ({fault}); send it again") from fault
    return {name: values[-1].strip() for name, values in found.items()}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):  # else null would go on record as the reason `None`
        raise InputError(f"{name} is {str(value)[:60]}, which is no text; send a text")
    return value.strip()


def require_token(request: Request, fields: dict[str, str], of: str) -> None:
    """AccessError unless the form carries the token of a session, and comes from a page of ours as far as the browser tells."""
    given = request.headers.get("x-csrf-token") or fields.get("csrf", "")
    told = request.headers.get("sec-fetch-site", "same-origin")
    if told not in ("same-origin", "none") or not desk(request).sessions.is_token(given, of):
        raise AccessError("this form is not one of ours, or too old; load the page again and send it anew")


def field(request: Request, name: str, most: int = 500) -> str:
    """Return a field that must be there. InputError when it is empty, or longer than `most` characters."""
    value: str = request.state.fields.get(name, "")
    if not value:
        raise InputError(f"{name} is empty; write it, and send the form again")
    if len(value) > most:
        raise InputError(f"{name} has {len(value):,} characters; {most} are enough")
    return value


def line(request: Request, name: str) -> str:
    """Return a field that goes on record, as `field`. InputError when it is more than a line, or steers a terminal."""
    value = field(request, name)
    if not value.isprintable():
        raise InputError(f"{name} holds a line break or a character that is not shown; write it in one line")
    return value
