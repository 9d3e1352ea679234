"""Commands that search settings and measure families."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app, bench
from counterfoil.errors import UnavailableError


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
