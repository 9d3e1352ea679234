"""Commands that bring events, items and people in."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, data


@data.command("import")
def data_import(
    kind: Annotated[
        str,
        typer.Argument(
            help="complete-journey, uci-online-retail, retailrocket, sessions, interactions, mapped, contract"
        ),
    ],
    path: Annotated[Path | None, typer.Argument(help="File or folder; complete-journey needs none.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file, for kind mapped.")] = None,
    json: Json = False,
) -> None:
    """Land a source; importing twice changes nothing."""
    from flows import intake

    with terminal.stages() as stages:
        landed = intake.import_data(kind, path, mapping, stages)
    terminal.emit(landed, json, intake.show_landed)


@data.command("simulate")
def data_simulate(
    events: Annotated[
        int, typer.Option(min=10_000, max=100_000_000, help="About how many events.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same shop.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Where to write it; default: in the home.")] = None,
    drift_day: Annotated[int | None, typer.Option(help="Day, from 0, on which tastes shift.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Plant bad data of this kind; may be given again.")
    ] = None,
    land: Annotated[bool, typer.Option("--land/--no-land", help="Land the events too.")] = True,
    json: Json = False,
) -> None:
    """Make a shop with planted truths, and land its events."""
    from flows import intake

    with terminal.stages() as stages:
        made = intake.simulate(events, seed, folder, drift_day, tuple(fault or ()), land, stages)
    terminal.emit(made, json, intake.show_simulated)


@data.command("live")
def data_live(
    folder: Annotated[Path, typer.Argument(help="A simulated shop.")],
    url: Annotated[str, typer.Option(help="The running service that is asked.")] = "http://127.0.0.1:3000",
    rounds: Annotated[int, typer.Option(min=1, help="How many visits.")] = 100,
    seed: Annotated[int, typer.Option()] = 0,
    events: Annotated[
        str | None, typer.Option(help="Send what they do to this gateway; default: land it.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The gateway's key, where it asks for one.")] = None,
    json: Json = False,
) -> None:
    """Let simulated people answer what a running service shows them; what they do is landed, or sent."""
    from flows import intake

    with terminal.stages() as stages:
        done = intake.live(folder, url, rounds, seed, stages, events_url=events, key=key)
    terminal.emit(done, json, intake.show_live)


@data.command("collect")
def data_collect(json: Json = False) -> None:
    """Land the events that came in over HTTP; the nightly flow and `run` do it by themselves."""
    from flows import collecting

    with terminal.stages() as stages:
        done = collecting.run(stages)
    terminal.emit(done, json, collecting.show)


@data.command("quarantine")
def data_quarantine(
    batch: Annotated[
        str | None, typer.Argument(help="Show the rows of this batch; default: all batches, counted.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what was kept out, row by row with its reason."""
    from flows import intake

    terminal.emit(intake.quarantined(batch), json, intake.show_quarantined)


@data.command("resubmit")
def data_resubmit(
    batch: Annotated[str, typer.Argument(help="Batch whose quarantined rows are tried again.")],
    fixed: Annotated[
        Path | None, typer.Option(help="File with the mended rows; default: the rows as they are.")
    ] = None,
    json: Json = False,
) -> None:
    """Land quarantined rows after a fix; those that pass leave quarantine."""
    from flows import intake

    with terminal.stages() as stages:
        landed = intake.resubmit(batch, fixed, stages)
    terminal.emit(landed, json, intake.show_landed)


@data.command("list")
def data_list(json: Json = False) -> None:
    """Show what has landed, and what is in quarantine."""
    from flows import intake

    terminal.emit(intake.list_data(), json, intake.show_data)
