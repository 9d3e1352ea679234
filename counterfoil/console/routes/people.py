"""The page People: everything that is held about somebody, handed out, and forgetting them."""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
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
from flows.place import Place

router = APIRouter()
Exporter = Annotated[Visitor, Depends(may(Right.EXPORT))]
Eraser = Annotated[Visitor, Depends(may(Right.FORGET))]
NAME = 200
LEFT_SECONDS = 3600.0  # what is older is nobody's any more


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
    desk(request).note(
        "export asked for", asks.name
    )  # before it is made: who asks for it has it, whatever breaks

    def fill(folder: Path) -> None:
        actions.export(place, person, folder / "export")

    return _zipped(place, fill, "export.zip")


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

    return _zipped(place, fill, "forgotten.zip")


def sweep(place: Place) -> None:
    """Remove what a console of this installation left when it was killed while it handed something out."""
    for left in Path(tempfile.gettempdir()).glob(f"{_prefix(place)}*"):
        with contextlib.suppress(OSError):  # it went meanwhile
            if left.lstat().st_uid == os.getuid() and time.time() - left.lstat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _prefix(place: Place) -> str:
    home = str(place.settings.home.resolve()).encode()
    return f"counterfoil-{hashlib.sha256(home).hexdigest()[:12]}-"


def _zipped(place: Place, fill: Callable[[Path], None], name: str) -> Response:
    """Return what `fill` writes into a folder as a ZIP file; neither is there once it is sent."""
    made = Path(tempfile.mkdtemp(prefix=_prefix(place)))
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
