"""A bento on disk: where its parts lie, and opening one, which checks every digest before anything is parsed.

BENTO/src/            code, `data/` (item snapshot), `golden/`, `bento.json`, `requirements.txt`, `manifest.json`
BENTO/models/N/V/     the model, in an exported bento; else in the store's own `models/N/V/` three folders up
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from bentos import formats, manifest
from counterfoil.errors import IntegrityError

ABOUT = "bento.json"
# BentoML writes this beside a model; it holds the time of creation, and nothing here reads it.
BESIDES_MODEL = frozenset({"model.yaml"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bento whose bytes are those of its manifest."""

    path: Path
    model: Path
    sha256: str
    about: dict[str, Any]

    @property
    def tag(self) -> str:
        """BentoML's tag: the use case and 16 hex digits of the manifest's digest."""
        return tag_of(self.about["use_case"], self.sha256)

    @property
    def data(self) -> Path:
        """Folder of the item snapshot."""
        return self.path / "src" / "data"

    @property
    def golden(self) -> Path:
        """Folder of the golden rows."""
        return self.path / "src" / "golden"


def tag_of(name: str, sha256: str) -> str:
    """Return the tag of a model or bento: its name and 16 hex digits of its manifest's digest."""
    return f"{name}:{sha256[:16]}"


def open_bundle(path: Path) -> Bundle:
    """Check a bento's code, data and model against their manifests, and return it. IntegrityError names what is wrong."""
    source = path / "src"
    if not source.is_dir():
        raise IntegrityError(
            f"{path} is not a bento: it has no folder src; name a folder that `package` made"
        )
    sha256 = manifest.verify(source)
    about = orjson.loads((source / ABOUT).read_bytes())
    model = _model_folder(path, about["model"]["tag"])
    found = manifest.verify(model, besides=BESIDES_MODEL)
    if found != about["model"]["sha256"]:
        raise IntegrityError(
            f"{model} is not the model that {path} was packaged with; package the bento again"
        )
    formats.refuse_unknown(model, besides=BESIDES_MODEL)
    return Bundle(path=path, model=model, sha256=sha256, about=about)


def _model_folder(path: Path, tag: str) -> Path:
    name, version = tag.split(":")
    for models in (path / "models", path.resolve().parents[2] / "models"):
        if (models / name / version).is_dir():
            return models / name / version
    raise IntegrityError(
        f"the model {tag} of {path} is nowhere beside it; restore it or package the bento again"
    )
