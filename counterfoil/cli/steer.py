"""Commands by which people steer: approve, promote, roll back."""

from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app

By = Annotated[
    str | None, typer.Option("--by", help="Who decides; default: the name that this process runs as.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever asks later.")]


@app.command()
def approve(
    decision: Annotated[str, typer.Argument(help="Id of a decision to promote.")],
    by: By = None,
    note: Annotated[str, typer.Option(help="What there is to say of it.")] = "",
    json: Json = False,
) -> None:
    """Put your word on a decision; the last one that its gate waits for releases the winner."""
    from flows import steer

    terminal.emit(steer.approve_here(decision, by, note), json, steer.show)


@app.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="Id of an evaluated candidate.")],
    reason: Reason,
    by: By = None,
    json: Json = False,
) -> None:
    """Let a candidate serve, whatever the gate said of it."""
    from flows import steer

    terminal.emit(steer.promote_here(candidate, by, reason), json, steer.show)


@app.command()
def rollback(
    use_case: Annotated[str, typer.Argument()] = "recommendation",
    *,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option(help="An earlier release; default: the newest one with another bento.")
    ] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Let an earlier release's bento serve again."""
    from flows import steer

    terminal.emit(steer.rollback_here(use_case, by, reason, to), json, steer.show)
