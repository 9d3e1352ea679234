"""What every answer of the console says to a browser, and how a path asks for data.

A path that ends with `.json` means the same page as data. Policies after the OWASP Secure Headers Project.
"""

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# Reports are whole pages that bring their styles along; they run nothing and send nothing.
REPORTS = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HSTS = "max-age=31536000"


class Headers:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and put the headers on its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        kept = path.startswith(("/static/", "/reports"))
        if path.endswith(".json") and not kept:
            scope = {
                **scope,
                "path": path.removesuffix(".json"),
                "state": {**scope.get("state", {}), "json": True},
            }

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _put(MutableHeaders(raw=message["headers"]), path, scope)
            await send(message)

        await self.app(scope, receive, with_headers)


def _put(headers: MutableHeaders, path: str, scope: Any) -> None:
    headers.setdefault("Content-Security-Policy", PAGES)
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["X-Frame-Options"] = "DENY"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    headers["Cache-Control"] = "max-age=3600" if path.startswith("/static/") else "no-store"
    if scope["scheme"] == "https":
        headers["Strict-Transport-Security"] = HSTS
