"""Commands for the gateway's keys: make, list, revoke."""

from typing import Annotated, Any

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, key


@key.command("make")
def make(
    name: Annotated[str, typer.Argument(help="Letters, digits, dot, dash, underscore or @.")],
    scope: Annotated[list[str], typer.Option(help="recommend, events or admin; may be given again.")],
    rate: Annotated[float | None, typer.Option(help="Requests a second; default: any number.")] = None,
    json: Json = False,
) -> None:
    """Make a key and print it, once: only a digest of it is kept. From the first one on the gateway wants one."""
    made, text = _keys().make(name, scope, rate)
    told = {**_public(made), "key": text}
    terminal.emit(told, json, lambda told: _say(f"{told['key']}\nkeep it: it is shown this once"))


@key.command("list")
def listed(json: Json = False) -> None:
    """List the keys."""
    found = [_public(one) for one in _keys().all().values()]
    rows = [[one["name"], one["id"], ", ".join(one["scopes"]), one["rate"], one["made"]] for one in found]
    terminal.emit(
        {"keys": found},
        json,
        lambda _: terminal.table("Keys", ["name", "id", "scopes", "requests a second", "made"], rows),
    )


@key.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of a key.")],
    json: Json = False,
) -> None:
    """Take a key away; a running gateway knows it within a second."""
    gone = _keys().revoke(name)
    terminal.emit({**_public(gone), "revoked": True}, json, lambda told: _say(f"{told['name']} is revoked"))


def _keys() -> Any:
    from bentos.gateway.keys import Keys
    from counterfoil import settings

    return Keys(settings.load().gateway)


def _public(one: Any) -> dict[str, Any]:
    return {"name": one.name, "id": one.id, "scopes": list(one.scopes), "rate": one.rate, "made": one.made}


def _say(text: str) -> None:
    terminal.OUT.print(text, highlight=False, markup=False, soft_wrap=True)
