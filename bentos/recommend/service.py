"""BentoML's entry: one service, one worker, the application mounted at the root. `bentoml serve TAG` comes here.

The bento is the one that this file lies in; the release pointer is `release.json` in Counterfoil's home.
"""

from pathlib import Path

import bentoml

from bentos import release
from bentos.door import Door
from bentos.guard import Guard
from bentos.recommend.app import Serving, begin, create
from bentos.recommend.person import People
from bentos.startup import settle
from counterfoil import settings


def start() -> Serving:
    """Serve the bento around this file."""
    from feature_repo.online import OnlineFeatures

    current = settings.load()
    bento = Path(__file__).resolve().parents[3]
    people = People(lambda: OnlineFeatures(current))
    pointer = current.home / release.FILE
    serving = begin(bento, release.read(pointer), current, people, release_file=pointer)
    settle()
    return serving


@bentoml.service(name="recommend", workers=1, traffic={"timeout": 10, "max_concurrency": 64})
@bentoml.asgi_app(create(start), path="/")
class Recommend:
    """Recommend items to a person; the routes are those of the application."""


# BentoML's own routes (metrics, schema, health) get the same doors as ours.
Recommend.add_asgi_middleware(Guard)  # type: ignore[attr-defined]  # the decorator's type hides the Service
Recommend.add_asgi_middleware(Door)  # type: ignore[attr-defined]
