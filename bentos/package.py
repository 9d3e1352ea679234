"""Packaging: a fitted candidate and its dataset's catalogue become an immutable bento, named by the digest of what is in it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bentos import bundle, formats, golden, manifest, snapshot
from bentos.requirements import direct, pinned
from counterfoil import canonical
from counterfoil.errors import IntegrityError
from counterfoil.pseudonym import fingerprint
from counterfoil.settings import Settings
from counterfoil.types import Candidate
from models.data import Query
from models.family import Model

ROOMS = ("counterfoil", "models", "feature_repo", "bentos")
LEFT_OUT = ("__pycache__", "*.pyc", ".*", "~*", "gateway")  # the gateway stands in front of bentos, in none
RECALL_PEOPLE = 50  # who are asked how many of the best an index finds
REASON_PEOPLE = 12  # whose answers say which kinds of reasons hold
SERVICE = "bentos.recommend.service:Recommend"


@dataclass(frozen=True, kw_only=True, slots=True)
class Packaged:
    """A bento as it was packaged: its tag in BentoML's store, its folder, the SHA-256 of its manifest."""

    tag: str
    path: Path
    sha256: str


def package(
    *,
    use_case: str,
    candidate: Candidate,
    artefact: Path,
    dataset: Path,
    feature_service: str,
    settings: Settings,
) -> Packaged:
    """Build the bento of a candidate, or find it when the very same was built before.

    `artefact` is the folder that the model saved, `dataset` the dataset folder whose item indices it speaks. IntegrityError
    when the artefact holds a format that can run code; ConfigError when an index of the model misses too many of the best.
    """
    formats.refuse_unknown(artefact)
    settings.bentos.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="packaging-", dir=settings.home) as staging:
        source, model = Path(staging) / "src", Path(staging) / "model"
        shutil.copytree(artefact, model)
        model_sha256 = manifest.write(model)
        model_tag = bundle.tag_of(f"{use_case}-model", model_sha256)
        _stage(
            source,
            use_case,
            candidate,
            model,
            dataset,
            feature_service,
            {"tag": model_tag, "sha256": model_sha256},
            fingerprint(settings.pseudonym_key),
        )
        sha256 = manifest.write(source)
        tag = bundle.tag_of(use_case, sha256)
        path = settings.bentos / "bentos" / tag.replace(":", "/")
        if not _is_whole(path, sha256):
            _build(settings, source, model, tag, model_tag)
    bundle.open_bundle(path)
    return Packaged(tag=tag, path=path, sha256=sha256)


def _stage(
    source: Path,
    use_case: str,
    candidate: Candidate,
    model: Path,
    dataset: Path,
    feature_service: str,
    model_entry: dict[str, str],
    key: str,
) -> None:
    """Lay out the bento's source folder: code, item snapshot, golden rows, description, requirements."""
    from models import recall
    from models.dataset import read
    from models.families import family

    data = read(dataset)
    for room in ROOMS:
        shutil.copytree(_room(room), source / room, ignore=shutil.ignore_patterns(*LEFT_OUT))
    snapshot.write(data, source / "data")
    loaded = family(candidate.family).load(model)
    golden.write(data, loaded, source / "golden")
    found = recall.require(loaded, candidate.family, golden.question(data, RECALL_PEOPLE))
    about: dict[str, Any] = {
        "use_case": use_case,
        "candidate": candidate.id,
        "family": candidate.family,
        "dataset": candidate.dataset,
        "feature_service": feature_service,
        "model": model_entry,
        "key": key,
        **{name: data.about[name] for name in ("as_of_us", "person_names", "item_names", "pair_names")},
        **{name: data.about[name] for name in ("history_kinds", "history_cap")},
        **({"recall": found} if found else {}),
    }
    about["reasons"] = _faithful(source, model, loaded, golden.question(data, REASON_PEOPLE), about)
    (source / bundle.ABOUT).write_bytes(canonical.encode(about))
    (source / "requirements.txt").write_text("\n".join(direct()) + "\n")


def _faithful(
    source: Path, model: Path, loaded: Model, query: Query, about: dict[str, Any]
) -> list[list[Any]]:
    """Measure which kinds of reasons hold on this model, over the catalogue as it was just laid out."""
    from bentos.recommend import faithful
    from bentos.startup import Loaded

    opened = bundle.Bundle(path=source.parent, model=model, sha256="", about=about)
    items = snapshot.read(source / "data", about["as_of_us"])
    return faithful.measured(Loaded(bundle=opened, model=loaded, snapshot=items), query)


def _room(name: str) -> Path:
    """Return the folder of the code that runs now, wherever it is installed."""
    return Path(__file__).resolve().parent.parent / name


def _is_whole(path: Path, sha256: str) -> bool:
    """Say whether the bento is there and whole; one that is not (a crash, a fault of the disk) is cleared away."""
    if not path.exists():
        return False
    try:
        return bundle.open_bundle(path).sha256 == sha256
    except IntegrityError:
        shutil.rmtree(path)
        return False


def _build(settings: Settings, source: Path, model: Path, tag: str, model_tag: str) -> None:
    """Have BentoML put the model into its model store, and the source folder into a bento."""
    import bentoml

    name, version = tag.split(":")
    with _stores(settings.bentos):
        stored = settings.bentos / "models" / model_tag.replace(":", "/")
        if not _is_stored(
            stored, model
        ):  # a whole one may be read by a process that serves an older bento right now
            shutil.rmtree(stored, ignore_errors=True)
            with bentoml.models.create(model_tag) as entry:
                shutil.copytree(model, entry.path, dirs_exist_ok=True)
        bentoml.build(
            SERVICE,
            name=name,
            version=version,
            build_ctx=str(source),
            include=["**"],
            python={"packages": pinned(), "lock_packages": False},
            models=[model_tag],
        )
    # BentoML notes its build options among the code; the manifest lists all that may lie there, and this it does not.
    (settings.bentos / "bentos" / name / version / "src" / "bentofile.yaml").unlink(missing_ok=True)


def _is_stored(stored: Path, model: Path) -> bool:
    """Say whether BentoML's store holds this very model, whole, with BentoML's own description beside it."""
    try:
        found = manifest.verify(stored, besides=bundle.BESIDES_MODEL)
    except IntegrityError:
        return False
    described = all((stored / name).is_file() for name in bundle.BESIDES_MODEL)
    return described and found == canonical.file_digest(model / manifest.NAME)


@contextmanager
def _stores(home: Path) -> Iterator[None]:
    """Point BentoML at the stores below `home` for a while, whatever the environment said when it was imported."""
    from bentoml._internal.bento import BentoStore
    from bentoml._internal.configuration.containers import BentoMLContainer as Container
    from bentoml._internal.models import ModelStore

    for name in ("bentos", "models", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    places: tuple[Any, ...] = (Container.bento_store, Container.model_store, Container.tmp_bento_store_dir)
    before = [place.get() for place in places]
    for place, value in zip(
        places, (BentoStore(home / "bentos"), ModelStore(home / "models"), str(home / "tmp")), strict=True
    ):
        place.set(value)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.set(value)
