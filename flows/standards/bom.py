"""The bill of materials of a bento: CycloneDX 1.6 JSON with the model and its card, the data, and the Python packages.

https://cyclonedx.org/docs/1.6/json/. Written as JSON by hand, since the library of the standard knows no model cards; its schema
is what tests hold this against. The same bento gives the same bytes: the serial number is derived from its digest, the time is
that of its record.
"""

import importlib.metadata
import re
import uuid
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

import orjson
from packaging.utils import canonicalize_name

from bentos.requirements import needs, requirement, version_of
from counterfoil import canonical
from counterfoil.errors import InputError, UnknownError
from counterfoil.types import Bento, Candidate, Dataset, Noun
from flows.place import Place
from flows.report.turn import path_of
from flows.standards.card import Card, card
from flows.standards.card_facts import Facts, Reader, gather
from flows.verbs.serving import bento_folder

SERIALS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:counterfoil:bento")
Component = dict[str, Any]


def bom(place: Place, name: str) -> dict[str, Any]:
    """Return the bill of a bento, by its id or its tag. UnknownError when there is none, InputError when it is another noun."""
    bento = find(place, name)
    reader = Reader(place=place)
    facts = gather(reader, bento.candidate)
    dataset = reader.noun(bento.dataset, Dataset)
    packages = packaged(bento_folder(place, bento.tag) / "src" / "requirements.txt")
    made = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SERIALS, bento.sha256)}",
        "version": 1,
        "metadata": {
            "timestamp": canonical.utc_text(_recorded(place, bento)),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "counterfoil", "version": bento.code_version}]},
            "component": _root(bento),
        },
        "components": [
            _model(facts, card(place, bento.candidate, reader)),
            _data(dataset),
            *(_package(one) for one in packages.found.values()),
        ],
        "dependencies": _dependencies(bento, facts.candidate, dataset, packages),
    }  # fmt: skip
    if not packages.whole:
        made["compositions"] = [{"aggregate": "incomplete", "dependencies": [bento.id]}]
    return made


def encode(made: dict[str, Any]) -> bytes:
    """Return a bill's bytes."""
    return orjson.dumps(made, option=orjson.OPT_INDENT_2) + b"\n"


def find(place: Place, name: str) -> Bento:
    """Return a bento by its id or its tag."""
    if ":" in name:
        found: Noun | None = next((one for one, _ in place.catalog.recorded(Bento) if one.tag == name), None)
        if found is None:
            raise UnknownError(
                f"the catalog knows no bento {name!r}; `counterfoil models` lists the releases"
            )
    else:
        found = place.catalog.get(name)
    if not isinstance(found, Bento):
        raise InputError(f"{name} is a {found.kind}, and bills are of bentos; name one by its id or its tag")
    return found


def path(place: Place, bento: Bento, decision: Any) -> Path:
    """Return where the bill of a bento lies: beside the page of the decision that it was packaged for."""
    return path_of(place, decision).parent / f"{bento.id}.cdx.json"


def _recorded(place: Place, bento: Bento) -> Any:
    return next(at for one, at in place.catalog.recorded(Bento, bento.use_case) if one.id == bento.id)


def _root(bento: Bento) -> Component:
    name, _, version = bento.tag.partition(":")
    return {
        "type": "application",
        "bom-ref": bento.id,
        "name": name,
        "version": version,
        "description": f"The service of {bento.use_case}: code, model and item snapshot.",
        "hashes": _sha256(bento.sha256),
        "properties": _properties(
            {
                "tag": bento.tag,
                "candidate": bento.candidate,
                "dataset": bento.dataset,
                "feature_service": bento.feature_service,
                "code_version": bento.code_version,
            }
        ),
    }


def _model(facts: Facts, told: Card) -> Component:
    one = facts.candidate
    return {
        "type": "machine-learning-model",
        "bom-ref": one.id,
        "name": f"{one.use_case}-{one.family}",
        "version": one.sha256[:16],
        "description": facts.family_text.partition("\n\n")[0].replace("\n", " ") or one.family,
        "hashes": _sha256(one.sha256),
        "modelCard": {
            "modelParameters": {
                "task": "ranking",
                "architectureFamily": one.family,
                "datasets": [{"ref": one.dataset}],
                "inputs": [{"format": "what a person took, and features of the person, the items and both"}],
                "outputs": [{"format": "a list of items with scores"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _performance(facts)},
            "considerations": _considerations(facts, told),
        },
        "properties": _properties(
            {
                "config": orjson.dumps(canonical.plain(one.config), option=orjson.OPT_SORT_KEYS).decode(),
                "seed": str(one.seed),
                "address": one.address,
                "code_version": one.code_version,
                "fit_seconds": f"{one.fit_seconds:.3f}",
                "peak_bytes": str(one.peak_bytes),
                "artefact_bytes": str(one.artefact_bytes),
            }
        ),
    }


def _performance(facts: Facts) -> list[dict[str, Any]]:
    """Return every metric over everybody, then the one that decided in each slice."""
    named = [(name, None, mean) for name, mean in facts.means.items()]
    named += [(facts.primary, part, mean) for part, mean in facts.slices.items()]  # type: ignore[misc]
    out = []
    for name, part, mean in named:
        one: dict[str, Any] = {"type": name, "value": f"{mean.value:.6f}"}
        if part is not None:
            one["slice"] = part
        if mean.low is not None and mean.high is not None:
            one["confidenceInterval"] = {"lowerBound": f"{mean.low:.6f}", "upperBound": f"{mean.high:.6f}"}
        out.append(one)
    return out


def _considerations(facts: Facts, told: Card) -> dict[str, Any]:
    points = {section.title: section for section in told.sections}
    limits = points["Caveats and recommendations"].points
    use = facts.case_text.partition("\n\n")[0]
    return {
        **({"useCases": [cleandoc(use).replace("\n", " ")]} if use else {}),
        "technicalLimitations": list(limits),
        "ethicalConsiderations": [{"name": text} for text in points["Ethical considerations"].text],
    }


def _data(dataset: Dataset) -> Component:
    return {
        "type": "data",
        "bom-ref": dataset.id,
        "name": f"{dataset.use_case}-dataset",
        "version": dataset.sha256[:16],
        "hashes": _sha256(dataset.sha256),
        "data": [
            {
                "type": "dataset",
                "name": dataset.id,
                "description": f"{dataset.rows:,} interactions of {dataset.people:,} people with {dataset.items:,} items,"
                f" {dataset.first_time.date()} to {dataset.last_time.date()}.",
                "sensitiveData": ["behaviour of people under keyed pseudonyms"],
            }
        ],
        "properties": _properties(
            {
                "address": dataset.address,
                "as_of": canonical.utc_text(dataset.as_of),
                "holdout_from": canonical.utc_text(dataset.holdout_from),
                "rows": str(dataset.rows),
                "people": str(dataset.people),
                "items": str(dataset.items),
                "feature_service": dataset.feature_service,
                "verdicts": str(len(dataset.verdicts)),
            }
        ),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A Python package: its canonical name, exact version, whether the bento itself asks for it, and what it needs."""

    name: str
    version: str
    asked_for: bool
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """The package URL, https://github.com/package-url/purl-spec."""
        return f"pkg:pypi/{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """Packages by name; `whole` says that what they need in turn could be looked up."""

    found: dict[str, Package]
    whole: bool


def packaged(requirements: Path) -> Packages:
    """Return the packages that a bento asks for, and where this environment has them in these versions, what they need."""
    asked: dict[str, str] = {}
    extras: dict[str, set[str]] = {}
    for line in requirements.read_text().splitlines() if requirements.is_file() else ():
        asked_for = requirement(line)
        if asked_for is not None:
            name = canonicalize_name(asked_for.name)
            asked[name] = str(asked_for.specifier).removeprefix("==")
            extras[name] = set(asked_for.extras)
    if not asked or any(version_of(name) != version for name, version in asked.items()):
        found = {
            name: Package(name=name, version=version, asked_for=True, needs=())
            for name, version in sorted(asked.items())
        }
        return Packages(found=found, whole=False)
    needed = needs(extras)
    found = {
        name: Package(
            name=name,
            version=version_of(name) or "",
            asked_for=name in asked,
            needs=tuple(sorted(needed[name])),
        )
        for name in sorted(needed)
    }
    return Packages(found=found, whole=True)


def _package(one: Package) -> Component:
    made: Component = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "purl": one.purl,
        "scope": "required",
        "properties": _properties({"pinned by the bento": "yes" if one.asked_for else "no"}),
    }
    licences = _licences(one)
    if licences:
        made["licenses"] = licences
    return made


def _licences(one: Package) -> list[dict[str, Any]]:
    """Return a package's licence as its own metadata say it: an SPDX expression, else a name; nothing when they do not."""
    if version_of(one.name) != one.version:
        return []
    about: Any = importlib.metadata.metadata(one.name)
    expression = about.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    named = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or ()
        if text.startswith("License ::")
    ]
    said = (about.get("License") or "").strip()
    if not named and said and len(said) <= 80 and "\n" not in said:
        named = [said]
    return [{"license": {"name": name}} for name in sorted(set(named))]


def _dependencies(
    bento: Bento, candidate: Candidate, dataset: Dataset, packages: Packages
) -> list[dict[str, Any]]:
    """Return the graph: the bento needs its model and packages, the model the data that it learned from, packages each other."""
    asked = [one.purl for one in packages.found.values() if one.asked_for]
    return [
        {"ref": bento.id, "dependsOn": [candidate.id, *asked]},
        {"ref": candidate.id, "dependsOn": [dataset.id]},
        {"ref": dataset.id, "dependsOn": []},
        *(
            {"ref": one.purl, "dependsOn": [packages.found[name].purl for name in one.needs]}
            for one in packages.found.values()
        ),
    ]


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"name": f"counterfoil:{re.sub(r'[^a-z_]+', '-', name)}", "value": value}
        for name, value in values.items()
    ]
