"""What learned from a person: the candidates and bentos of every dataset in which they occur, and what of them holds their rows.

A bento is immutable. One that holds rows of the person (golden rows, histories) goes when nobody is answered by it, and is
listed as what remains while it serves.
"""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from counterfoil.catalog.erased import erased
from counterfoil.landing.erase import rows_of
from counterfoil.types import Bento, Candidate, Dataset, Noun
from flows import machine
from flows.people import versions
from flows.people.who import Who
from flows.place import Place
from flows.verbs import bento_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """Who learned from a person. `unsure` are datasets that are in the store no more, and that they may have been in."""

    datasets: tuple[Dataset, ...]
    candidates: tuple[Candidate, ...]
    bentos: tuple[Bento, ...]
    unsure: tuple[str, ...]

    @property
    def nouns(self) -> tuple[Noun, ...]:
        """All but the datasets: what was learned."""
        return (*self.candidates, *self.bentos)


def learned(place: Place, who: Who, numbers: dict[str, int]) -> Learned:
    """Return who learned from the person; `numbers` tells in which stored datasets they are.

    Of a dataset that is not in the store any more the days that it covers tell it: it held everybody who took something then.
    """
    known = [noun for noun, _ in place.catalog.recorded(Dataset)]
    lost = [noun for noun in known if not _readable(place, noun)]
    first = _first_time(place, who) if lost else None
    unsure = [noun for noun in lost if first is not None and first <= noun.last_time]
    datasets = [noun for noun in known if noun.address in numbers] + unsure
    ids = {noun.id for noun in datasets}
    candidates = [noun for noun, _ in place.catalog.recorded(Candidate) if noun.dataset in ids]
    names = {noun.id for noun in candidates}
    bentos = [
        noun for noun, _ in place.catalog.recorded(Bento) if noun.candidate in names or noun.dataset in ids
    ]
    return Learned(
        datasets=tuple(datasets),
        candidates=tuple(candidates),
        bentos=tuple(bentos),
        unsure=tuple(noun.id for noun in unsure),
    )


def _readable(place: Place, dataset: Dataset) -> bool:
    """Say whether the store can still tell who is in a dataset."""
    return versions.PEOPLE not in erased(place.catalog).of_version(dataset.address) and place.store.has(
        dataset.address
    )


def _first_time(place: Place, who: Who) -> datetime | None:
    found = (row for kind, row in rows_of(place.settings, who.pseudonym, ()) if kind == "events")
    first = next(found, None)
    return None if first is None else first["time"]


def holding(place: Place, found: Learned, numbers: dict[str, int]) -> list[Bento]:
    """Return the bentos on this machine that hold rows of the person, or may: whose dataset can tell no more."""
    datasets = {noun.id: noun for noun in found.datasets}
    out = []
    for bento in found.bentos:
        folder, dataset = bento_folder(place, bento.tag), datasets.get(bento.dataset)
        if folder.is_dir() and (
            _keeps_histories(folder) or dataset is None or _asked(place, dataset, numbers)
        ):
            out.append(bento)
    return out


def _keeps_histories(folder: Path) -> bool:
    from bentos.bundle import open_bundle
    from models.artefact import histories

    model = open_bundle(folder).model
    names = [path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()]
    return bool(histories(names))


def _asked(place: Place, dataset: Dataset, numbers: dict[str, int]) -> bool:
    """Say whether the person is among those whose histories a bento of this dataset keeps as golden rows."""
    from bentos import golden
    from models.dataset import read

    number = numbers.get(dataset.address)
    if number is None or not place.store.has(dataset.address):
        return True
    return number in golden.people_of(read(place.opened(dataset.address, dataset.sha256))).tolist()


def serving(place: Place) -> dict[str, str]:
    """Return the ids of bentos that answer now, and by which release: champions, challengers, what services here run."""
    use_cases = {row["use_case"] for row in place.catalog.releases()}
    found = [place.catalog.champion(name) for name in sorted(use_cases)]
    found += [place.catalog.challenger(name) for name in sorted(use_cases)]
    found += [release for _, release in machine.services(place)]
    return {release.bento: release.id for release in found if release is not None}


def take_away(place: Place, bento: Bento) -> None:
    """Remove a bento from this machine, and its model when no other bento has it."""
    from bentos.bundle import open_bundle

    folder = bento_folder(place, bento.tag)
    if not folder.is_dir():
        return
    model = open_bundle(folder).model
    others = [
        open_bundle(path.parent.parent).model for path in folder.parent.parent.glob("*/*/src/bento.json")
    ]
    shared = [one for one in others if one == model]
    for latest, name in ((folder.parent / "latest", folder.name), (model.parent / "latest", model.name)):
        if (
            latest.is_file()
            and latest.read_text().strip() == name
            and (latest.parent != model.parent or len(shared) < 2)
        ):
            latest.unlink()
    if len(shared) < 2:
        shutil.rmtree(model, ignore_errors=True)
    shutil.rmtree(folder)
