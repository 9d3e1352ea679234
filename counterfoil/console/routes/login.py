"""Coming in and going out: a name with its password, or the link of the first login."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from counterfoil.console.accounts import Account
from counterfoil.console.door import COOKIE, Visitor, desk, field, may, read_fields, require_token
from counterfoil.console.render import render
from counterfoil.console.roles import Right
from counterfoil.console.sessions import HOURS, OWNER
from counterfoil.errors import AccessError, InputError

router = APIRouter()
BEFORE = "counterfoil_before"  # who has the form open, before anybody is known
DEVICE = (
    "counterfoil_device"  # a browser in which somebody logged in: strangers' tries do not count against it
)
DEVICE_SECONDS = 365 * 86_400
PATIENCE_SECONDS = 3.0
Reader = Annotated[Visitor, Depends(may(Right.READ))]


class TooManyError(AccessError):
    """Too many tries."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, round(seconds))
        super().__init__(f"too many tries; wait {self.seconds} seconds, then try again")


@router.get("/login")
def ask(request: Request, next: str = "/now", token: str = "") -> Response:
    """Show the form."""
    return _form(request, next, token, "", 200)


def _form(request: Request, next: str, token: str, says: str, status: int) -> Response:
    before = request.cookies.get(BEFORE) or secrets.token_hex(16)
    here = desk(request)
    told = {
        "next": _own(next),
        "token": token,
        "first": here.sessions.first is not None,
        "before": here.sessions.token(before),
        "error": says,
    }
    answer = render(request, "login.html", told, status)
    _put(request, answer, BEFORE, before, 3600)
    return answer


async def form(request: Request) -> None:
    """Take the login's form, with the token of the visitor who had it open."""
    fields = await read_fields(request)
    before = request.cookies.get(BEFORE, "")
    if not before:
        raise AccessError("this form is too old, or your browser keeps no cookies; load the page again")
    require_token(request, fields, before)


@router.post("/login", dependencies=[Depends(form)])
def enter(request: Request) -> Response:
    """Begin a session, or show the form again with what was wrong: 403 where nothing fits, 429 after too many tries."""
    fields = request.state.fields
    try:
        account = None if fields.get("token") else _by_password(request)
        cookie = _first(request) if account is None else desk(request).sessions.begin(account)
        desk(request).note("logged in", OWNER if account is None else account.name)
    except (AccessError, InputError) as fault:
        status = 429 if isinstance(fault, TooManyError) else 403
        answer = _form(request, fields.get("next", ""), "", str(fault), status)
        if isinstance(fault, TooManyError):
            answer.headers["Retry-After"] = str(fault.seconds)
        return answer
    answer = RedirectResponse(_own(fields.get("next", "")), 303)
    _put(request, answer, COOKIE, cookie, HOURS * 3600)
    if account is not None:
        _put(request, answer, DEVICE, desk(request).sessions.device(account), DEVICE_SECONDS)
    answer.delete_cookie(BEFORE)
    return answer


def _first(request: Request) -> str:
    cookie = desk(request).sessions.begin_first(
        field(request, "token")
    )  # 192 random bits: tries need no limit
    if cookie is None:
        raise AccessError(
            "this link was used, or there are accounts now; see the newest one with `counterfoil console link`, or log in by name"
        )
    return cookie


def _by_password(request: Request) -> Account:
    name, password = field(request, "name", 40), field(request, "password")
    here = desk(request)
    tried = _counted(request, name)
    if not here.hashing.acquire(timeout=PATIENCE_SECONDS):
        raise TooManyError(PATIENCE_SECONDS)
    try:  # counted within the lock, so that tries at once are not more than tries one by one
        for one in tried:
            _require_tries(request, one)
        account = here.accounts.person(name, password)
        if account is None:
            for one in tried:
                here.tries.failed(one)
    finally:
        here.hashing.release()
    if account is None:
        here.note("refused a password", name if name in here.accounts.all() else None)
        raise AccessError("name and password do not fit; try again")
    here.tries.forget(tried[0])
    return account


def _counted(request: Request, name: str) -> tuple[str, ...]:
    """Return what a failure counts against: a known browser alone (OWASP, device cookies), else the name and the address."""
    device = desk(request).sessions.device_of(request.cookies.get(DEVICE, ""), name)
    if device is not None:
        return (f"device {device}",)
    return f"name {name}", f"address {_address(request)}"


def _require_tries(request: Request, who: str) -> None:
    seconds = desk(request).tries.wait(who)
    if seconds:
        raise TooManyError(seconds)


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else "nowhere"


@router.post("/logout")
def leave(request: Request, asks: Reader) -> Response:
    """End the session."""
    if asks.session is not None:
        desk(request).sessions.end(asks.session)
        desk(request).note("logged out", asks.name)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _own(path: str) -> str:
    """Return a path of ours, whatever was asked for: a login leads to no other site."""
    return (
        path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/now"
    )


def _put(request: Request, answer: Response, name: str, value: str, seconds: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict", secure=secure)
