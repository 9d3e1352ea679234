"""Commands that tell what there is in the words of standards: W3C PROV, model cards, CycloneDX."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app

Out = Annotated[Path | None, typer.Option("--out", help="Write it to this file instead of printing it.")]


@app.command()
def prov(
    thing: Annotated[str, typer.Argument(metavar="ID", help="Id of a receipt or of any noun.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Write the chain behind anything as W3C PROV-JSON: entities, activities with their times, agents."""
    from flows.standards import commands

    terminal.emit(commands.prov(thing, out), json, commands.show_written)


@app.command()
def card(
    candidate: Annotated[str, typer.Argument(help="Id of a candidate; `counterfoil models` lists them.")],
    html: Annotated[Path | None, typer.Option(help="Write it to this file as a page.")] = None,
    json: Json = False,
) -> None:
    """Print the model card of a candidate: what it is, for whom it does worse, who decided, where it served."""
    from flows.standards import commands

    terminal.emit(commands.card(candidate, html), json, commands.show_card)


@app.command()
def bom(
    bento: Annotated[str, typer.Argument(help="Id or tag of a bento.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Write the bill of materials of a bento as CycloneDX 1.6: model and card, data, packages with licences."""
    from flows.standards import commands

    terminal.emit(commands.bom(bento, out), json, commands.show_written)
