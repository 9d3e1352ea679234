"""Two bentos of one model share it in the store: packaging the second leaves alone what the first is served from."""

import shutil
from pathlib import Path

import pytest

from bentos.bundle import open_bundle
from bentos.package import Packaged, package
from counterfoil.settings import Settings
from tests.bento_shop import candidate, settings_of, write_artefact, write_dataset


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Settings, Path, Path]:
    """Settings, a dataset folder, and the artefact of a family that is quick to fit."""
    dataset = write_dataset(tmp_path / "dataset")
    return (
        settings_of(tmp_path / "home"),
        dataset,
        write_artefact(dataset, tmp_path / "artefact", "popularity"),
    )


def packed(parts: tuple[Settings, Path, Path], service: str) -> Packaged:
    """Package the model for a feature service; another service is another bento of the same model."""
    settings, dataset, artefact = parts
    return package(
        use_case="recommendation",
        candidate=candidate("popularity"),
        artefact=artefact,
        dataset=dataset,
        feature_service=service,
        settings=settings,
    )


def inodes(folder: Path) -> dict[str, int]:
    """Return which file on the disk lies under each name."""
    return {path.name: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_a_whole_model_stays_in_place_and_a_damaged_one_is_written_anew(
    parts: tuple[Settings, Path, Path],
) -> None:
    first = packed(parts, "recommendation_v1")
    model = open_bundle(first.path).model
    held = [
        path.open("rb") for path in model.rglob("*") if path.is_file()
    ]  # no inode is given out again meanwhile
    before = inodes(model)
    second = packed(parts, "recommendation_v2")
    assert second.tag != first.tag and open_bundle(second.path).model == model
    assert inodes(model) == before

    damaged = model / "manifest.json"
    damaged.chmod(0o644)
    damaged.write_bytes(b"{}")
    shutil.rmtree(second.path)
    packed(parts, "recommendation_v2")
    assert open_bundle(first.path).sha256 == first.sha256 and inodes(model) != before
    for file in held:
        file.close()
