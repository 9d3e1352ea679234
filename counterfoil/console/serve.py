"""The console as a process: in the foreground for a person, or started by `counterfoil up` beside the service."""

import sys
from pathlib import Path
from urllib.parse import quote

import uvicorn

from counterfoil.console.app import create
from counterfoil.console.desk import Desk, desk_of
from counterfoil.errors import ConfigError
from counterfoil.files import write_durably
from flows.place import Place

LINK = "first-login"  # file in the console's folder that holds the link, while there is no account
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def serve(place: Place, port: int) -> None:
    """Serve until the process is stopped. ConfigError where nobody could log in, or where anybody could reach the first login."""
    desk = desk_of(place)
    announce(desk, port)
    uvicorn.run(
        create(desk),
        host=place.settings.console_address,
        port=port,
        access_log=False,  # addresses of pages hold ids of people's answers
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def announce(desk: Desk, port: int) -> None:
    """Say where the console is; while there is no account, hand out the link of the first login, and leave it in its file."""
    settings = desk.place.settings
    file = link_file(desk.place)
    address = f"http://127.0.0.1:{port}"
    if desk.accounts.all():
        file.unlink(missing_ok=True)
        _say(f"console at {address}")
        return
    if settings.profile == "production" or settings.console_address not in LOOPBACK:
        raise ConfigError(
            f"the console has no account, and listens on {settings.console_address} with the profile {settings.profile};"
            " make one first with `counterfoil console user add NAME --role approver`"
        )
    desk.sessions.hand_out = lambda secret: _hand_out(file, address, secret)
    desk.sessions.renew_first()


def _hand_out(file: Path, address: str, secret: str) -> None:
    link = f"{address}/login?token={quote(secret)}"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    write_durably(file, f"{link}\n".encode())
    file.chmod(0o600)
    _say(f"console at {address}; there is no account yet, this link logs in once: {link}")


def link_file(place: Place) -> Path:
    """Return the file of the first login's link."""
    return place.settings.console / LINK


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201 - the process has no other way to speak than its log
