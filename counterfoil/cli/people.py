"""Commands about one person: what is held about them, and its erasure."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app
from counterfoil.errors import InputError


@app.command()
def export(
    person: Annotated[str, typer.Argument(help="The shop's name of a person, or a pseudonym.")],
    out: Annotated[Path | None, typer.Option(help="A folder that is not there yet.")] = None,
    json: Json = False,
) -> None:
    """Write out everything that is held about a person: for machines, and as a page."""
    from flows.people import export as exporting

    with terminal.stages() as stages:
        told = exporting.run(person, out, stages)
    terminal.emit(told, json, exporting.show)


@app.command()
def forget(
    person: Annotated[str | None, typer.Argument(help="The shop's name of a person, or a pseudonym.")] = None,
    by: Annotated[str | None, typer.Option(help="Who does it; default: the user of this machine.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Where the certificate goes (.json); default: the folder you are in.")
    ] = None,
    check: Annotated[Path | None, typer.Option(help="Check this certificate instead, offline.")] = None,
    key: Annotated[Path | None, typer.Option(help="The public key that you trust, PEM.")] = None,
    json: Json = False,
) -> None:
    """Take away everything that is held about a person, and certify it; it cannot be taken back."""
    from flows.people import forget as forgetting
    from flows.people.certificate import check as check_certificate

    if (check is None) == (person is None) or (check is None) != (key is None):
        raise InputError(
            "name a person to forget; or a certificate to check, with --check and the --key that you trust"
        )
    if check is not None and key is not None:
        told = check_certificate(check, key)
        terminal.emit(told, json, forgetting.show_check)
        if not told["genuine"]:
            raise typer.Exit(5)
        return
    with terminal.stages() as stages:
        told = forgetting.run(person or "", by, certificate, stages)
    terminal.emit(told, json, forgetting.show)
