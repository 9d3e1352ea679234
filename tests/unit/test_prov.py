"""PROV-JSON: read back by the library of the standard, it is the catalog's own graph."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prov.model import (
    ProvActivity,
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvUsage,
)

from counterfoil import canonical
from counterfoil.catalog.lineage import backwards
from counterfoil.errors import UnknownError
from counterfoil.types import Approval, Candidate, Dataset, Decision
from flows.place import Place
from flows.standards import prov
from tests.loop_shop import END, place_of


@pytest.fixture
def place(turned: Path) -> Any:
    opened = place_of(turned)
    yield opened
    opened.catalog.engine.dispose()


def read(content: bytes) -> ProvDocument:
    return ProvDocument.deserialize(content=content.decode(), format="json")


def pairs(document: ProvDocument, kind: type) -> set[tuple[str, str]]:
    return {
        tuple(value.localpart for _, value in record.formal_attributes[:2])  # type: ignore[misc]
        for record in document.get_records(kind)
    }


def names(document: ProvDocument, kind: type) -> set[str]:
    return {record.identifier.localpart for record in document.get_records(kind)}


def test_it_is_the_catalogs_graph(place: Place) -> None:
    release = place.catalog.champion("small")
    assert release is not None
    read_back = read(prov.encode(prov.document(place, release.id)))
    chain = {step.noun.id for step in backwards(place.catalog, release.id)}
    assert names(read_back, ProvEntity) == chain
    known = {(child, parent) for child, parent in place.catalog.edges() if child in chain}
    assert pairs(read_back, ProvDerivation) == known
    generated = dict(pairs(read_back, ProvGeneration))
    assert set(generated) == chain, "everything was made by something, once"
    assert {(generated[child], parent) for child, parent in known} == pairs(read_back, ProvUsage)


def test_activities_have_the_times_of_the_record(place: Place) -> None:
    [candidate] = [one for one in place.catalog.find(Candidate) if one.family == "repurchase"]
    read_back = read(prov.encode(prov.document(place, candidate.id)))
    done = {f"{row['verb']}-{row['key'][:16]}": row for row in place.catalog.passages()}
    found = {record.identifier.localpart: record for record in read_back.get_records(ProvActivity)}
    assert {name.partition("-")[0] for name in found} == {"validate", "snapshot", "fit"}
    for name, record in found.items():
        assert record.get_endTime() == done[name]["recorded_at"]
        taken = (record.get_endTime() - record.get_startTime()).total_seconds()
        assert taken == pytest.approx(done[name]["seconds"], abs=1e-5)


def test_the_agents_are_the_code_the_gate_and_who_approved(place: Place, tmp_path: Path) -> None:
    import shutil

    own = place_of(shutil.copytree(place.settings.home, tmp_path / "home"))
    [decision] = own.catalog.find(Decision)
    word = Approval(use_case="small", decision=decision.id, by="Ada L.", at=datetime(2024, 2, 1, tzinfo=UTC))
    own.catalog.record("approve", "k", [word], [("decision", decision.id)], [], 0.0)
    read_back = read(prov.encode(prov.document(own, decision.id)))
    gate = f"gate-{decision.gate[:16]}"
    assert pairs(read_back, ProvAttribution) == {
        (decision.id, gate),
        (decision.id, f"approver-Ada-L-{canonical.sha256('Ada L.')[:8]}"),
    }
    agents = pairs(read_back, ProvAssociation)
    assert {agent for activity, agent in agents if activity.startswith("decide")} >= {gate}
    code = {agent for _, agent in agents if agent.startswith("code-")}
    assert len(code) == 1 and decision.code_version.split()[-1].partition(":")[2] in code.pop()
    own.catalog.engine.dispose()


def test_a_receipt_leads_to_all_that_it_rests_on_and_names_nobody(place: Place, tmp_path: Path) -> None:
    import shutil

    from counterfoil.receipts import Receipts
    from counterfoil.types import Receipt, ReceiptItem

    own = place_of(shutil.copytree(place.settings.home, tmp_path / "home"))
    release = own.catalog.champion("small")
    assert release is not None
    receipts = Receipts(own.settings.receipts)
    now = datetime(2024, 6, 1, tzinfo=UTC)
    stub = Receipt(
        id=receipts.new_id(now), time=now, use_case="small", release=release.id, bento=release.tag, epoch=1,
        person="somebody-in-particular", request={}, rules=(), features={}, feature_time=END, degraded=(),
        items=(ReceiptItem(item="i001", score=1.0, sources=("repurchase",), reasons=("bought before",)),),
    )  # fmt: skip
    receipts.write(stub)
    receipts.close()
    content = prov.encode(prov.document(own, stub.id))
    assert b"somebody-in-particular" not in content
    read_back = read(content)
    derived = {parent for child, parent in pairs(read_back, ProvDerivation) if child == stub.id}
    assert {name.partition("-")[0] for name in derived} == {"release", "online"}
    [dataset] = own.catalog.find(Dataset)
    assert dataset.id in names(read_back, ProvEntity)
    own.catalog.engine.dispose()


def test_twice_it_is_the_same_bytes_and_what_is_unknown_is_said(place: Place) -> None:
    [dataset] = place.catalog.find(Dataset)
    assert prov.encode(prov.document(place, dataset.id)) == prov.encode(prov.document(place, dataset.id))
    with pytest.raises(UnknownError, match="dataset-0"):
        prov.document(place, "dataset-0")
    with pytest.raises(UnknownError):
        prov.document(place, "nonsense")
