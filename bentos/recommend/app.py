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
from bentos.caller import caller_of
from bentos.door import Door
from bentos.front import Answering, Front, InThread, Questions, failure
from bentos.guard import Guard
from bentos.metrics import KIND
from bentos.openapi import document
from bentos.recommend import rulebook
from bentos.recommend.flow import Recommend
from bentos.recommend.person import People
from bentos.recommend.request import BODIES
from bentos.recommend.request import Route as Asked
from bentos.release import Pointer, Released
from bentos.seam import Seam
from bentos.startup import Loaded, await_probe, parse, prepare, start_probe
from counterfoil.errors import IntegrityError
from counterfoil.pseudonym import require_same
from counterfoil.receipts import Receipts
from counterfoil.settings import Settings

SAYS: dict[Asked, str] = {
    "recommend": "items for a person, or for nobody in particular",
    "next": "what comes next in a session; nobody is known",
    "similar": "items like one item",
    "cart": "items that go with those in a cart",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What a process serves with."""

    loaded: Loaded
    front: Front
    flow: Recommend
    receipt_flush_ms: int = 0

    @property
    def released(self) -> Released:
        """The release that it stands for now."""
        return self.front.pointer.now()


def begin(
    bento: Path,
    released: Released,
    settings: Settings,
    people: People,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    release_file: Path | None = None,
    answering: Callable[[Seam, Recommend], Answering] = lambda seam, _: InThread(seam),
) -> Serving:
    """Check, parse and prove a bento, and make what serves it. IntegrityError when it is not what was released.

    ConfigError when people have other pseudonyms here than in the data that it was made from.
    `people` makes the online store's client while the child process parses: both take seconds. `release_file`, where there is
    one, is read anew when it changes; `answering` says who computes the answers.
    """
    opened = open_bundle(bento)
    if opened.tag != released.bento:
        raise IntegrityError(
            f"{bento} is {opened.tag}, but the release names {released.bento}; name the bento of the release"
        )
    require_same(opened.about.get("key"), settings.pseudonym_key, released.bento)
    child = start_probe(opened)
    people.warm()
    prepare(opened)
    await_probe(child, opened)
    loaded = parse(opened)
    pointer = Pointer(released, release_file)
    rules = rulebook.RulesFile(settings.run / rulebook.FILE, settings.home / rulebook.KEPT)
    flow = Recommend(loaded, people, settings.pseudonym_key, rules)
    receipts = Receipts(settings.receipts, flush_ms=settings.receipt_flush_ms)
    seam = Seam(receipts, opened.about["use_case"], flow.routes())
    front = Front(answering(seam, flow), pointer, clock)
    return Serving(loaded=loaded, front=front, flow=flow, receipt_flush_ms=settings.receipt_flush_ms)


def create(start: Callable[[], Serving], run: Path | None = None) -> Starlette:
    """Return the application; `start` runs once, when the server starts, and the server is not ready before it is done.

    `run` is the folder in which the installation's token lies, by default that of the settings.
    """
    held: list[Serving] = []
    paths = {f"/{route}": route for route in SAYS}
    contract = document({path: (BODIES[route], SAYS[route]) for path, route in paths.items()})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        serving = await asyncio.to_thread(start)
        await serving.front.answering.open()
        held.append(serving)
        yield
        await held.pop().front.answering.close()

    def answering(route: Asked) -> Route:
        async def answer(request: Request) -> Response:
            caller = caller_of(request.scope["headers"])
            return await held[0].front.answered(await request.body(), caller, route)

        return Route(f"/{route}", answer, methods=["POST"])

    async def ready(_: Request) -> Response:
        return readiness(held[0])

    async def alive(_: Request) -> Response:
        return Response(b"")

    async def counts(_: Request) -> Response:
        return Response(held[0].front.meter.text(), media_type=KIND)

    async def told(_: Request) -> Response:
        return JSONResponse(contract)

    async def missing(_: Request, __: Exception) -> Response:
        return failure(404, "unknown", f"there is nothing here; POST to {', '.join(paths)}, or GET /readyz")

    async def wrong_method(request: Request, fault: Exception) -> Response:
        said = f"{request.method} is not for {request.url.path}; POST to ask, GET to look"
        response = failure(405, "method", said)
        response.headers["Allow"] = (getattr(fault, "headers", None) or {}).get(
            "Allow", ""
        )  # RFC 9110, 15.5.6
        return response

    return Starlette(
        routes=[
            *(answering(route) for route in SAYS),  # for other methods, and for who mounts this below a path
            Route("/livez", alive, methods=["GET"]),
            Route("/readyz", ready, methods=["GET"]),
            Route("/about", ready, methods=["GET"]),
            Route("/metrics", counts, methods=["GET"]),
            Route("/openapi.json", told, methods=["GET"]),
        ],
        middleware=[
            Middleware(Door, run=run),
            Middleware(Guard),
            Middleware(Questions, front=lambda: held[0].front, routes=paths),
        ],
        exception_handlers={404: missing, 405: wrong_method},
        lifespan=lifespan,
    )


def readiness(serving: Serving) -> Response:
    """Return what serves; 503 while nobody can answer."""
    if not serving.front.answering.able:
        return failure(503, "away", "no answering process lives; the log says why")
    return JSONResponse(describe(serving))


def describe(serving: Serving) -> dict[str, object]:
    """Return what serves: the release, the bento, and as of when its item features are."""
    about = serving.loaded.bundle.about
    as_of = datetime.fromtimestamp(about["as_of_us"] / 1e6, UTC)
    released = serving.released
    return {
        "ready": True,
        "use_case": about["use_case"],
        "release": released.release,
        "epoch": released.epoch,
        "bento": released.bento,
        "candidate": about["candidate"],
        "family": about["family"],
        "dataset": about["dataset"],
        "feature_service": about["feature_service"],
        "items": len(serving.loaded.snapshot),
        "receipt_flush_ms": serving.receipt_flush_ms,
        "items_as_of": as_of.isoformat().replace("+00:00", "Z"),
    }
