"""The ASGI application of the rank service: its routes, and what it holds while it serves.

The same application runs under plain uvicorn (`bentos.worker`) and inside BentoML's server (`service.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bentos.bundle import open_bundle
from bentos.guard import Guard
from bentos.recommend.flow import Recommend
from bentos.recommend.person import People
from bentos.release import Released
from bentos.seam import Seam, failure
from bentos.startup import Loaded, await_probe, parse, start_probe
from counterfoil.errors import IntegrityError
from counterfoil.pseudonym import require_same
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What a process serves with."""

    loaded: Loaded
    released: Released
    seam: Seam
    flow: Recommend


def begin(
    bento: Path,
    released: Released,
    settings: Settings,
    people: People,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Serving:
    """Check, parse and prove a bento, and make what serves it. IntegrityError when it is not what was released.

    ConfigError when people have other pseudonyms here than in the data that it was made from.
    `people` makes the online store's client while the child process parses: both take seconds.
    """
    opened = open_bundle(bento)
    if opened.tag != released.bento:
        raise IntegrityError(
            f"{bento} is {opened.tag}, but the release names {released.bento}; name the bento of the release"
        )
    require_same(opened.about.get("key"), settings.pseudonym_key, released.bento)
    child = start_probe(opened)
    people.warm()
    await_probe(child, opened)
    loaded = parse(opened)
    seam = Seam(Receipts(settings.receipts), opened.about["use_case"], released, clock)
    return Serving(
        loaded=loaded, released=released, seam=seam, flow=Recommend(loaded, people, settings.pseudonym_key)
    )


def create(start: Callable[[], Serving]) -> Starlette:
    """Return the application; `start` runs once, when the server starts, and the server is not ready before it is done."""
    held: list[Serving] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        held.append(await asyncio.to_thread(start))
        yield
        await asyncio.to_thread(held.pop().seam.receipts.close)

    async def recommend(request: Request) -> Response:
        serving = held[0]
        return await serving.seam.answered(serving.flow, request)

    async def ready(_: Request) -> Response:
        return JSONResponse(describe(held[0]))

    async def missing(_: Request, __: Exception) -> Response:
        return failure(404, "unknown", "there is nothing here; POST to /recommend, or GET /readyz")

    async def wrong_method(request: Request, __: Exception) -> Response:
        return failure(405, "method", f"{request.method} is not for {request.url.path}; POST to /recommend")

    return Starlette(
        routes=[
            Route("/recommend", recommend, methods=["POST"]),
            Route("/readyz", ready, methods=["GET"]),
            Route("/about", ready, methods=["GET"]),
        ],
        middleware=[Middleware(Guard)],
        exception_handlers={404: missing, 405: wrong_method},
        lifespan=lifespan,
    )


def describe(serving: Serving) -> dict[str, object]:
    """Return what serves: the release, the bento, and as of when its item features are."""
    about = serving.loaded.bundle.about
    as_of = datetime.fromtimestamp(about["as_of_us"] / 1e6, UTC)
    return {
        "ready": True,
        "use_case": about["use_case"],
        "release": serving.released.release,
        "epoch": serving.released.epoch,
        "bento": serving.released.bento,
        "candidate": about["candidate"],
        "family": about["family"],
        "dataset": about["dataset"],
        "feature_service": about["feature_service"],
        "items": len(serving.loaded.snapshot),
        "items_as_of": as_of.isoformat().replace("+00:00", "Z"),
    }
