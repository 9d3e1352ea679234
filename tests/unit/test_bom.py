"""The bill of a bento: valid CycloneDX 1.6, the same bytes twice, and true of the bento and of this environment."""

import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from counterfoil.errors import InputError, UnknownError
from counterfoil.types import Bento, Candidate, Dataset, Evaluation
from flows.place import Place
from flows.standards import bom
from flows.verbs.serving import bento_folder
from tests.loop_shop import place_of


@pytest.fixture
def place(turned: Path) -> Any:
    opened = place_of(turned)
    yield opened
    opened.catalog.engine.dispose()


@pytest.fixture
def bento(place: Place) -> Bento:
    [found] = place.catalog.find(Bento)
    return found


def by_type(made: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in made["components"] if one["type"] == kind]


def fault_of(made: dict[str, Any]) -> Any:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom.encode(made).decode())


def test_it_is_valid_and_a_spoiled_one_is_not(place: Place, bento: Bento) -> None:
    made = bom.bom(place, bento.id)
    assert fault_of(made) is None
    by_type(made, "machine-learning-model")[0]["modelCard"]["modelParameters"]["tasks"] = []
    assert fault_of(made) is not None


def test_the_same_bento_gives_the_same_bytes(place: Place, bento: Bento) -> None:
    made = bom.bom(place, bento.id)
    assert bom.encode(made) == bom.encode(bom.bom(place, bento.tag))
    recorded = {one.id: at for one, at in place.catalog.recorded(Bento)}
    assert made["metadata"]["timestamp"] == recorded[bento.id].isoformat().replace("+00:00", "Z")


def test_the_model_and_the_data_are_those_of_the_catalog(place: Place, bento: Bento) -> None:
    made = bom.bom(place, bento.id)
    root = made["metadata"]["component"]
    assert root["bom-ref"] == bento.id and root["hashes"] == [{"alg": "SHA-256", "content": bento.sha256}]
    candidate, dataset = place.catalog.get(bento.candidate), place.catalog.get(bento.dataset)
    assert isinstance(candidate, Candidate) and isinstance(dataset, Dataset)
    [model], [data] = by_type(made, "machine-learning-model"), by_type(made, "data")
    assert (
        model["hashes"][0]["content"] == candidate.sha256 and data["hashes"][0]["content"] == dataset.sha256
    )
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    [evaluation] = [e for e in place.catalog.find(Evaluation) if e.candidate == candidate.id]
    told = {
        m["type"]: float(m["value"])
        for m in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
        if "slice" not in m
    }
    assert told == pytest.approx(evaluation.metrics, abs=1e-6)
    assert model["modelCard"]["considerations"]["technicalLimitations"]


def test_every_package_is_there_in_its_exact_version(place: Place, bento: Bento) -> None:
    made = bom.bom(place, bento.id)
    packages = {one["name"]: one for one in by_type(made, "library")}
    asked = (bento_folder(place, bento.tag) / "src/requirements.txt").read_text().split()
    for line in asked:
        name, _, version = line.partition("==")
        assert packages[name]["version"] == version
    assert len(packages) > len(asked) and "compositions" not in made
    for name, one in packages.items():
        purl = PackageURL.from_string(one["purl"])
        assert (purl.type, purl.name, purl.version) == ("pypi", name, one["version"])
        assert importlib.metadata.version(name).partition("+")[0] == one["version"]
    assert packages["numpy"]["licenses"], "what its metadata say is told"


def test_the_graph_reaches_every_component_and_names_no_other(place: Place, bento: Bento) -> None:
    made = bom.bom(place, bento.id)
    graph = {one["ref"]: one["dependsOn"] for one in made["dependencies"]}
    refs = {bento.id, *(one["bom-ref"] for one in made["components"])}
    assert set(graph) == refs and len(made["dependencies"]) == len(refs)
    seen, queue = {bento.id}, [bento.id]
    while queue:
        for child in graph[queue.pop()]:
            assert child in refs
            if child not in seen:
                seen.add(child)
                queue.append(child)
    assert seen == refs


def test_another_environment_says_that_it_cannot_tell_all(place: Place, bento: Bento, tmp_path: Path) -> None:
    own = place_of(shutil.copytree(place.settings.home, tmp_path / "home"))
    requirements = bento_folder(own, bento.tag) / "src/requirements.txt"
    requirements.chmod(0o644)
    requirements.write_text(requirements.read_text().replace("orjson==", "orjson==0."))
    made = bom.bom(own, bento.id)
    assert fault_of(made) is None
    assert made["compositions"] == [{"aggregate": "incomplete", "dependencies": [bento.id]}]
    packages = {one["name"]: one for one in by_type(made, "library")}
    assert packages["orjson"]["version"].startswith("0.") and "licenses" not in packages["orjson"]
    requirements.unlink()
    assert by_type(bom.bom(own, bento.id), "library") == []
    own.catalog.engine.dispose()


def test_what_is_no_bento_is_said(place: Place) -> None:
    [dataset] = place.catalog.find(Dataset)
    with pytest.raises(InputError, match="bills are of bentos"):
        bom.bom(place, dataset.id)
    for name in ("bento-0", "small:0"):
        with pytest.raises(UnknownError):
            bom.bom(place, name)


def test_the_commands_write_what_they_are_asked_for(
    turned: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bento: Bento
) -> None:  # fmt: skip
    from counterfoil import cli

    shutil.copytree(turned, home, dirs_exist_ok=True)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["counterfoil", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, capsys.readouterr().out

    code, printed = run("bom", bento.tag)
    assert code == 0 and json.loads(printed)["metadata"]["component"]["bom-ref"] == bento.id
    code, told = run("bom", bento.id, "--out", str(tmp_path / "b.cdx.json"), "--json")
    assert code == 0 and json.loads((tmp_path / "b.cdx.json").read_bytes()) == json.loads(printed)
    assert json.loads(told)["bytes"] == (tmp_path / "b.cdx.json").stat().st_size
    code, printed = run("prov", bento.id)
    assert code == 0 and "wasDerivedFrom" in json.loads(printed)
    code, printed = run("card", bento.candidate, "--html", str(tmp_path / "card.html"))
    assert code == 0 and "card.html" in printed and "<!doctype html>" in (tmp_path / "card.html").read_text()
    code, printed = run("card", bento.candidate)
    assert code == 0 and printed.startswith("# Model card: repurchase")
    code, printed = run("card", bento.candidate, "--json")
    assert code == 0 and json.loads(printed)["card"]["candidate"] == bento.candidate
    assert run("card", "candidate-0", "--json")[0] == 2
    assert run("bom", bento.id, "--out", str(tmp_path / "gone" / "b.json"))[0] == 2
