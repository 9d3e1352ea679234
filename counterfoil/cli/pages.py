"""Commands of the console: its pages in the foreground, and who may come in."""

import sys
from typing import Annotated, Any

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, console
from counterfoil.errors import InputError

user = typer.Typer(no_args_is_help=True, help="People who log in by a password.")
key = typer.Typer(no_args_is_help=True, help="Machines that come in by a key.")
console.add_typer(user, name="user")
console.add_typer(key, name="key")

Role = Annotated[str, typer.Option(help="viewer, engineer, approver or auditor")]
Name = Annotated[str, typer.Argument(help="Letters, digits, dot, dash, underscore or @.")]


@console.callback()
def pages(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Default: COUNTERFOIL_CONSOLE_PORT, 3100.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve the pages in the foreground; `counterfoil up` does it beside the service."""
    if context.invoked_subcommand is not None:
        return
    from counterfoil.console.serve import serve, show
    from flows.place import open_place

    place = open_place()
    serve(place, port or place.settings.console_port, lambda told: terminal.emit(told, json, show))


@console.command("link")
def link(json: Json = False) -> None:
    """Show the link that logs in once, while there is no account."""
    from counterfoil.console.serve import first_login, show_link
    from flows.place import open_place

    terminal.emit(first_login(open_place()), json, show_link)


@user.command("add")
def user_add(name: Name, role: Role, json: Json = False) -> None:
    """Add a person; the password is asked for, or read from standard input."""
    account = _accounts().add_person(name, role, _password())
    terminal.emit(_public(account), json, lambda told: _say(f"{told['name']} may log in as {told['role']}"))


@user.command("role")
def user_role(name: Name, role: Role, json: Json = False) -> None:
    """Give an account another role; whoever is logged in by it has to log in anew."""
    account = _accounts().change_role(name, role)
    terminal.emit(_public(account), json, lambda told: _say(f"{told['name']} is {told['role']} now"))


@key.command("add")
def key_add(name: Name, role: Role, json: Json = False) -> None:
    """Add a machine and print its key, once: only a digest of it is kept."""
    made = _accounts().add_key(name, role)
    told = {"name": name, "role": role, "key": made}
    terminal.emit(told, json, lambda told: _say(f"{told['key']}\nkeep it: it is shown this once"))


@user.command("list")
def user_list(json: Json = False) -> None:
    """List the people."""
    _list("person", json)


@key.command("list")
def key_list(json: Json = False) -> None:
    """List the machines."""
    _list("machine", json)


@user.command("remove")
def user_remove(name: Name, json: Json = False) -> None:
    """Remove a person; whoever is logged in by it is out at once."""
    _remove(name, "person", json)


@key.command("remove")
def key_remove(name: Name, json: Json = False) -> None:
    """Remove a machine; its key counts no more."""
    _remove(name, "machine", json)


def _accounts() -> Any:
    from counterfoil import settings
    from counterfoil.console.accounts import Accounts

    return Accounts(settings.load().console)


def _list(kind: str, json: bool) -> None:
    found = [_public(one) for one in _accounts().all().values() if one.kind == kind]
    rows = [[one["name"], one["role"], one["made"]] for one in found]
    terminal.emit(
        {"accounts": found}, json, lambda _: terminal.table("Accounts", ["name", "role", "made"], rows)
    )


def _remove(name: str, kind: str, json: bool) -> None:
    accounts = _accounts()
    account = accounts.all().get(name)
    if account is not None and account.kind != kind:
        raise InputError(f"{name} is a {account.kind}; remove it by the command for those")
    accounts.remove(name)
    terminal.emit({"name": name, "removed": True}, json, lambda told: _say(f"{told['name']} is removed"))


def _public(account: Any) -> dict[str, str]:
    return {"name": account.name, "kind": account.kind, "role": account.role, "made": account.made}


def _password() -> str:
    """Return the password: asked for twice at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _say(text: str) -> None:
    terminal.OUT.print(text, highlight=False, markup=False, soft_wrap=True)
