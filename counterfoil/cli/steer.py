"""Commands by which people steer: approve, promote, roll back, withdraw."""

from typing import Annotated, Literal

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app

By = Annotated[
    str | None, typer.Option("--by", help="Who decides; default: the name that this process runs as.")
]
Key = Annotated[str | None, typer.Option("--key", help="Said twice with the same key, it is done once.")]


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
    stage: Annotated[
        Literal["shadow", "canary", "champion"] | None,
        typer.Option(
            help="Where it is to serve; default: as the use case's rollout says, else to everybody."
        ),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Share of the people who see a canary, as 0.05; default: 0.05.")
    ] = None,
    by: By = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Let a candidate serve, in shadow, to a share of the people or to everybody, whatever the gate said of it."""
    from flows import steer

    terminal.emit(steer.promote_here(candidate, by, reason, stage, share, key), json, steer.show)


@app.command()
def rollback(
    use_case: Annotated[str, typer.Argument()] = "recommendation",
    *,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option(help="An earlier release; default: the newest one with another bento.")
    ] = None,
    by: By = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Let an earlier champion serve everybody again."""
    from flows import steer

    terminal.emit(steer.rollback_here(use_case, by, reason, to, key), json, steer.show)


@app.command()
def withdraw(
    use_case: Annotated[str, typer.Argument()] = "recommendation",
    *,
    reason: Reason,
    by: By = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Take the challenger, in shadow or canary, back: nobody sees it any more."""
    from flows import steer

    terminal.emit(steer.withdraw_here(use_case, by, reason, key), json, steer.show)
