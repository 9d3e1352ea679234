"""Commands that answer an auditor: receipts, lineage, what served when, and the proof of it."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app, receipt
from counterfoil.errors import InputError


@receipt.command("show")
def receipt_show(
    receipt_id: Annotated[str, typer.Argument(metavar="ID")],
    whole: Annotated[
        bool, typer.Option("--whole", help="With all that it rests on, and what the person did next.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the stub of an answer."""
    from flows import answer, commands

    if whole:
        terminal.emit(answer.resolve_here(receipt_id), json, answer.show)
    else:
        terminal.emit(commands.receipt(receipt_id), json, commands.show_receipt)


@receipt.command("seal")
def receipt_seal(
    quiet_minutes: Annotated[
        float, typer.Option(min=0, help="Leave alone what was written to within these minutes.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Seal the receipts that no service writes to any more: smaller, and their root in the ledger."""
    from flows import commands

    with terminal.stages() as stages:
        found = commands.seal(stages, quiet_minutes)
    terminal.emit(found, json, commands.show_sealed)


@app.command()
def push(json: Json = False) -> None:
    """Copy versions and sealed receipts to the DVC remote, and let go of receipts that are kept there long enough."""
    from flows import away

    with terminal.stages() as stages:
        found = away.push_here(stages)
    terminal.emit(found, json, away.show)


@app.command()
def replay(
    receipt_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Receipts.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="So many of all receipts instead, spread evenly.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which sample.")] = 0,
    json: Json = False,
) -> None:
    """Make answers anew from the archived bento and the person as known then, and compare.

    Ends with 5 when one is not the same, with 7 when one cannot be made any more.
    """
    from flows import replay as replaying

    with terminal.stages() as stages:
        found = replaying.replay(receipt_ids or [], sample, seed, stages)
    terminal.emit(found, json, replaying.show)
    code = replaying.exit_code(found)
    if code:
        raise typer.Exit(code)


@app.command()
def why(
    receipt_id: Annotated[str, typer.Argument(metavar="ID")],
    item: Annotated[str | None, typer.Argument(help="One item of the answer; default: all.")] = None,
    json: Json = False,
) -> None:
    """Say why items stand where they stand: evidence, the parts of the score, and what would move them."""
    from flows import why as asking

    with terminal.stages() as stages:
        told = asking.why(receipt_id, item, stages)
    terminal.emit(told, json, asking.show)


@app.command()
def restore(
    address: Annotated[str, typer.Argument(help="Id of a dataset, candidate or evaluation, or its address.")],
    folder: Annotated[Path, typer.Argument(help="Where to lay it out; must not exist.")],
    json: Json = False,
) -> None:
    """Lay out an earlier dataset or model version, checked against its digests."""
    from flows import commands

    terminal.emit(commands.restore(address, folder), json, commands.show_restored)


@app.command()
def lineage(
    noun: Annotated[
        str, typer.Argument(help="Id of anything: a receipt, release, decision, candidate, dataset, ...")
    ],
    json: Json = False,
) -> None:
    """Walk back from anything to the data that it came from."""
    from flows import commands

    terminal.emit(commands.lineage(noun), json, commands.show_lineage)


@app.command("as-of")
def as_of(
    moment: Annotated[
        str, typer.Argument(help="A moment, as 2026-11-28T14:00:00Z; without a zone it is UTC.")
    ],
    use_case: Annotated[str | None, typer.Option(help="Only this use case.")] = None,
    known_at: Annotated[
        str | None, typer.Option(help="As it was known at this moment; default: as it is known now.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what served at a moment, since when, decided on what evidence, approved by whom."""
    from flows import history

    terminal.emit(history.as_of(moment, use_case, known_at), json, history.show_as_of)


@app.command()
def verify(
    export: Annotated[
        Path | None, typer.Option(help="Prove this export of a ledger instead, offline, with --key alone.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The public key that you trust, PEM.")] = None,
    json: Json = False,
) -> None:
    """Recompute the digests of everything in the catalog, walk the ledger, and name what was altered."""
    from flows import book, commands

    if (export is None) != (key is None):
        raise InputError(
            "an export is proven with the public key that you trust; give both --export and --key"
        )
    if export is not None and key is not None:
        verified = book.verify_export(export, key)
        terminal.emit(verified, json, book.show_verified)
    else:
        with terminal.stages() as stages:
            verified = commands.verify(stages)
        terminal.emit(verified, json, commands.show_verified)
    if verified["faults"]:
        raise typer.Exit(5)
