"""The command line's trunk: the groups of commands, and the options that many share."""

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="An MLOps platform for shops in which every answer keeps its stub.",
)
data = typer.Typer(no_args_is_help=True, help="Bring events, items and people in.")
receipt = typer.Typer(no_args_is_help=True, help="Answers and their stubs.")
bench = typer.Typer(no_args_is_help=True, help="Measure by the protocols of published figures.")
ledger = typer.Typer(no_args_is_help=True, help="What was written when, and the proof that it still is.")
console = typer.Typer(invoke_without_command=True, help="Pages to read what happened on, and to steer by.")
key = typer.Typer(no_args_is_help=True, help="Keys of the gateway: who may ask, for what, how often.")
app.add_typer(key, name="key")
app.add_typer(data, name="data")
app.add_typer(console, name="console")
app.add_typer(ledger, name="ledger")
app.add_typer(bench, name="bench")
app.add_typer(receipt, name="receipt")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Learn from what was known before this day; default: the last landed day."),
]
