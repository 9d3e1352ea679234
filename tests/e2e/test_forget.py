"""A person planted in every store is found in each, handed out, forgotten, and found nowhere; others and all proofs stay."""

import base64
import multiprocessing
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from counterfoil import cli, segment
from counterfoil.catalog.erased import erased
from counterfoil.errors import ConflictError, InputError, IntegrityError, UnknownError
from counterfoil.ledger import verifier
from counterfoil.processes import Processes
from counterfoil.receipts import Erased, Receipts
from counterfoil.store import manifest_of
from counterfoil.types import Bento, Candidate, Dataset, Erasure, Evaluation
from flows import collecting, commands, machine
from flows.people import certificate, places, retrain
from flows.people.export import export
from flows.people.forget import forget
from flows.people.identify import identify
from flows.place import Place
from flows.verbs import bento_folder
from flows.verify import verify
from tests.loop_shop import END, place_of, small_case, turn
from tests.planted_home import NAME, NOON, SESSION, plant, scan

OTHER = "p" + "0" * 20


@dataclass(frozen=True)
class Home:
    """A planted home with its remote beside it."""

    root: Path
    place: Place
    alias: str

    answered: str

    @property
    def needles(self) -> tuple[str, ...]:
        """What a scan looks for: name, pseudonym, session, and the session as receipts name it."""
        return (NAME, self.alias, SESSION, self.answered)


def copied(root: Path, into: Path, alias: str, answered: str) -> Home:
    """Copy a planted home: its remote is the copy's own."""
    shutil.copytree(root, into)
    config = into / "home" / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(root), str(into)))
    return Home(root=into, place=place_of(into / "home"), alias=alias, answered=answered)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("planted") / "of"
    place = place_of(root / "home")
    alias = plant(place)
    answered = identify(place, NAME).answered[0]
    place.catalog.engine.dispose()
    return Home(root=root, place=place, alias=alias, answered=answered)


@pytest.fixture
def planted(original: Home, tmp_path: Path) -> Iterator[Home]:
    made = copied(original.root, tmp_path / "copy", original.alias, original.answered)
    yield made
    made.place.catalog.engine.dispose()


@dataclass(frozen=True)
class Forgotten:
    """A home in which the person was forgotten: what was held of others before, and what was told."""

    home: Home
    others: dict[str, Any]
    told: dict[str, Any]


@pytest.fixture(scope="module")
def forgotten(original: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgotten]:
    home = copied(
        original.root, tmp_path_factory.mktemp("forgotten") / "copy", original.alias, original.answered
    )
    others = held_of_others(home)
    told = forget(home.place, NAME, "tester", home.root / "certificate.json")
    yield Forgotten(home, others, told)
    home.place.catalog.engine.dispose()


def held_of_others(home: Home) -> dict[str, Any]:
    """Return what is held of everybody else, row for row."""
    here = home.place.settings.home

    def rows(files: str, where: str) -> list[Any]:
        with duckdb.connect() as con:
            source = f"read_parquet('{here / files}', hive_partitioning = false)"
            return [repr(row) for row in con.execute(f"SELECT * FROM {source} WHERE {where}").fetchall()]

    receipts = [one for one in Receipts(here / "receipts").all() if one.person not in (home.alias, "nobody")]
    return {
        "events": rows("landing/events/*/events.parquet", f"person <> '{home.alias}'"),
        "people": rows("landing/people.parquet", f"id <> '{home.alias}'"),
        "pairs": rows("features/pair/*.parquet", f"person <> '{home.alias}'"),
        "features": rows("features/person/*.parquet", f"person <> '{home.alias}'"),
        "raw": rows("inbox/done/contract-*/shop/events/*.parquet", f"person <> '{NAME}'"),
        "simulated": rows("simulated/*/people.parquet", f"id <> '{NAME}'"),
        "receipts": receipts,
        "items": (here / "landing" / "items.parquet").read_bytes(),
        "refused": (here / "inbox" / "refused" / "other.csv").read_bytes(),
    }


EVERYWHERE = {
    ".dvc", "events", "features", "inbox", "landing", "logs", "prefect", "receipts", "reports", "simulated", "work",
}  # fmt: skip


def test_before_she_is_in_every_store(original: Home) -> None:
    found = scan(original.root, *original.needles)
    assert {name.split("/")[1] for name in found if name.startswith("home/")} == EVERYWHERE
    assert any(name.startswith("remote/") for name in found)
    held = {
        one.name: sum(1 for _ in one.find(original.place, identify(original.place, NAME)))
        for one in places.PLACES
    }
    assert all(held.values()), held
    assert set(held) == {one.name for one in places.PLACES}


def test_afterwards_no_byte_of_her_is_left(forgotten: Forgotten) -> None:
    home = forgotten.home
    assert scan(home.root / "home", *home.needles) == {}
    assert scan(home.root / "remote", *home.needles) == {}
    assert not list((home.root / "home" / "erasures" / "pending").iterdir())
    assert set(forgotten.told["removed"]) == {one.name for one in places.PLACES} | {"bentos"}
    landed = ("bentos", "collected")  # of bentos there is none; what came in over HTTP has landed first
    assert all(count for name, count in forgotten.told["removed"].items() if name not in landed)


def test_others_are_what_they_were(forgotten: Forgotten) -> None:
    assert held_of_others(forgotten.home) == forgotten.others
    assert len(forgotten.others["receipts"]) == 2 and len(forgotten.others["events"]) > 1000


def test_everything_is_still_proven(forgotten: Forgotten) -> None:
    place = forgotten.home.place
    found = verify(place)
    assert found["faults"] == []
    assert any("were erased on request" in note for note in found["notes"])
    receipts = Receipts(place.settings.receipts)
    roots = {name: bytes.fromhex(row["root"]) for name, row in place.catalog.seals().items()}
    seen = set()
    for path in receipts.sealed_segments():
        for number, person in zip(
            *pq.read_table(path, columns=["number", "person"]).to_pydict().values(), strict=True
        ):
            held = receipts.proof(f"receipt-{path.stem}-{number}")
            leaf = base64.b64decode(held["leaf"])
            steps = [base64.b64decode(step) for step in held["segment_proof"]]
            assert verifier.included(leaf, held["place"], held["receipts"], steps, roots[path.stem])
            assert (held["receipt"] is None) == (person is None)
            assert held["receipt"] is None or leaf == verifier.leaf_hash(held["receipt"].encode())
            seen.add(person)
    assert seen == {None, OTHER, "nobody"}


def test_the_ledger_says_nothing_of_her_and_her_certificate_proves_the_rest(forgotten: Forgotten) -> None:
    place, root = forgotten.home.place, forgotten.home.root
    [erasure] = place.catalog.find(Erasure)
    assert forgotten.home.alias not in orjson.dumps([row["body"] for row in place.catalog.rows()]).decode()
    key = root / "key.pem"
    key.write_bytes(verifier.pem_of(place.catalog.notary.public()))
    path = root / "certificate.json"
    said = certificate.check(path, key)
    assert (said["genuine"], said["in_ledger"], said["person"]) == (True, True, erasure.person)
    assert erasure.sha256 == said["sha256"] and "nonce" in path.with_suffix(".txt").read_text()
    kept = certificate.of_home(place, erasure.person[:16])
    assert "opening" not in kept and kept["certificate"] == orjson.loads(path.read_bytes())["certificate"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda told: told["certificate"]["removed"].update(events=1), "was altered"),
        (lambda told: told["opening"].update(person=OTHER), "somebody else's"),
        (
            lambda told: told.update(erasure=told["erasure"].replace("tester", "another")),
            "not that of this erasure",
        ),
        (lambda told: told["proof"]["proof"].reverse(), "not below the signed head"),
    ],
)
def test_a_certificate_that_was_altered_is_false(
    forgotten: Forgotten, tmp_path: Path, change: Any, says: str
) -> None:
    told = orjson.loads((forgotten.home.root / "certificate.json").read_bytes())
    change(told)
    (tmp_path / "false.json").write_bytes(orjson.dumps(told))
    key = tmp_path / "key.pem"
    key.write_bytes(verifier.pem_of(forgotten.home.place.catalog.notary.public()))
    said = certificate.check(tmp_path / "false.json", key)
    assert not said["genuine"] and says in " ".join(said["faults"])


def test_what_is_gone_is_said_in_one_sentence(
    forgotten: Forgotten, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = forgotten.home.place
    monkeypatch.setenv("COUNTERFOIL_HOME", str(place.settings.home))
    [erasure], [dataset] = place.catalog.find(Erasure), place.catalog.find(Dataset)
    [closed, *_] = Receipts(place.settings.receipts).sealed_segments()
    with pytest.raises(UnknownError, match=rf"was erased on .*{erasure.id}.*{erasure.sha256}"):
        commands.receipt(f"receipt-{closed.stem}-1")
    with pytest.raises(UnknownError, match=rf"was erased on .*{erasure.id}"):
        commands.restore(dataset.id, tmp_path / "out")
    chain = {step["id"]: step for step in commands.lineage(place.catalog.champion("small").id)["chain"]}
    assert chain[dataset.id]["erased"] == [erasure.id]


def test_who_learned_from_her_is_named(forgotten: Forgotten) -> None:
    catalog = forgotten.home.place.catalog
    [erasure] = catalog.find(Erasure)
    assert set(erasure.learned) == {noun.id for kind in (Candidate, Bento) for noun in catalog.find(kind)}
    said = " ".join(forgotten.told["remains"])
    assert "answers as release-" in said and "holds rows of theirs" in said
    assert forgotten.told["retrain"] == {"asked": ["small"], "started": False}
    units = {f"{noun.address}/units.parquet" for noun in catalog.find(Evaluation)}
    assert units < set(erasure.stored)


def test_the_loop_turns_without_her_and_what_learned_from_her_is_replaced(
    forgotten: Forgotten, tmp_path: Path
) -> None:
    home = copied(forgotten.home.root, tmp_path / "turned", forgotten.home.alias, forgotten.home.answered)
    place = home.place
    before = place.catalog.champion("small")
    assert retrain.waiting(place, "small") and not retrain.finish(place, "small")
    turned, _ = turn(place, small_case(), END)
    assert turned.release is not None and turned.decision.champion is None
    assert turned.dataset.people == 150
    assert retrain.finish(place, "small") and retrain.waiting(place, "small") is None
    assert not bento_folder(place, before.tag).exists(), (
        "it held rows of hers, and nobody is answered by it any more"
    )
    assert verify(place)["faults"] == []
    assert scan(home.root / "home", *home.needles) == {}
    again, outcomes = turn(place, small_case(), END)
    assert again.decision == turned.decision and all(outcome.skipped for outcome in outcomes)
    place.catalog.engine.dispose()


def test_what_vanished_without_an_erasure_is_a_fault_and_what_came_back_too(
    forgotten: Forgotten, tmp_path: Path
) -> None:
    home = copied(forgotten.home.root, tmp_path / "altered", forgotten.home.alias, forgotten.home.answered)
    place = home.place
    [dataset], candidates = place.catalog.find(Dataset), place.catalog.find(Candidate)
    cache = home.root / "home" / ".dvc" / "cache" / "files" / "md5"

    def lies(address: str, name: str) -> Path:
        tree = orjson.loads((cache / address[:2] / address[2:]).read_bytes())
        md5 = next(entry["md5"] for entry in tree if entry["relpath"] == name)
        return cache / md5[:2] / md5[2:]

    config = lies(candidates[0].address, "config.json")
    content = config.read_bytes()
    config.unlink()
    assert any("lost config.json" in fault for fault in verify(place)["faults"])
    config.write_bytes(content)
    lies(dataset.address, "people.parquet").write_bytes(b"PAR1")
    assert verify(place)["faults"] == [
        f"people.parquet of {dataset.address} was erased, and is in the store again"
    ]
    lies(dataset.address, "people.parquet").unlink()
    assert verify(place)["faults"] == []
    [closed, *_] = Receipts(place.settings.receipts).sealed_segments()
    closed.write_bytes(closed.read_bytes() + b"\0")
    assert verify(place)["faults"] != []
    place.catalog.engine.dispose()


def content(home: Path) -> dict[str, str]:
    """Return the digest of every file, but for locks, DVC's scratch, and logs that SQLite writes back when it is closed."""
    aside = (".lock", "-wal", "-shm", "online.sqlite", "btime")
    return {name: sha for name, sha in manifest_of(home).items() if not name.endswith(aside)}


def test_of_somebody_unknown_nothing_is_held_and_nothing_changes(planted: Home) -> None:
    home = planted.root / "home"
    collecting.collect(planted.place)
    before = content(home)
    told = forget(planted.place, "Nobody Knows-Me", "tester", planted.root / "none.json")
    assert told["erasure"] is None and told["removed"] == {}
    assert content(home) == before
    key = planted.root / "key.pem"
    key.write_bytes(verifier.pem_of(planted.place.catalog.notary.public()))
    said = certificate.check(planted.root / "none.json", key)
    assert (said["genuine"], said["in_ledger"]) == (True, False)


def test_an_export_has_everything_and_changes_nothing(planted: Home) -> None:
    home = planted.root / "home"
    before = content(home)
    told = export(planted.place, NAME, planted.root / "hers")
    assert content(home) == before
    assert all(told["held"].values()) and told["held"]["events"] == 72 and len(told["learned"]) == 3
    for name, count in told["held"].items():
        lines = (planted.root / "hers" / f"{name.replace(' ', '-')}.jsonl").read_bytes().splitlines()
        assert len([orjson.loads(line) for line in lines]) == count
    page = (planted.root / "hers" / "index.html").read_text()
    assert NAME in page and "hers-3-1" in page and "src=" not in page and "<script" not in page
    assert export(planted.place, planted.alias, planted.root / "by-alias")["held"] == told["held"]
    with pytest.raises(InputError, match="there already"):
        export(planted.place, NAME, planted.root / "hers")
    with pytest.raises(InputError, match="in the home"):
        export(planted.place, NAME, home / "out")


def hold(folder: Path, alias: str, ready: Any) -> None:
    """Write a receipt of hers as a process that lives on."""
    [one, *_] = [one for one in Receipts(folder).all() if one.person == alias]
    from dataclasses import replace

    receipts = Receipts(folder)
    receipts.write(replace(one, id=receipts.new_id(NOON), time=NOON))
    ready.send(True)
    ready.recv()


def test_who_is_in_the_way_is_named_and_nothing_is_certified(planted: Home) -> None:
    place, target = planted.place, planted.root / "certificate.json"
    with (
        FileLock(place.settings.home / "small.lock", timeout=0),
        pytest.raises(ConflictError, match="being advanced"),
    ):
        forget(place, NAME, "tester", target)
    with pytest.raises(InputError, match="lies in the home"):
        forget(place, NAME, "tester", place.settings.home / "certificate.json")
    ours, theirs = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(
        target=hold, args=(place.settings.receipts, planted.alias, theirs)
    )
    writer.start()
    assert ours.poll(60)
    with pytest.raises(ConflictError, match="did not start"):
        forget(place, NAME, "tester", target)
    assert not target.exists() and place.catalog.find(Erasure) == []
    assert any("is not finished" in note for note in verify(place)["notes"])
    ours.send(True)
    writer.join()
    told = forget(place, NAME, "tester", target)  # it goes on from there
    assert told["removed"]["events"] == 73 and told["removed"]["receipts"] == 5
    assert scan(planted.root / "home", *planted.needles) == {} and verify(place)["faults"] == []
    assert not any(segment.payloads(path) for path in Receipts(place.settings.receipts).open_segments())


def test_what_is_found_afterwards_all_the_same_is_never_certified(
    planted: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(place: Place, who: Any, commitment: str) -> None:
        """A removal that does not remove: the second walk is to see that."""

    import dataclasses

    broken = tuple(
        dataclasses.replace(one, remove=nothing) if one.name == "logs" else one for one in places.PLACES
    )
    monkeypatch.setattr("flows.people.forget.PLACES", broken)
    with pytest.raises(IntegrityError, match="still in: logs"):
        forget(planted.place, NAME, "tester", planted.root / "certificate.json")
    assert erased(planted.place.catalog).erasures == ()


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, Any]:
    """Run the command line in this process; return its exit code and its answer."""
    monkeypatch.setattr("sys.argv", ["counterfoil", *arguments, "--json"])
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, orjson.loads(capsys.readouterr().out)


def test_the_commands_end_with_one_object_and_the_right_code(
    forgotten: Forgotten, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERFOIL_HOME", str(forgotten.home.place.settings.home))
    key = tmp_path / "key.pem"
    key.write_bytes(verifier.pem_of(forgotten.home.place.catalog.notary.public()))
    path = forgotten.home.root / "certificate.json"
    code, told = said(capsys, monkeypatch, "forget", "--check", str(path), "--key", str(key))
    assert (code, told["genuine"]) == (0, True)
    false = tmp_path / "false.json"
    false.write_bytes(path.read_bytes().replace(b"tester", b"another"))
    code, told = said(capsys, monkeypatch, "forget", "--check", str(false), "--key", str(key))
    assert (code, told["genuine"]) == (5, False)
    code, told = said(capsys, monkeypatch, "export", "Nobody Knows-Me", "--out", str(tmp_path / "none"))
    assert code == 0 and not any(told["held"].values())
    code, told = said(capsys, monkeypatch, "forget", NAME, "--certificate", str(tmp_path / "again.json"))
    assert (code, told["erasure"], told["removed"]) == (0, None, {}), "she was forgotten already"
    for wrong in (
        ["forget"],
        ["forget", "--check", str(path)],
        ["forget", " "],
        ["forget", NAME, "--key", str(key)],
    ):
        code, told = said(capsys, monkeypatch, *wrong)
        assert (code, told["kind"]) == (2, "InputError")


@pytest.mark.slow
def test_a_service_that_is_writing_her_receipts_is_started_anew_and_answers_as_for_a_stranger(
    planted: Home,
) -> None:
    place = planted.place
    release = place.catalog.champion("small")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = machine.serve(place, release, port)
    try:
        asked = {"person": NAME, "n": 3, "context": {"time": "2024-01-25T00:00:00Z", "session": SESSION}}
        known = httpx.post(f"{first.url}/recommend", json=asked, headers=machine.inside(place)).json()
        assert Receipts(place.settings.receipts).find(known["receipt"]).person == planted.alias
        told = forget(place, NAME, "tester", planted.root / "certificate.json")
        assert told["removed"]["receipts"] == 5
        second = Processes(place.settings.home).running()[first.name]
        assert second.pid != first.pid and (second.detail, second.url) == (release.tag, first.url)
        assert scan(planted.root / "home", *planted.needles) == {} and verify(place)["faults"] == []
        with pytest.raises(Erased):
            Receipts(place.settings.receipts).find(known["receipt"])
        stranger = httpx.post(f"{second.url}/recommend", json=asked, headers=machine.inside(place)).json()
        kept = Receipts(place.settings.receipts).find(stranger["receipt"])
        assert (kept.feature_time, kept.features["history"]["rows"]) == (None, 0) and len(kept.nonce) == 32
    finally:
        machine.down(place)


def test_a_certificate_is_never_written_over_another(planted: Home, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    forget(planted.place, NAME, "tester", path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="there already"):
        forget(planted.place, NAME, "tester", path)
    assert path.read_bytes() == before
