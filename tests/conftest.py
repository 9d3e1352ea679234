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


@pytest.fixture
def shared() -> Path:
    """The folder of real data beside the project; the test is skipped, and says so, when it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return SHARED
