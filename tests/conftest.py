"""What every test gets: quiet libraries, and an installation of its own instead of the developer's."""

import os
from pathlib import Path

import pytest

from counterfoil import settings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    os.environ.update(settings.QUIET)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation; settings read inside the test point at it."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("COUNTERFOIL_HOME", str(folder))
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    monkeypatch.setenv("BENTOML_HOME", str(folder / "bentoml"))
    return folder


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the loop was turned once on a small shop; tests that change it work on a copy."""
    from tests.loop_shop import END, land_shop, place_of, small_case, turn, write_shop

    place = place_of(tmp_path_factory.mktemp("turned") / "home")
    land_shop(place.settings, write_shop(place.settings.home / "source"))
    turn(place, small_case(), END)
    place.catalog.engine.dispose()
    return place.settings.home


@pytest.fixture
def shared() -> Path:
    """The folder of real data beside the project; the test is skipped, and says so, when it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return SHARED
