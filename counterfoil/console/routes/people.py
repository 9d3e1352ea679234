"""The page People: everything that is held about somebody, handed out, and forgetting them."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from counterfoil.console import actions
from counterfoil.console.door import Visitor, desk, field, may
from counterfoil.console.render import render
from counterfoil.console.roles import Right
from counterfoil.errors import InputError
from counterfoil.types import Erasure

router = APIRouter()
Exporter = Annotated[Visitor, Depends(may(Right.EXPORT))]
Eraser = Annotated[Visitor, Depends(may(Right.FORGET))]
NAME = 200


@router.get("/people")
def show_people(request: Request, asks: Exporter) -> Response:
    """Show the two forms, and who was forgotten, by commitment alone."""
    erased = desk(request).place.catalog.find(Erasure, limit=20)
    told = {
        "can": {verb: actions.available(verb) for verb in ("export", "forget")},
        "erasures": [
            {
                "id": one.id,
                "at": one.at,
                "by": one.by,
                "removed": sum(one.removed.values()),
                "learned": len(one.learned),
                "remains": list(one.remains),
            }
            for one in erased
        ],
    }
    return render(request, "people.html", told)


@router.post("/people/export")
def export(request: Request, asks: Exporter) -> Response:
    """Hand out everything that is held about a person, as a ZIP file that is nowhere kept."""
    person, place = field(request, "person", NAME), desk(request).place
    desk(request).note("export asked for", asks.name)  # before it is made: who asks for it has it, whatever breaks

    def fill(folder: Path) -> None:
        actions.export(place, person, folder / "export")

    return _zipped(fill, "export.zip")


@router.post("/people/forget")
def forget(request: Request, asks: Eraser) -> Response:
    """Forget a person and hand out the certificate; the name has to be written twice, since nothing brings them back."""
    person, place = field(request, "person", NAME), desk(request).place
    if field(request, "again", NAME) != person:
        raise InputError(
            "the two names differ; write the person's name twice, since nothing brings them back"
        )

    def fill(folder: Path) -> None:
        actions.forget(place, person, asks.name, folder / "certificate.json")

    return _zipped(fill, "forgotten.zip")


def _zipped(fill: Callable[[Path], None], name: str) -> Response:
    """Return what `fill` writes into a folder as a ZIP file; neither is there once it is sent."""
    made = Path(tempfile.mkdtemp(prefix="counterfoil-"))
    try:
        (made / "held").mkdir()
        fill(made / "held")
        with zipfile.ZipFile(made / name, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted((made / "held").rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(made / "held").as_posix())
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    clean = BackgroundTask(shutil.rmtree, made, ignore_errors=True)
    return FileResponse(made / name, media_type="application/zip", filename=name, background=clean)
