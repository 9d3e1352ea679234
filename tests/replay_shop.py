"""Releases of a small shop, and what they answered: receipts as the service writes them, for tests that make the answers anew."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from starlette.testclient import TestClient

from bentos.recommend.app import begin, create
from bentos.recommend.person import Online, People
from bentos.release import Released
from counterfoil.errors import UnavailableError
from counterfoil.types import Release, UseCase
from flows.place import Place
from flows.verbs import bento_folder
from tests.loop_shop import small_case, turn


def case_of(family: str, config: Any, **changes: Any) -> UseCase:
    """Return a use case of its own in which this family has only popularity to beat."""
    from models.families.popularity import PopularityConfig

    return small_case(name=f"small-{family}", contenders=(PopularityConfig(), config), **changes)


def released(place: Place, case: UseCase, as_of: datetime) -> Release:
    """Turn the loop and return what was released."""
    advanced, _ = turn(place, case, as_of)
    assert advanced.release is not None, advanced.decision.sentences
    return advanced.release


class Gone:
    """An online store that does not answer."""

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> Any:
        raise UnavailableError("the online store does not answer")


@contextmanager
def service(
    place: Place, release: Release, connect: Callable[[], Online] | None = None
) -> Iterator[TestClient]:
    """Serve a release in this process, by its own code when that is this code, over the application's own routes."""
    from feature_repo.online import OnlineFeatures

    pointed = Released(release=release.id, epoch=release.epoch, bento=release.tag)
    people = People(
        connect or (lambda: OnlineFeatures(place.settings)), pause_seconds=0.0, deadline_seconds=5.0
    )
    serving = begin(bento_folder(place, release.tag), pointed, place.settings, people)
    with TestClient(create(lambda: serving)) as client:
        yield client


def ask(client: Any, at: str, **body: Any) -> str:
    """Ask a service at a moment and return the id of the receipt."""
    answer = client.post("/recommend", json={"context": {"time": at}, **body})
    assert answer.status_code == 200, answer.text
    receipt: str = answer.json()["receipt"]
    return receipt
