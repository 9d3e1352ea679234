"""The command that gives a cluster what the release table says."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from counterfoil import terminal
from counterfoil.cli.app import Json, app


@app.command()
def manifests(
    use_case: Annotated[str, typer.Argument()] = "recommendation",
    *,
    image: Annotated[str, typer.Option(help="The image of infra/image/Dockerfile, as the cluster knows it.")],
    part: Annotated[
        Literal["all", "services", "routes"], typer.Option(help="Services are to be ready before routes.")
    ] = "all",
    replicas: Annotated[int, typer.Option(min=1, help="Pods of the champion.")] = 2,
    out: Annotated[Path | None, typer.Option(help="A file; default: standard output.")] = None,
    json: Json = False,
) -> None:
    """Render the active releases as Kubernetes objects."""
    from flows import manifests as rendering

    scale = rendering.Scale(image=image, replicas=replicas)
    terminal.emit(rendering.write_here(use_case, scale, part, out), json, rendering.show)
