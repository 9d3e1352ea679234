"""Commands that walk forwards: what anything has reached, and keeping that from being released."""

from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app

quarantine = typer.Typer(no_args_is_help=True, help="What may not be released.")
app.add_typer(quarantine, name="quarantine")

By = Annotated[str | None, typer.Option(help="Who says so; default: the user of this machine.")]


@app.command("blast-radius")
def blast_radius(
    what: Annotated[
        list[str],
        typer.Argument(
            help="A batch, a file or its SHA-256, a day, two moments, person:NAME, item:ID, view:NAME, code:VERSION,"
            " event:ID ..., or the id of anything in the catalog."
        ),
    ],
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine", help="Keep what is reached, and what is made of it later, from release."
        ),
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, with --quarantine.")] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Say what anything has reached: datasets, models, releases, answers, people."""
    from flows import radius

    with terminal.stages() as stages:
        told = radius.blast_radius(what, stages, quarantine, reason, by)
    terminal.emit(told, json, radius.show)


@quarantine.command("list")
def quarantine_list(json: Json = False) -> None:
    """Show what is, and was, in quarantine."""
    from flows import quarantine

    terminal.emit(quarantine.listed(), json, quarantine.show_listed)


@quarantine.command("lift")
def quarantine_lift(
    quarantine_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Annotated[str, typer.Option(help="Why it may end.")],
    by: By = None,
    json: Json = False,
) -> None:
    """End a quarantine: what it kept may be released again."""
    from flows import quarantine

    terminal.emit(quarantine.lifted(quarantine_id, reason, by), json, quarantine.show_lifted)
