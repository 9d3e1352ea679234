"""Files: the console's own styles and scripts, and the reports, which are only read."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from counterfoil.console.door import Visitor, desk, may
from counterfoil.console.headers import REPORTS
from counterfoil.console.render import render
from counterfoil.console.roles import Right
from counterfoil.errors import UnknownError

router = APIRouter()
Reader = Annotated[Visitor, Depends(may(Right.READ))]
STATIC = Path(__file__).parent.parent / "static"
KINDS = {".html", ".css", ".png", ".svg", ".gif", ".ico", ".json"}
LISTED = 200
HEALTH = "/healthz"


def serve_static(app: FastAPI) -> None:
    """Serve the console's own files."""
    app.mount("/static", StaticFiles(directory=STATIC))


@router.get(HEALTH)
def well() -> Response:
    """Say that the console is there, to whoever started it; nothing else."""
    return Response("ok\n", media_type="text/plain")


@router.get("/reports/")
def list_reports(request: Request, asks: Reader) -> Response:
    """List the reports that there are."""
    top = desk(request).place.settings.home / "reports"
    pages = [*top.glob("*/report.html"), *top.glob("*/data-docs/index.html"), *top.glob("*/*/index.html")]
    found = sorted({path.relative_to(top).as_posix() for path in pages})
    return render(request, "reports.html", {"reports": found[:LISTED], "more": max(0, len(found) - LISTED)})


@router.get("/reports")
def to_reports(asks: Reader) -> Response:
    """Go to the list."""
    return RedirectResponse("/reports/", 303)


@router.get("/reports/{path:path}")
def show_report(request: Request, asks: Reader, path: str) -> Response:
    """Hand out a file below the reports' folder. UnknownError for any other, also by way of a link."""
    top = (desk(request).place.settings.home / "reports").resolve()
    try:
        file = (top / path).resolve()
        inside = file.is_relative_to(top) and file.is_file() and file.suffix in KINDS
    except (OSError, ValueError):
        inside = False
    if not inside:
        raise UnknownError(f"there is no report {path[:200]!r}; see /reports/")
    return FileResponse(file, headers={"Content-Security-Policy": REPORTS})
