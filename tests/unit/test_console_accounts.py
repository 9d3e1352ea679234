"""Accounts, sessions and the counting of tries: what is kept, what counts when, and what ends."""

import json
import stat
from pathlib import Path

import pytest

from counterfoil.console import accounts as module
from counterfoil.console.accounts import Accounts
from counterfoil.console.attempts import Attempts
from counterfoil.console.roles import RIGHTS, ROLES, Right, may, who_may
from counterfoil.console.sessions import HOURS, Sessions
from counterfoil.errors import ConflictError, InputError, IntegrityError, UnknownError
from flows.steer import whoever

PASSWORD = "correct horse battery staple"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt at a cost that tests can bear; what a password costs is another test."""
    monkeypatch.setattr(module, "COST", {**module.COST, "n": 2**4})


def test_roles_grow_and_the_auditor_only_reads() -> None:
    assert RIGHTS["viewer"] < RIGHTS["engineer"] < RIGHTS["approver"]
    assert {right for right in Right if may("auditor", right)} == {
        Right.READ,
        Right.LEDGER,
        Right.PEOPLE,
        Right.VERIFY,
        Right.EXPORT,
    }
    assert [role for role in ROLES if may(role, Right.FORGET)] == ["approver"]
    assert who_may(Right.QUARANTINE) == "engineer or approver"
    assert set(RIGHTS["approver"]) == set(Right)


def test_a_password_costs_memory_and_is_known_again(tmp_path: Path) -> None:
    assert module.COST["n"] * module.COST["r"] * 128 == 32 * 2**20
    held = Accounts(tmp_path)
    held.add_person("ada", "approver", PASSWORD)
    found = held.person("ada", PASSWORD)
    assert found is not None and found.role == "approver"
    assert held.person("ada", PASSWORD + " ") is None


def test_the_file_holds_no_secret_and_is_nobody_elses(tmp_path: Path, cheap: None) -> None:
    held = Accounts(tmp_path / "console")
    held.add_person("ada", "viewer", PASSWORD)
    held.add_person("bob", "viewer", PASSWORD)
    key = held.add_key("robot", "engineer")
    text = held.path.read_text()
    assert PASSWORD not in text and key not in text and key.removeprefix("cfk_") not in text
    rows = {row["name"]: row for row in json.loads(text)}
    assert rows["ada"]["hash"] != rows["bob"]["hash"]  # the same password under another salt
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(held.path.parent.stat().st_mode) == 0o700
    assert held.machine(key) is not None and held.machine(key[:-1]) is None and held.machine("") is None
    assert held.person("robot", key) is None  # a key is no password


def test_what_will_not_do_is_refused_and_nothing_written(tmp_path: Path, cheap: None) -> None:
    held = Accounts(tmp_path)
    for name, role, password, said in (
        ("ada", "king", PASSWORD, "viewer, engineer, approver, auditor"),
        ("a da", "viewer", PASSWORD, "is no name"),
        ("../x", "viewer", PASSWORD, "is no name"),
        ("<script>", "viewer", PASSWORD, "is no name"),
        ("ada", "viewer", "short", "5 characters"),
        ("ada", "viewer", "x" * 257, "257 characters"),
    ):
        with pytest.raises(InputError, match=said):
            held.add_person(name, role, password)
    assert not held.path.exists()
    held.add_person("ada", "viewer", PASSWORD)
    before = held.path.read_bytes()
    with pytest.raises(ConflictError, match="there already, as viewer"):
        held.add_key("ada", "approver")
    with pytest.raises(UnknownError, match="there are: ada"):
        held.remove("bob")
    assert held.path.read_bytes() == before


def test_another_process_changes_are_seen(tmp_path: Path, cheap: None) -> None:
    here, there = Accounts(tmp_path), Accounts(tmp_path)
    assert here.all() == {}
    there.add_person("ada", "viewer", PASSWORD)
    assert list(here.all()) == ["ada"]
    there.change_role("ada", "approver")
    assert here.all()["ada"].role == "approver"
    there.remove("ada")
    assert here.all() == {}


@pytest.mark.parametrize("text", ["{", "[1]", '[{"name": "x"}]', "{}x", '"x"'])
def test_a_torn_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / module.FILE).write_text(text)
    with pytest.raises(IntegrityError, match="not a file of accounts"):
        Accounts(tmp_path).all()


def test_a_role_that_somebody_wrote_by_hand_lets_nobody_in(tmp_path: Path, cheap: None) -> None:
    held = Accounts(tmp_path)
    held.add_person("ada", "viewer", PASSWORD)
    held.path.write_text(held.path.read_text().replace('"viewer"', '"god"'))
    with pytest.raises(IntegrityError, match="role god"):
        held.all()


def test_a_session_ends_by_time_by_logout_and_by_any_change_of_its_account(
    tmp_path: Path, cheap: None
) -> None:
    now = [1000.0]
    held = Accounts(tmp_path)
    sessions = Sessions(held, lambda: now[0])
    ada = held.add_person("ada", "viewer", PASSWORD)
    cookie = sessions.begin(ada)
    assert sessions.of(cookie) is not None
    now[0] += HOURS * 3600
    assert sessions.of(cookie) is None
    cookie = sessions.begin(ada)
    session = sessions.of(cookie)
    assert session is not None
    sessions.end(session)
    assert sessions.of(cookie) is None
    cookie = sessions.begin(ada)
    held.change_role("ada", "auditor")
    assert sessions.of(cookie) is None
    cookie = sessions.begin(held.all()["ada"])
    held.remove("ada")
    held.add_person("ada", "auditor", PASSWORD)  # the same name, made anew, is somebody else
    assert sessions.of(cookie) is None


def test_a_cookie_that_is_not_ours_is_nobodys(tmp_path: Path, cheap: None) -> None:
    held = Accounts(tmp_path)
    ada = held.add_person("ada", "approver", PASSWORD)
    ours, theirs = Sessions(held), Sessions(held)
    cookie = theirs.begin(ada)
    session = theirs.of(cookie)
    assert session is not None
    for forged in ("", "x", cookie, session.id, f'"{session.id}".x', cookie[:-2] + "xx"):
        assert ours.of(forged) is None
    assert theirs.is_token(theirs.token(session.id), session.id)
    assert not theirs.is_token(ours.token(session.id), session.id)
    assert not theirs.is_token("é", session.id)


def test_the_first_login_counts_once_and_never_beside_an_account(tmp_path: Path, cheap: None) -> None:
    held = Accounts(tmp_path)
    sessions = Sessions(held)
    told: list[str] = []
    sessions.hand_out = told.append
    first = sessions.first
    assert first is not None and sessions.begin_first("guess") is None
    cookie = sessions.begin_first(first)
    assert cookie is not None
    session = sessions.of(cookie)
    assert session is not None and session.role == "approver"
    assert sessions.begin_first(first) is None
    assert told == [sessions.first] and told[0] != first
    held.add_person("ada", "viewer", PASSWORD)
    assert sessions.of(cookie) is None
    assert sessions.first is None and sessions.begin_first(told[0]) is None
    held.remove("ada")
    assert sessions.of(cookie) is None and sessions.begin_first(told[0]) is None  # nor once it is gone again


@pytest.mark.parametrize("name", ["gate", "Gate", "owner"])
def test_nobody_is_called_what_stands_on_record_for_no_person(tmp_path: Path, cheap: None, name: str) -> None:
    held = Accounts(tmp_path)
    with pytest.raises(InputError, match="somebody else"):
        held.add_person(name, "approver", PASSWORD)
    with pytest.raises(InputError, match="somebody else"):
        held.add_key(name, "approver")
    with pytest.raises(InputError, match="begins or ends with a space"):
        held.add_person("ada", "approver", f" {PASSWORD}")
    with pytest.raises(InputError, match="no person decided"):
        whoever("gate")


def test_tries_are_counted_in_a_window_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    tries = Attempts(2, 60, lambda: now[0])
    tries.failed("ada")
    assert tries.wait("ada") == 0
    now[0] = 10
    tries.failed("ada")
    assert tries.wait("ada") == 50 and tries.wait("bob") == 0
    now[0] = 61
    assert tries.wait("ada") == 0
    tries.failed("ada")
    assert tries.wait("ada") > 0
    tries.forget("ada")
    assert tries.wait("ada") == 0
    monkeypatch.setattr("counterfoil.console.attempts.NAMES", 3)
    for name in "abcde":
        tries.failed(name)
    assert len(tries._failed) == 3
