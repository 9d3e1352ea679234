"""The ledger forged in every way that its database, files and keys allow: each is named. Nothing forged, nothing is named."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from counterfoil import canonical, ledger
from counterfoil.catalog.catalog import row_of
from counterfoil.errors import CounterfoilError, IntegrityError, UnavailableError
from counterfoil.ledger import Head, Notary, verifier
from flows import book, witness
from flows.place import Place
from tests.ledger_home import DAYS, faults, history, judged, opened, rewritten, sql, told
from tests.some_nouns import verdict


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    made = history(home)
    yield made
    made.catalog.engine.dispose()


def checkpoints(place: Place) -> Path:
    return place.settings.home / "checkpoints" / verifier.CHECKPOINTS


def altered_entry(place: Place) -> None:
    sql(
        place, "UPDATE ledger SET body = replace(CAST(body AS TEXT), 'validate', 'vouchsafe') WHERE entry = 3"
    )


def forged_noun(place: Place) -> None:
    """A verdict that nobody gave, as its row would be."""
    row = row_of(verdict("day:2024-02-01"))
    sql(
        place,
        "INSERT INTO noun (id, kind, use_case, recorded_at, body, body_sha256, address)"
        " VALUES (?, ?, NULL, '2024-02-01 00:00:00', ?, ?, NULL)",
        *(row[name] for name in ("id", "kind", "body", "body_sha256")),
    )


def softened(place: Place) -> None:
    """A verdict changed together with its digest, so that the row agrees with itself."""
    body = canonical.encode(replace(verdict("day:2024-01-03"), passed=False))
    digest = canonical.sha256(orjson.loads(body))
    name = verdict("day:2024-01-03").id
    sql(place, "UPDATE noun SET body = ?, body_sha256 = ? WHERE id = ?", body.decode(), digest, name)


def unsaid(place: Place) -> None:
    """The last day's verdict gone with all that names it."""
    name = verdict(f"day:2024-01-{DAYS:02d}").id
    sql(place, "DELETE FROM edge WHERE child = ?", name)
    sql(place, "DELETE FROM done WHERE key = ?", f"validate {DAYS}")
    sql(place, "DELETE FROM noun WHERE id = ?", name)


def dated_back(entries: list[dict[str, Any]]) -> None:
    entries[4]["at"] = "2020-01-01T00:00:00Z"


def older_copy(place: Place) -> None:
    """The database of two days ago put back; the checkpoints are elsewhere."""
    place.catalog.engine.dispose()
    source = history(place.settings.home / "other", DAYS)
    source.catalog.engine.dispose()
    copy = place.settings.home / "copy.sqlite"
    shutil.copy(place.settings.home / "catalog.sqlite", copy)
    judged(place, DAYS + 1)
    place.catalog.engine.dispose()
    for file in place.settings.home.glob("catalog.sqlite*"):
        file.unlink()
    shutil.copy(copy, place.settings.home / "catalog.sqlite")


def said_again(place: Place) -> None:
    """A noun altered, and the ledger told so by its own code; the next write signs it."""
    softened(place)
    with place.catalog.engine.begin() as connection:
        name = verdict("day:2024-01-03").id
        digest = connection.exec_driver_sql("SELECT body_sha256 FROM noun WHERE id = ?", (name,)).scalar()
        noun = {"id": name, "kind": "verdict", "sha256": digest, "recorded_at": "2024-01-01T00:00:00Z"}
        ledger.append(connection, datetime.now(UTC), {"verb": "note", "new": [noun]})
    judged(place, DAYS + 1)


def taken_over_again(place: Place) -> None:
    with place.catalog.engine.begin() as connection:
        ledger.append(connection, datetime.now(UTC), {"verb": "adopt", "new": [], "done": []})
    judged(place, DAYS + 1)


def swapped_key(place: Place) -> None:
    """Another key in the file and in the ledger, everything signed anew, the old checkpoints left alone."""
    other = Notary(key=place.settings.home / "other.pem", places=())
    public = base64.b64encode(other.public()).decode()
    rewritten(place, lambda entries: entries[0].update(public=public))
    (place.settings.home / "other.pem").replace(place.settings.notary_key)


def slipped_key(place: Place) -> None:
    """A new key named by somebody who does not have the one before it, and the head signed by it."""
    mine = Notary(key=place.settings.home / "mine.pem", places=(str(place.settings.home / "checkpoints"),))
    at = told(place)[-1]["at"]
    entry = {"verb": "key", "public": base64.b64encode(mine.public()).decode(), "at": at}
    rewritten(place, lambda entries: entries.append(entry))
    with place.catalog.reader.connect() as connection:
        mine.publish(ledger.head(connection))
    (place.settings.home / "mine.pem").replace(place.settings.notary_key)


def edited_note(place: Place, change: Callable[[dict[str, str]], Any]) -> None:
    lines = checkpoints(place).read_text().splitlines()
    one = orjson.loads(lines[2])
    change(one)
    lines[2] = orjson.dumps(one).decode()
    checkpoints(place).write_text("".join(f"{line}\n" for line in lines))


def bigger(one: dict[str, str]) -> None:
    """Let a signed note speak of more entries than were signed."""
    lines = one["note"].split("\n")
    one["note"] = "\n".join([lines[0], str(int(lines[1]) + 1), *lines[2:]])


FORGED: dict[str, tuple[Callable[[Place], Any], str]] = {
    "an entry edited": (altered_entry, "entry 3 is not what entry 4 says came before it"),
    "an entry edited and the chain made anew": (
        lambda place: rewritten(place, lambda entries: entries[3].update(verb="vouchsafe")),
        "one of the entries 3 to 3 was altered",
    ),
    "an entry deleted": (
        lambda place: sql(place, "DELETE FROM ledger WHERE entry = 3"),
        "there is no entry 3",
    ),
    "an entry deleted and the chain made anew": (
        lambda place: rewritten(place, lambda entries: entries.pop(3)),
        "has another root",
    ),
    "an entry put in": (
        lambda place: rewritten(place, lambda entries: entries.insert(3, {**entries[3], "verb": "approve"})),
        "has another root",
    ),
    "two entries exchanged": (
        lambda place: rewritten(place, lambda entries: entries.insert(3, entries.pop(4))),
        "has another root",
    ),
    "an entry dated back": (
        lambda place: rewritten(place, dated_back),
        "entry 4 is older than the one before it",
    ),
    "the last entries cut off": (
        lambda place: rewritten(place, lambda entries: entries.__delitem__(slice(5, None))),
        "the last ones are gone",
    ),
    "all entries gone": (
        lambda place: rewritten(place, lambda entries: entries.clear()),
        "the last ones are gone",
    ),
    "an entry that is no JSON": (
        lambda place: sql(place, "UPDATE ledger SET body = CAST('{' AS BLOB) WHERE entry = 3"),
        "entry 3 cannot be read",
    ),
    "an older copy of the database": (older_copy, "an old copy was put back"),
    "another key": (swapped_key, "is not signed by the ledger's key"),
    "a new key that nobody vouched for": (slipped_key, "the key before it has not signed that"),
    "the key's file changed": (
        lambda place: place.settings.notary_key.write_bytes(
            _pem(Notary(key=place.settings.home / "x.pem", places=()))
        ),
        "names another key than",
    ),
    "a checkpoint's number": (lambda place: edited_note(place, bigger), "is not signed by the ledger's key"),
    "a checkpoint that is none": (
        lambda place: edited_note(place, lambda one: one.update(note="x")),
        "checkpoint 3 cannot be read",
    ),
    "all checkpoints gone": (
        lambda place: checkpoints(place).unlink(),
        "no checkpoint of the 7 entries is left",
    ),
    "the head in the database": (
        lambda place: sql(place, "UPDATE ledger_peaks SET size = 3"),
        "says otherwise of the ledger's head",
    ),
    "a noun together with its digest": (softened, "is not what its entry in the ledger says"),
    "a noun that nobody made": (forged_noun, "no entry of the ledger made verdict-"),
    "a noun gone with all that names it": (unsaid, "is gone"),
    "an edge": (lambda place: sql(place, "DELETE FROM edge WHERE child != ''"), "is gone"),
    "an edge that nobody made": (
        lambda place: sql(place, "UPDATE edge SET role = 'dataset'"),
        "no entry of the ledger made the edge",
    ),
    "the time at which a noun was recorded": (
        lambda place: sql(place, "UPDATE noun SET recorded_at = '2020-01-01 00:00:00'"),
        "is not what its entry in the ledger says",
    ),
    "the leaves beside the entries": (
        lambda place: sql(place, "UPDATE ledger SET leaf = zeroblob(32) WHERE entry = 3"),
        "the leaf beside entry 3 is not its own",
    ),
    "the time of the head": (
        lambda place: sql(place, "UPDATE ledger_peaks SET at = '2999-01-01T00:00:00Z'"),
        "says otherwise of the ledger's head",
    ),
    "an entry without a verb": (
        lambda place: sql(place, """UPDATE ledger SET body = CAST('{"a":1}' AS BLOB) WHERE entry = 3"""),
        "entry 3 cannot be read (a part of it is missing)",
    ),
    "what was said before said again otherwise": (said_again, "says otherwise of verdict-"),
    "a second taking over": (taken_over_again, "only the first may"),
    "what a verb returned": (
        lambda place: sql(place, "UPDATE done SET nouns = '[]' WHERE key = 'validate 2'"),
        "the record of what was done with key validate 2",
    ),
}


def _pem(notary: Notary) -> bytes:
    notary.public()
    return notary.key.read_bytes()


@pytest.mark.parametrize("name", FORGED)
def test_what_was_forged_is_named(place: Place, name: str) -> None:
    assert faults(place) == []
    forge, sentence = FORGED[name]
    forge(place)
    found = faults(opened(place.settings.home))
    assert [fault for fault in found if sentence in fault], found


def test_the_database_itself_refuses_to_change_an_entry(place: Place) -> None:
    for statement in ("UPDATE ledger SET body = x'00' WHERE entry = 3", "DELETE FROM ledger WHERE entry = 3"):
        with (
            pytest.raises((CounterfoilError, Exception), match="never changed"),
            place.catalog.engine.begin() as c,
        ):
            c.exec_driver_sql(statement)
    assert faults(place) == []


def exported(place: Place, folder: Path) -> Path:
    book.export(folder)
    return folder


@pytest.mark.parametrize("file", [verifier.ENTRIES, verifier.BODIES, verifier.CHECKPOINTS])
def test_any_byte_of_an_export_is_held_by_the_key_alone(place: Place, tmp_path: Path, file: str) -> None:
    folder = exported(place, tmp_path / "out")
    trusted = verifier.public_of(folder / verifier.PUBLIC)
    assert verifier.verify_export(folder, trusted)["verified"]
    whole = (folder / file).read_bytes()
    for at in range(0, len(whole), 97):
        torn = bytearray(whole)
        torn[at] ^= 1
        (folder / file).write_bytes(torn)
        try:
            assert not verifier.verify_export(folder, trusted)["verified"], at
        except ValueError:
            continue  # no text any more: it cannot be read
    (folder / file).write_bytes(whole.rsplit(b"\n", 2)[0] + b"\n")
    assert not verifier.verify_export(folder, trusted)["verified"]


def test_the_verifier_runs_without_counterfoil_and_says_what_it_finds(place: Place, tmp_path: Path) -> None:
    folder = exported(place, tmp_path / "out")
    command = [sys.executable, "-I", str(folder / "verifier.py"), str(folder), str(folder / verifier.PUBLIC)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    assert (found["entries"], found["signed"], found["faults"]) == (DAYS + 1, DAYS + 1, [])
    other = Notary(key=tmp_path / "other.pem", places=())
    (tmp_path / "other.pub").write_bytes(verifier.pem_of(other.public()))
    done = subprocess.run(
        [*command[:-1], str(tmp_path / "other.pub")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert "the key was swapped" in done.stdout
    assert subprocess.run(command[:-1], capture_output=True, check=False).returncode == 2


def test_a_change_of_keys_is_vouched_for_and_may_be_cut_off_anywhere(place: Place) -> None:
    place.catalog.change_key()
    judged(place, DAYS + 1)
    assert faults(place) == []
    notary = place.catalog.notary
    assert notary is not None

    class Cut(Notary):
        """A notary whose process ends before it signs what it should."""

        def publish(self, head: Head) -> None:
            raise UnavailableError("gone")

    place.catalog.notary = Cut(key=notary.key, places=notary.places)
    with pytest.raises(UnavailableError):
        place.catalog.change_key()
    again = opened(place.settings.home)
    judged(again, DAYS + 2)
    assert faults(again) == []


def test_a_key_that_is_lost_is_said_and_nothing_is_written(place: Place) -> None:
    place.settings.notary_key.unlink()
    with pytest.raises(IntegrityError, match="the ledger names the key"):
        judged(place, DAYS + 1)
    assert len(told(place)) == DAYS + 1


def test_a_place_that_takes_no_checkpoint_is_named_and_the_entry_is_kept(place: Place) -> None:
    notary = place.catalog.notary
    assert notary is not None
    blocked = place.settings.home / "file"
    blocked.write_text("")
    place.catalog.notary = Notary(key=notary.key, places=(str(blocked),))
    with pytest.raises(UnavailableError, match="counterfoil ledger checkpoint"):
        judged(place, DAYS + 1)
    place.catalog.notary = notary
    assert witness.unsigned(place) == [
        f"the last 1 of {DAYS + 2} entries are not signed yet; `counterfoil ledger checkpoint` does it"
    ]
    assert faults(place) == []
    place.catalog.checkpoint()
    assert witness.unsigned(place) == []


def test_an_entry_and_a_noun_are_proven_by_a_few_hashes(place: Place) -> None:
    name = verdict("day:2024-01-03").id
    for what in ("3", name):
        told_of = book.prove(what)
        head = verifier.read_note(told_of["checkpoint"])
        steps = [base64.b64decode(step) for step in told_of["proof"]]
        leaf = verifier.leaf_hash(told_of["line"].encode())
        assert told_of["entry"] == 3 and name in told_of["line"]
        assert verifier.included(leaf, 3, head.size, steps, head.root)
        assert not verifier.included(leaf, 2, head.size, steps, head.root)


def test_an_export_made_with_the_public_key_alone_proves_nothing(place: Place, tmp_path: Path) -> None:
    folder = exported(place, tmp_path / "out")
    trusted = verifier.public_of(folder / verifier.PUBLIC)
    (folder / verifier.CHECKPOINTS).write_text("")
    found = verifier.verify_export(folder, trusted)
    assert (found["verified"], found["signed"]) == (False, 0)
    assert [fault for fault in found["faults"] if "only 0 of 7 entries are signed" in fault]


def test_a_catalog_that_is_older_than_the_ledger_is_taken_over_when_it_is_opened(place: Place) -> None:
    with place.catalog.engine.begin() as connection:
        for statement in (
            "DROP TABLE ledger",
            "DROP TABLE ledger_peaks",
            "DROP TABLE segment",
            "DROP TABLE outbox",
            "DROP INDEX one_challenger",
            "ALTER TABLE done DROP COLUMN run",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            connection.exec_driver_sql(statement)
    checkpoints(place).unlink()
    place.catalog.engine.dispose()
    again = opened(place.settings.home)
    assert faults(again) == []
    judged(again, DAYS + 1)
    assert [entry["verb"] for entry in told(again)] == ["adopt", "key", "validate"]
    assert faults(again) == []


def test_a_torn_checkpoint_is_passed_over_and_the_next_has_a_line_of_its_own(place: Place) -> None:
    with checkpoints(place).open("ab") as file:
        file.write(b'{"note":"counterfoil.led')
    judged(place, DAYS + 1)
    assert faults(place) == [] and witness.unsigned(place) == []


def test_a_head_that_is_late_is_not_signed_by_the_key_that_came_after(place: Place) -> None:
    notary = place.catalog.notary
    assert notary is not None
    with place.catalog.reader.connect() as connection:
        late = ledger.head(connection)
    place.catalog.change_key()
    place.catalog.change_key()
    notary.publish(late)
    assert faults(place) == []


def test_a_change_of_keys_that_was_cut_off_is_no_fault_before_the_next_write(place: Place) -> None:
    notary = place.catalog.notary
    assert notary is not None
    blocked = place.settings.home / "file"
    blocked.write_text("")
    place.catalog.notary = Notary(key=notary.key, places=(str(blocked),))
    with pytest.raises(UnavailableError):
        place.catalog.change_key()
    assert faults(opened(place.settings.home)) == []
    judged(place, DAYS + 1)  # the place is still down: the entry is kept, its head is left to the next one
    again = opened(place.settings.home)
    assert len(told(again)) == DAYS + 3
    judged(again, DAYS + 2)
    assert faults(again) == []


def test_verifying_makes_no_key(place: Place) -> None:
    place.settings.notary_key.unlink()
    assert [fault for fault in faults(place) if "names another key than" in fault]
    assert not place.settings.notary_key.exists()
