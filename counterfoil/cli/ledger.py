"""Commands that read and prove the ledger."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, ledger


@ledger.command("show")
def ledger_show(
    noun: Annotated[str | None, typer.Argument(help="Only entries that speak of this noun.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 20,
    json: Json = False,
) -> None:
    """Show what was written when."""
    from flows import book

    terminal.emit(book.show(last, noun), json, book.show_entries)


@ledger.command("prove")
def ledger_prove(
    what: Annotated[str, typer.Argument(help="An entry's number, or the id of a noun or a sealed receipt.")],
    json: Json = False,
) -> None:
    """Prove that an entry, or a receipt by the entry of its segment, is in the ledger, below a signed head."""
    from flows import book

    terminal.emit(book.prove(what), json, book.show_proof)


@ledger.command("export")
def ledger_export(
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")], json: Json = False
) -> None:
    """Write the ledger out, with its verifier, for somebody who trusts nobody here."""
    from flows import book

    terminal.emit(book.export(folder), json, book.show_export)


@ledger.command("checkpoint")
def ledger_checkpoint(json: Json = False) -> None:
    """Sign the head of now, and leave it at the places outside."""
    from flows import book

    terminal.emit(book.checkpoint(), json, book.show_head)


@ledger.command("rotate")
def ledger_rotate(json: Json = False) -> None:
    """Let a new key sign from now on; the old one signs that it does."""
    from flows import book

    terminal.emit(book.rotate(), json, book.show_head)
