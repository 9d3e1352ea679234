"""One thing altered behind the platform's back: `verify` names it and ends with 5; nothing altered, it ends with 0."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from counterfoil import cli
from flows.place import Place
from flows.verify import verify
from tests.loop_shop import place_of


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
