"""The console as a process: in the foreground, or started by `counterfoil up`."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn

from counterfoil import terminal
from counterfoil.console.accounts import Accounts
from counterfoil.console.app import create
from counterfoil.console.desk import Desk, desk_of
from counterfoil.console.read import verdicts
from counterfoil.console.routes import people
from counterfoil.errors import ConfigError, CounterfoilError, UnknownError
from counterfoil.files import write_durably
from flows.place import Place

LINK = "first-login"  # file in the console's folder that holds the link, while there is no account
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
Say = Callable[[dict[str, Any]], None]


def serve(place: Place, port: int, say: Say) -> None:
    """Serve until the process is stopped; `say` is told where, and each link of the first login.

    ConfigError where nobody could log in, or where others than this machine could reach the first login.
    """
    desk = desk_of(place)
    announce(desk, port, say)
    people.sweep(place)
    threading.Thread(target=_warm, args=(place,), name="warm", daemon=True).start()
    uvicorn.run(
        create(desk),
        host=place.settings.console_address,
        port=port,
        access_log=False,  # addresses of pages hold ids of people's answers
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _warm(place: Place) -> None:
    """Read the verdicts of all days once, so that nobody waits for it."""
    with contextlib.suppress(CounterfoilError):  # the page says what is wrong
        verdicts.newest(place)


def announce(desk: Desk, port: int, say: Say) -> None:
    """Say where the console is; while there is no account, hand out the link of the first login, and leave it in its file."""
    settings = desk.place.settings
    file = settings.console / LINK
    url = f"http://127.0.0.1:{port}"
    if desk.accounts.all():
        file.unlink(missing_ok=True)
        say({"url": url, "login": None})
        return
    if settings.profile == "production" or settings.console_address not in LOOPBACK:
        raise ConfigError(
            f"the console has no account, and would listen on {settings.console_address} with the profile {settings.profile};"
            " make one first with `counterfoil console user add NAME --role approver`"
        )

    def hand_out(secret: str) -> None:
        link = f"{url}/login?token={quote(secret)}"
        _keep(file, link)
        say({"url": url, "login": link})

    desk.sessions.hand_out = hand_out
    desk.sessions.renew_first()


def _keep(file: Path, link: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)  # before the file: nobody else may read it
    write_durably(file, f"{link}\n".encode())


def first_login(place: Place) -> dict[str, Any]:
    """Return the link of the first login. UnknownError when there are accounts, or no console has handed one out."""
    file = place.settings.console / LINK
    if Accounts(place.settings.console).all():
        raise UnknownError("there are accounts, so there is no link; log in by name and password")
    if not file.is_file():
        raise UnknownError("no console has handed out a link here; start one with `counterfoil console`")
    return {"login": file.read_text().strip()}


def show(told: dict[str, Any]) -> None:
    """Say where the console is."""
    once = f"; there is no account yet, this link logs in once: {told['login']}" if told["login"] else ""
    terminal.OUT.print(f"console at {told['url']}{once}", highlight=False, markup=False, soft_wrap=True)


def show_link(told: dict[str, Any]) -> None:
    """Show the link alone."""
    terminal.OUT.print(told["login"], highlight=False, markup=False, soft_wrap=True)
