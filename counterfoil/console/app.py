"""The application: its routes, its names, and how every error is said, as a page or as JSON."""

from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.console.desk import Desk
from counterfoil.console.door import StrangerError, visitor
from counterfoil.console.headers import Headers
from counterfoil.console.render import render, wants_json
from counterfoil.console.routes import books, files, login, pages, people, steer
from counterfoil.console.routes.login import TooManyError
from counterfoil.errors import (
    AccessError,
    ConflictError,
    CounterfoilError,
    GateError,
    InputError,
    UnavailableError,
    UnknownError,
)

# the first that fits counts
STATUS: tuple[tuple[type[CounterfoilError], int], ...] = (
    (UnknownError, 404),
    (InputError, 400),
    (TooManyError, 429),
    (StrangerError, 401),
    (AccessError, 403),
    (GateError, 409),
    (ConflictError, 409),
    (UnavailableError, 503),
    (CounterfoilError, 500),
)
TITLES = {400: "This cannot be", 401: "Log in first", 403: "You may not", 404: "Nothing here", 409: "Not now",
          429: "Too many tries", 503: "Not available"}  # fmt: skip


def create(desk: Desk) -> ASGIApp:
    """Return the console of an installation, as an ASGI application."""
    app = FastAPI(openapi_url=None)
    app.state.desk = desk
    for room in (login, pages, books, steer, people, files):
        app.include_router(room.router)
    files.serve_static(app)
    app.add_exception_handler(CounterfoilError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    names = list(desk.place.settings.console_names)
    # around everything, so that what broke and what was refused carry the headers too
    return Headers(Names(app, allowed_hosts=names, www_redirect=False))


class Names(TrustedHostMiddleware):
    """Refuse whoever asks by a name that is not the console's, but about its health: an orchestrator asks that by a number."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the question about health through, and those by the console's names."""
        if scope["type"] == "http" and scope["path"] == files.HEALTH:
            await self.app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


async def _ours(request: Request, fault: Exception) -> Response:
    status = next(code for kind, code in STATUS if isinstance(fault, kind))
    if isinstance(fault, StrangerError) and request.method == "GET" and not wants_json(request):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked)}", 303)
    answer = _said(request, status, str(fault), type(fault).__name__)
    if isinstance(fault, TooManyError):
        answer.headers["Retry-After"] = str(fault.seconds)
    if isinstance(fault, StrangerError):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _http(request: Request, fault: Exception) -> Response:
    status = getattr(fault, "status_code", 500)
    says = (
        "there is nothing at this address; go by the menu"
        if status == 404
        else f"{request.method} is not for this address"
    )
    return _said(request, status, says, "UnknownError" if status == 404 else "InputError")


async def _invalid(request: Request, fault: Exception) -> Response:
    wrong = fault.errors() if isinstance(fault, RequestValidationError) else []
    named = "; ".join(
        f"{error['loc'][-1]} is {str(error.get('input'))[:60]!r}: {error['msg']}" for error in wrong
    )
    return _said(
        request, 404, f"the address has a value that cannot be ({named}); go by the menu", "InputError"
    )


async def _broken(request: Request, fault: Exception) -> Response:
    says = f"the console broke ({type(fault).__name__}); its log says more"
    return _said(request, 500, says, type(fault).__name__)


def _said(request: Request, status: int, says: str, kind: str) -> Response:
    if not hasattr(request.state, "visitor"):
        try:
            request.state.visitor = visitor(request)
        except (
            CounterfoilError
        ):  # the accounts cannot be read: nobody is known, and the page still says what is wrong
            request.state.visitor = None
    told = {"error": says, "kind": kind, "status": status, "title": TITLES.get(status, "Something broke")}
    return render(request, "error.html", told, status)
