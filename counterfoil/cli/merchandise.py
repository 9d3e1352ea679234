"""Commands by which a shop steers its lists: rules set, shown, checked."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app

rules = typer.Typer(
    no_args_is_help=True, help="Merchandising rules: what is lifted, pinned, left out, capped."
)
app.add_typer(rules, name="rules")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A JSON file of rules; see docs/how-to/rules.md.")]


@rules.command("set")
def rules_set(path: File, json: Json = False) -> None:
    """Let the rules of a file hold from now on; services take them up with their next answer."""
    from flows import merchandise

    terminal.emit(merchandise.place(path), json, merchandise.show)


@rules.command("show")
def rules_show(json: Json = False) -> None:
    """Show the rules that hold."""
    from flows import merchandise

    terminal.emit(merchandise.shown(), json, merchandise.show)


@rules.command("check")
def rules_check(path: File, json: Json = False) -> None:
    """Check a file of rules, and say which of its names the serving catalogue does not have."""
    from flows import merchandise

    terminal.emit(merchandise.checked(path), json, merchandise.show)
