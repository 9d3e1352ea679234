"""Commands that turn the loop, and that start, stop and show what runs."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import AsOf, Json, app


@app.command()
def run(
    use_case: Annotated[str, typer.Argument(help="Which use case to advance.")] = "recommendation",
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Turn the loop once, now; what was done before with the same inputs is skipped."""
    from flows import commands

    with terminal.stages() as stages:
        turned = commands.run(use_case, as_of, stages)
    terminal.emit(turned, json, commands.show_turn)


@app.command()
def demo(json: Json = False) -> None:
    """The whole loop on a real grocer's year, then one answer, explained and proven."""
    from flows import demo as demonstration

    with terminal.stages() as stages:
        shown = demonstration.demo(stages)
    terminal.emit(shown, json, demonstration.show)
    if not shown["verified"]:
        raise typer.Exit(5)


@app.command()
def up(json: Json = False) -> None:
    """Start the Prefect server, a worker with the schedules, the service and the console, on this machine."""
    from flows import commands, machine
    from flows.place import open_place

    with terminal.stages() as stages:
        state = machine.up(open_place(), stages)
    terminal.emit(state, json, commands.show_status)


@app.command()
def down(json: Json = False) -> None:
    """Stop exactly what `up` started."""
    from flows import commands, machine
    from flows.place import open_place

    terminal.emit(machine.down(open_place()), json, commands.show_down)


@app.command()
def status(json: Json = False) -> None:
    """Show what runs on this machine, where, and who is champion."""
    from flows import commands, machine
    from flows.place import open_place

    terminal.emit(machine.status(open_place()), json, commands.show_status)


@app.command()
def schedule(json: Json = False) -> None:
    """Register the deployments of prefect.yaml with the Prefect server."""
    from flows import commands

    terminal.emit(commands.schedule(), json, commands.show_schedule)


@app.command()
def compare(
    use_case: Annotated[str, typer.Argument()] = "recommendation",
    html: Annotated[Path | None, typer.Option(help="Write the page of the decision here too.")] = None,
    json: Json = False,
) -> None:
    """Show the newest decision: contenders with intervals, and the verdict in sentences."""
    from flows import commands

    terminal.emit(commands.compare(use_case, html), json, commands.show_turn)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is configured, what is reachable, and what is wrong."""
    from flows import doctor as examination

    found = examination.examine()
    terminal.emit(found, json, examination.show)
    if not found["well"]:
        raise typer.Exit(1)


@app.command()
def models(use_case: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """List candidates with their measured quality and cost, and the releases."""
    from flows import commands

    terminal.emit(commands.list_models(use_case), json, commands.show_models)


@app.command(hidden=True)
def stage(
    verb: Annotated[str, typer.Argument(help="snapshot, fit, evaluate or compare")],
    use_case: str,
    family: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """Run one pure verb for DVC: the same function as in the loop, on the folders that dvc.yaml names."""
    from flows import stage as stages

    stages.run(verb, use_case, family)
