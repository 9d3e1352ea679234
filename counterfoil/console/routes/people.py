"""The page People: everything that is held about somebody, handed out, and forgetting them."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from counterfoil.console import actions
from counterfoil.console.door import Visitor, desk, field, may
from counterfoil.console.render import render, wants_json
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
    person = field(request, "person", NAME)
    made = Path(tempfile.mkdtemp(prefix="export-"))
    try:
        told = actions.export(desk(request).place, person, made / "export")
        if wants_json(request):
            shutil.rmtree(made)
            return render(request, "done.html", {"says": "exported", "done": told, "back": "/people"})
        zipped = _zip(made / "export", made / "export.zip")
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    clean = BackgroundTask(shutil.rmtree, made, ignore_errors=True)
    return FileResponse(zipped, media_type="application/zip", filename="export.zip", background=clean)


def _zip(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder).as_posix())
    return to


@router.post("/people/forget")
def forget(request: Request, asks: Eraser) -> Response:
    """Forget a person; the name has to be written twice, since nothing brings them back."""
    person = field(request, "person", NAME)
    if field(request, "again", NAME) != person:
        raise InputError(
            "the two names differ; write the person's name twice, since nothing brings them back"
        )
    done = actions.forget(desk(request).place, person, asks.name)
    return render(request, "done.html", {"says": "The person was forgotten", "done": done, "back": "/people"})
