"""One thing altered behind the platform's back: `verify` names it and ends with 5; nothing altered, it ends with 0."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from counterfoil import canonical, cli
from counterfoil.receipts import Receipts
from counterfoil.types import Receipt, ReceiptItem
from flows.place import Place
from flows.verify import verify
from tests.loop_shop import END, land_shop, place_of, small_case, turn, write_shop


@pytest.fixture
def place(turned: Path, home: Path) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once; the command line works on it."""
    shutil.copytree(turned, home, dirs_exist_ok=True)
    opened = place_of(home)
    yield opened
    opened.catalog.engine.dispose()


def sql(place: Place, statement: str, *values: object) -> None:
    """Change the database as somebody with a shell would, its foreign keys off."""
    with sqlite3.connect(place.settings.home / "catalog.sqlite") as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def flip(path: Path) -> Path:
    """Flip one bit in the middle of a file, and leave its size and its rights as they were."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    path.chmod(mode)
    return path


def body(place: Place, kind: str, old: str, new: str) -> None:
    sql(place, "UPDATE noun SET body = replace(body, ?, ?) WHERE kind = ?", old, new, kind)


def a_cached(place: Place, family: str, name: str) -> Path:
    """Return the cache's file of a candidate's artefact."""
    from counterfoil.types import Candidate

    [made] = [c for c in place.catalog.find(Candidate) if c.family == family]
    files = place.store._files(made.address)
    return files[name] if name in files else next(iter(files.values()))


def bento(place: Place, pattern: str) -> Path:
    return next(path for path in sorted((place.settings.bentos / "bentos").rglob(pattern)) if path.is_file())


def answered(place: Place, **changes: object) -> Path:
    """Write two receipts of the serving release, the second one changed; return the file."""
    release = place.catalog.champion("small")
    assert release is not None
    receipts = Receipts(place.settings.receipts)
    for change in ({}, changes):
        values: dict = {
            "id": receipts.new_id(END),
            "time": END,
            "use_case": release.use_case,
            "release": release.id,
            "bento": release.tag,
            "epoch": release.epoch,
            "person": "p00000000000000000000",
            "request": {"n": 1},
            "items": (ReceiptItem(item="i001", score=0.5, sources=("popularity",), reasons=("others",)),),
            "rules": (),
            "features": {},
            "feature_time": None,
            "degraded": (),
        }
        receipts.write(Receipt(**{**values, **change}))
    receipts.close()
    [path] = place.settings.receipts.glob("*/*.jsonl")
    return path


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def relanded(place: Place) -> None:
    """Alter a day's file together with its entry in the manifest."""
    day = flip(next((place.settings.landing / "events").rglob("events.parquet")))
    path = place.settings.landing / "manifest.json"
    plain = json.loads(path.read_bytes())
    plain["days"][day.parent.name.removeprefix("day=")]["sha256"] = canonical.file_digest(day)
    path.write_text(json.dumps(plain))


def unsigned(place: Place) -> None:
    """Take the digest out of the manifest."""
    path = place.settings.landing / "manifest.json"
    plain = json.loads(path.read_bytes())
    del plain["digest"]
    path.write_text(json.dumps(plain))


ALTERED: dict[str, tuple[Callable[[Place], object], str]] = {
    "a metric in an evaluation": (
        lambda place: body(place, "evaluation", '"ndcg@10":0.', '"ndcg@10":0.9'),
        "evaluation-",
    ),
    "a sentence of the decision": (
        lambda place: body(place, "decision", "Promote repurchase", "Promote nobody"),
        "decision-",
    ),
    "the verdict passed": (
        lambda place: body(place, "verdict", '"passed":true', '"passed":false'),
        "verdict-",
    ),
    "the code version, which names nothing": (
        lambda place: body(place, "candidate", "source:", "source:f"),
        "candidate-",
    ),
    "a body that is no JSON": (
        lambda place: sql(place, "UPDATE noun SET body = 'gone' WHERE kind = 'dataset'"),
        "dataset-",
    ),
    "a body that is cut short": (
        lambda place: sql(place, "UPDATE noun SET body = '{}' WHERE kind = 'bento'"),
        "bento-",
    ),
    "the digest of a body": (
        lambda place: sql(place, "UPDATE noun SET body_sha256 = 'x' WHERE kind = 'release'"),
        "release-",
    ),
    "the kind of a noun": (
        lambda place: sql(place, "UPDATE noun SET kind = 'bento' WHERE kind = 'release'"),
        "release-",
    ),
    "the use case of a noun": (
        lambda place: sql(place, "UPDATE noun SET use_case = 'else' WHERE kind = 'candidate'"),
        "candidate-",
    ),
    "the address of a noun": (
        lambda place: sql(place, "UPDATE noun SET address = NULL WHERE kind = 'dataset'"),
        "dataset-",
    ),
    "a verdict is gone": (
        lambda place: sql(
            place, "DELETE FROM noun WHERE id IN (SELECT id FROM noun WHERE kind = 'verdict' LIMIT 1)"
        ),
        "not in the catalog any more",
    ),
    "a stored manifest": (
        lambda place: sql(place, "UPDATE stored SET manifest = replace(manifest, ':\"', ':\"0')"),
        "the manifest of ",
    ),
    "a stored manifest that is no JSON": (
        lambda place: sql(place, "UPDATE stored SET manifest = '{'"),
        "the manifest of ",
    ),
    "a stored manifest with its digest": (
        lambda place: sql(
            place,
            "UPDATE stored SET manifest = '{}',"
            " sha256 = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'",
        ),
        "was altered",
    ),
    "when a release began": (
        lambda place: sql(place, "UPDATE release SET valid_from = '2001-01-01 00:00:00.000000'"),
        "the release table says otherwise of release-",
    ),
    "which share a release has": (
        lambda place: sql(place, "UPDATE release SET share = 0.25"),
        "the release table says otherwise of release-",
    ),
    "which stage a release has": (
        lambda place: sql(place, "UPDATE release SET stage = 'shadow'"),
        "the release table says otherwise of release-",
    ),
    "the serving release is retired, though none follows": (
        lambda place: sql(place, "UPDATE release SET stage = 'retired'"),
        "the release table says otherwise of release-",
    ),
    "the serving release is ended": (
        lambda place: sql(place, "UPDATE release SET valid_to = '2030-01-01 00:00:00.000000'"),
        "is the newest champion, but served only until 2030-01-01",
    ),
    "the epoch of a release": (
        lambda place: sql(place, "UPDATE release SET epoch = 7"),
        "the release table says otherwise of release-",
    ),
    "the release table is empty": (
        lambda place: sql(place, "DELETE FROM release"),
        "the release table does not name release-",
    ),
    "every edge is gone": (lambda place: sql(place, "DELETE FROM edge"), "the edge by which release-"),
    **{
        f"the edges from {kind} are gone": (
            lambda place, kind=kind: sql(place, f"DELETE FROM edge WHERE child LIKE '{kind}-%'"),
            f"the edge by which {kind}-",
        )
        for kind in ("dataset", "candidate", "evaluation", "decision", "bento", "release")
    },
    "one edge is gone": (
        lambda place: sql(
            place,
            "DELETE FROM edge WHERE rowid IN (SELECT rowid FROM edge WHERE parent LIKE 'verdict-%' LIMIT 1)",
        ),
        "was made from verdict-",
    ),
    **{
        f"what {verb} returned": (
            lambda place, verb=verb: sql(place, "UPDATE done SET nouns = '[]' WHERE verb = ?", verb),
            f"the record that {verb} was done",
        )
        for verb in ("validate", "snapshot", "inspect", "fit", "evaluate", "decide", "package", "release")
    },
    "a verb returned what is not known": (
        lambda place: sql(
            place, "UPDATE done SET nouns = '[\"candidate-0123456789abcdef\"]' WHERE verb = 'fit'"
        ),
        "names candidate-0123456789abcdef, which is not in the catalog",
    ),
    "a verb returned what another verb did": (
        lambda place: sql(
            place,
            "UPDATE done SET nouns = (SELECT nouns FROM done WHERE verb = 'snapshot') WHERE verb = 'fit'",
        ),
        "which is no candidate",
    ),
    "what a verb returned is no JSON": (
        lambda place: sql(place, "UPDATE done SET nouns = '[' WHERE verb = 'decide'"),
        "the record that decide was done",
    ),
    "a receipt": (
        lambda place: changed(answered(place), '"score":0.5', '"score":0.9'),
        "has the wrong checksum",
    ),
    "a receipt of a release that is not known": (
        lambda place: answered(place, release="release-0123456789abcdef"),
        "was answered by release-0123456789abcdef, which is not in the catalog",
    ),
    "a receipt of another epoch": (lambda place: answered(place, epoch=9), "epoch 9"),
    "a receipt of another bento": (lambda place: answered(place, bento="small:0"), "it names small:0"),
    "a receipt in another file": (
        lambda place: answered(place).rename(place.settings.receipts / "2024-01-25" / "other.jsonl"),
        "other.jsonl lies where no segment of that name belongs",
    ),
    "a landed day together with its manifest": (relanded, "the manifest of what has landed was altered"),
    "the digest of the manifest": (unsigned, "the manifest of what has landed was altered"),
    "a model in the cache": (
        lambda place: flip(a_cached(place, "repurchase", "model.json")),
        "was altered",
    ),
    "a list of files in the cache": (
        lambda place: flip(next((place.store.root / ".dvc/cache").rglob("*.dir"))),
        "file list",
    ),
    "a model in the cache is gone": (
        lambda place: a_cached(place, "popularity", "model.json").unlink(),
        "the store lost",
    ),
    "code in the bento": (lambda place: flip(bento(place, "service.py")), "service.py was altered"),
    "the bento's item snapshot": (lambda place: flip(bento(place, "items.parquet")), "was altered"),
    "the bento's manifest": (lambda place: flip(bento(place, "manifest.json")), "bento small:"),
    "the bento's description": (
        lambda place: bento(place, "bento.json").write_text("{}"),
        "bento.json was altered",
    ),
    "a file beside the bento's code": (
        lambda place: (bento(place, "service.py").parent / "backdoor.py").write_text("x"),
        "backdoor.py is not in the manifest",
    ),
    "the bento is gone": (lambda place: shutil.rmtree(place.settings.bentos / "bentos"), "bento small:"),
    "a landed day": (
        lambda place: flip(next((place.settings.landing / "events").rglob("events.parquet"))),
        "events.parquet was altered",
    ),
    "a landed day is gone": (
        lambda place: next((place.settings.landing / "events").rglob("events.parquet")).unlink(),
        "events.parquet is missing",
    ),
    "the landed items": (
        lambda place: flip(place.settings.landing / "items.parquet"),
        "landed file items.parquet was altered",
    ),
    "the list of what has landed": (
        lambda place: (place.settings.landing / "manifest.json").write_text("{"),
        "is not a manifest of landing",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_was_altered_is_named(place: Place, name: str) -> None:
    alter, sentence = ALTERED[name]
    alter(place)
    found = verify(place)
    assert found["verified"] is False
    assert [fault for fault in found["faults"] if sentence in fault]
    assert all("\n" not in fault for fault in found["faults"])


def test_a_single_flipped_bit_is_a_single_fault(place: Place) -> None:
    flip(next((place.settings.landing / "events").rglob("events.parquet")))
    assert len(verify(place)["faults"]) == 1


def test_a_home_that_answers_and_turns_again_has_no_fault(place: Place) -> None:
    answered(place)
    land_shop(place.settings, write_shop(place.settings.home / "late", days=range(24, 27)))
    turn(place, small_case(), END + timedelta(days=3))
    found = verify(place)
    assert (found["faults"], found["notes"], found["checked"]["receipts"]) == ([], [], 2)


def test_a_day_that_changed_since_it_was_judged_is_a_note_and_no_fault(place: Place) -> None:
    late = write_shop(place.settings.home / "late", days=range(21, 22), people=151)
    land_shop(place.settings, late)
    found = verify(place)
    assert (found["verified"], found["faults"]) == (True, [])
    assert found["notes"] == ["day 2024-01-22 changed since it was last judged; the next run judges it anew"]


def ends_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, dict]:
    """Run a command in this process; return its exit code and its JSON."""
    monkeypatch.setattr("sys.argv", ["counterfoil", *arguments, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
        raise SystemExit(0)
    out = capsys.readouterr().out
    return int(ended.value.code or 0), json.loads(out)


def test_the_command_ends_with_0_and_with_5(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = ends_with(capsys, monkeypatch, "verify")
    assert (code, said["verified"], said["faults"]) == (0, True, [])
    flip(place.settings.landing / "items.parquet")
    code, said = ends_with(capsys, monkeypatch, "verify")
    assert (code, said["faults"]) == (5, ["landed file items.parquet was altered"])


def test_altered_bytes_are_not_restored(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterfoil.types import Candidate

    made = {candidate.family: candidate for candidate in place.catalog.find(Candidate)}
    for family in ("repurchase", "popularity"):
        code, said = ends_with(capsys, monkeypatch, "restore", made[family].id, str(tmp_path / family))
        assert (code, said["address"]) == (0, made[family].address)
    flip(a_cached(place, "repurchase", "model.json"))
    code, said = ends_with(capsys, monkeypatch, "restore", made["repurchase"].id, str(tmp_path / "again"))
    assert (code, said["kind"]) == (5, "IntegrityError")
    assert not (tmp_path / "again").exists()
