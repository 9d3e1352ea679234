"""The command line: composition root. Every command is one call; what it prints is in counterfoil/terminal.py.

Heavy libraries are imported by the calls, not here, so that `counterfoil --help` is quick.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil import settings, terminal
from counterfoil.errors import CounterfoilError, InputError, UnavailableError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="An MLOps platform for shops in which every answer keeps its stub.",
)
data = typer.Typer(no_args_is_help=True, help="Bring events, items and people in.")
receipt = typer.Typer(no_args_is_help=True, help="Answers and their stubs.")
bench = typer.Typer(no_args_is_help=True, help="Measure by the protocols of published figures.")
ledger = typer.Typer(no_args_is_help=True, help="What was written when, and the proof that it still is.")
app.add_typer(data, name="data")
app.add_typer(ledger, name="ledger")
app.add_typer(bench, name="bench")
app.add_typer(receipt, name="receipt")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="Learn from what was known before this day; default: the last landed day."),
]


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
    json: Json = False,
) -> None:
    """Let simulated people answer what a running service shows them; what they do is landed."""
    from flows import intake

    with terminal.stages() as stages:
        done = intake.live(folder, url, rounds, seed, stages)
    terminal.emit(done, json, intake.show_live)


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
    """Start the Prefect server, a worker with the schedules, and the service, on this machine."""
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


@receipt.command("show")
def receipt_show(receipt_id: Annotated[str, typer.Argument(metavar="ID")], json: Json = False) -> None:
    """Print the stub of an answer."""
    from flows import commands

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
def restore(
    address: Annotated[str, typer.Argument(help="Id of a dataset, candidate or evaluation, or its address.")],
    folder: Annotated[Path, typer.Argument(help="Where to lay it out; must not exist.")],
    json: Json = False,
) -> None:
    """Lay out an earlier dataset or model version, checked against its digests."""
    from flows import commands

    terminal.emit(commands.restore(address, folder), json, commands.show_restored)


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


@app.command()
def tune(
    use_case: Annotated[str, typer.Argument(help="Which use case; its newest dataset is searched on.")],
    family: Annotated[str, typer.Argument(help="Which family's space is searched.")],
    minutes: Annotated[
        float | None, typer.Option(help="Budget; default: 10, unless --trials is given.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="How many trials; the same number repeats exactly.")
    ] = None,
    json: Json = False,
) -> None:
    """Search a family's settings by validation, and fit the best as a candidate; again goes on."""
    from flows import tune as tuning

    if minutes is None and trials is None:
        minutes = 10.0
    with terminal.stages() as stages:
        told = tuning.run(use_case, family, minutes, trials, stages)
    terminal.emit(told, json, tuning.show)


@bench.command("models")
def bench_models(
    families: Annotated[str, typer.Option(help="Names of families, parted by commas.")],
    data: Annotated[Path | None, typer.Option(help="File or folder; complete-journey needs none.")] = None,
    format: Annotated[
        str,
        typer.Option(
            help="s3rec (person, then items), sessions, interactions, or any kind that can be imported."
        ),
    ] = "interactions",
    protocol: Annotated[str, typer.Option(help="leave-one-out, time or next-item.")] = "leave-one-out",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds; figures are means.")] = 1,
    budget: Annotated[float, typer.Option(min=0, help="Minutes of tuning on validation per family.")] = 0.0,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="leave-one-out: learn from the validation items too.")
    ] = False,
    repeats: Annotated[
        bool | None,
        typer.Option(
            "--repeats/--no-repeats",
            help="Whether what people had may be asked for; default: as the data are.",
        ),
    ] = None,
    cut: Annotated[
        str, typer.Option(help="time: share of the events that is learned from, or a day.")
    ] = "0.9",
    origins: Annotated[
        int, typer.Option(min=1, help="time: at so many cuts, each a horizon before the other.")
    ] = 1,
    lists: Annotated[Path | None, typer.Option(help="Write the top lists here (Parquet).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here.")] = None,
    json: Json = False,
) -> None:
    """Measure families on any data: full ranking, no sampled negatives.

    A family that refuses the data is named with its reason beside the others' figures.
    """
    from flows import benchmark
    from flows.benchmark.sets import Terms

    terms = Terms(path=data, format=format, protocol=protocol, refit=refit, repeats=repeats, cut=cut)  # type: ignore[arg-type]
    asked = benchmark.Benchmark(
        terms=terms,
        families=tuple(name.strip() for name in families.split(",") if name.strip()),
        seeds=seeds,
        budget_minutes=budget,
        lists=lists,
        html=html,
    )
    with terminal.stages() as stages:
        report = benchmark.run(asked, stages) if origins == 1 else benchmark.roll(asked, origins, stages)
    terminal.emit(report, json, benchmark.show if origins == 1 else benchmark.show_rolled)
    if any(one["kind"] == UnavailableError.__name__ for one in report["refused"]):  # a process died
        raise typer.Exit(UnavailableError.exit_code)


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


@app.command(hidden=True)
def stage(
    verb: Annotated[str, typer.Argument(help="snapshot, fit, evaluate or compare")],
    use_case: str,
    family: Annotated[str | None, typer.Argument()] = None,
) -> None:
    """Run one pure verb for DVC: the same function as in the loop, on the folders that dvc.yaml names."""
    from flows import stage as stages

    stages.run(verb, use_case, family)


def main() -> None:
    """Run the command line; one sentence and the error's exit code when it fails, whatever was raised."""
    as_json = "--json" in sys.argv
    try:
        settings.load()
        ended = app(standalone_mode=False)
        if isinstance(
            ended, int
        ):  # what `typer.Exit` was raised with: outside standalone mode it is returned
            sys.exit(ended)
    except CounterfoilError as fault:
        sys.exit(terminal.fail(fault, as_json))
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        sys.exit(130)
    except Exception as fault:
        if type(fault).__module__.startswith(("click", "typer")) and hasattr(fault, "format_message"):
            sys.exit(_usage(fault, as_json))
        from counterfoil import unexpected

        sys.exit(unexpected.end(fault, as_json))


def _usage(fault: Any, as_json: bool) -> int:
    from counterfoil.errors import InputError

    return terminal.fail(InputError(f"{fault.format_message()}; see `counterfoil --help`"), as_json)
