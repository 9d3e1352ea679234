"""The comparator: a bare FastAPI service that does the floor's work for each request.

    python -m bench.serving.bare HOME PORT

What it leaves out: the online store (a person's row lies in a dict), signals (numbers that were computed before), rules, reasons,
checks of the body beyond its fields, receipts, word of what is degraded, and everything that makes a release.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel

from bench.serving import floor
from bench.serving.home import MADE


class Ask(BaseModel):
    """What is asked."""

    person: str
    n: int = 20
    context: dict[str, str] = {}


def create(parts: floor.Parts, rows: dict[str, object]) -> FastAPI:
    """Return the service over these parts; `rows` has a history by person."""
    app = FastAPI()

    @app.post("/recommend")
    async def recommend(ask: Ask) -> Response:
        return Response(parts.answer(rows[ask.person]), media_type="application/json")  # type: ignore[arg-type]

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return app


def main(arguments: Sequence[str]) -> None:
    """Serve the home's model until it is ended."""
    import uvicorn

    from bentos.startup import settle

    home = Path(arguments[0])
    parts = floor.Parts(home)
    parts.way = floor.measure(parts, 1)["retrieval"]  # it takes what is quicker, as the floor does
    rows: dict[str, object] = dict(
        zip(floor.names(orjson.loads((home / MADE).read_bytes())), parts.histories, strict=True)
    )
    settle()
    sys.stderr.write(orjson.dumps({"people": len(rows)}).decode() + "\n")
    uvicorn.run(
        create(parts, rows), host="127.0.0.1", port=int(arguments[1]), log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main(sys.argv[1:])
