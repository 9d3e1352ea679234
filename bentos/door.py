"""The lock of a service's door: who does not carry the token of this installation is told so, on every route but health.

Plain ASGI: it stands before BentoML's routes too. Where there is no token (nobody ran `counterfoil up`), it is open.
"""

from pathlib import Path

from bentos.guard import Application, Receive, Refusal, Scope, Send, refuse
from bentos.inner import FILE, HEALTH, TOKEN, allowed, read_token
from counterfoil import settings
from counterfoil.errors import ConfigError

_TOKEN = TOKEN.encode()


class Door:
    """ASGI middleware that asks for the token; `run` is the folder where it lies, by default that of the settings."""

    def __init__(self, app: Application, run: Path | None = None) -> None:
        self.app = app
        self._run, self._token = run, ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let lifespan, health and those with the token through; 401 for the others, 503 when the token cannot be read."""
        if scope["type"] != "http" or scope["path"] in HEALTH:
            return await self.app(scope, receive, send)
        try:
            token = self._wanted()
        except ConfigError as fault:
            return await refuse(Refusal(503, "token", str(fault)), send, closing=False)
        if token and not allowed(_given(scope), token):
            refusal = Refusal(401, "token", f"{TOKEN} is missing or wrong; ask through the gateway")
            return await refuse(refusal, send, closing=False)
        return await self.app(scope, receive, send)

    def _wanted(self) -> str:
        """Return the token, empty when there is none. Read once: an installation's token does not change."""
        if not self._token:
            self._run = self._run or settings.load().run
            if (self._run / FILE).exists():
                self._token = read_token(self._run)
        return self._token


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == _TOKEN:
            return str(value.decode("latin-1"))
    return None
