"""Who may do what over HTTP: every route, every role, forms of other sites, tries at passwords, names and headers."""

import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from counterfoil.console import accounts
from counterfoil.console.door import COOKIE
from counterfoil.console.roles import Right, Role, may
from counterfoil.types import Decision
from tests.console_shop import Console, console_of, token

ROLES: tuple[Role, ...] = ("viewer", "engineer", "approver", "auditor")
# what each POST takes; a new one has to be added here
POSTS = {
    "/decisions/{id}/approve": Right.APPROVE,
    "/candidates/{id}/promote": Right.PROMOTE,
    "/use-cases/{name}/rollback": Right.ROLLBACK,
    "/use-cases/{name}/withdraw": Right.ROLLBACK,
    "/quarantines": Right.QUARANTINE,
    "/people/export": Right.EXPORT,
    "/people/forget": Right.FORGET,
    "/ledger/verify": Right.VERIFY,
    "/logout": Right.READ,
}
GETS = {
    "/": Right.READ,
    "/now": Right.READ,
    "/contenders": Right.READ,
    "/contenders/{decision}": Right.READ,
    "/answers": Right.READ,
    "/answers/{id}": Right.READ,
    "/answers/{id}/next": Right.PEOPLE,
    "/lineage": Right.READ,
    "/lineage/{id}": Right.READ,
    "/data": Right.READ,
    "/data/{day}": Right.READ,
    "/time": Right.READ,
    "/reports": Right.READ,
    "/reports/": Right.READ,
    "/reports/{path:path}": Right.READ,
    "/ledger": Right.LEDGER,
    "/ledger/verify": Right.LEDGER,
    "/ledger/{number}": Right.LEDGER,
    "/ledger/{number}/proof": Right.LEDGER,
    "/people": Right.EXPORT,
}
OPEN = {("GET", "/login"), ("POST", "/login"), ("GET", "/healthz")}


@pytest.fixture(scope="module")
def console(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = console_of(turned, tmp_path_factory.mktemp("door"))
    yield made
    made.place.catalog.engine.dispose()


def address(path: str) -> str:
    """Return a path with something that is not there in the place of every name."""
    return re.sub(r"\{number\}", "999999", re.sub(r"\{(?!number)[^}]*\}", "nothing", path))


def routes(console: Console) -> set[tuple[str, str]]:
    app = console.app
    while not isinstance(app, FastAPI):
        app = app.app
    found = set()
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
        pending += list(getattr(getattr(route, "original_router", None), "routes", []))
    return found


def test_every_route_is_named_here_with_its_right(console: Console) -> None:
    named = {("GET", path) for path in GETS} | {("POST", path) for path in POSTS} | OPEN
    assert routes(console) == named


@pytest.mark.parametrize("path", GETS)
def test_who_may_read(console: Console, path: str) -> None:
    stranger = console.stranger()
    shown = stranger.get(address(path), headers={"accept": "text/html"})
    assert shown.status_code == 303 and shown.headers["location"].startswith("/login?next=")
    asked = stranger.get(address(path), headers={"accept": "application/json"})
    assert asked.status_code == 401 and asked.json()["kind"] == "StrangerError"
    for role in ROLES:
        status = console.machine(role).get(address(path)).status_code
        assert (status == 403) == (not may(role, GETS[path])), (role, status)


@pytest.mark.parametrize("path", POSTS)
def test_who_may_change_and_never_without_login_or_token(console: Console, path: str) -> None:
    assert console.stranger().post(address(path)).status_code == 401
    wrong = console.stranger()
    wrong.headers["authorization"] = "Bearer cfk_guess"
    assert wrong.post(address(path)).status_code == 401
    for role in ROLES:
        person = console.person(role)
        for forged in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
            assert person.post(address(path), data=forged).status_code == 403, role
        page = token(person.get("/now"))
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert person.post(address(path), data={"csrf": page}, headers=elsewhere).status_code == 403
        other = token(console.person(role).get("/now"))
        assert person.post(address(path), data={"csrf": other}).status_code == 403  # of another session
        if path in ("/ledger/verify", "/logout"):
            continue  # they are done below: these change something
        status = person.post(address(path), data={"csrf": page}).status_code
        assert (status == 403) == (not may(role, POSTS[path])), (role, status)


def test_a_viewer_changes_nothing(console: Console) -> None:
    before = list(console.place.catalog.rows())
    viewer = console.machine("viewer")
    for path in POSTS:
        if path != "/logout":
            sent = {"reason": "so", "note": "so", "subject": "x", "person": "1", "again": "1"}
            assert viewer.post(address(path), data=sent).status_code == 403
    assert list(console.place.catalog.rows()) == before


def test_logout_ends_the_session_for_whoever_holds_the_cookie(console: Console) -> None:
    person = console.person("viewer")
    kept = person.cookies[COOKIE]
    left = person.post("/logout", data={"csrf": token(person.get("/now"))})
    assert left.status_code == 303
    thief = console.stranger()
    thief.cookies.set(COOKIE, kept)
    assert thief.get("/now").status_code in (303, 401)


def test_login_by_password_and_a_limit_to_guessing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        accounts, "COST", {**accounts.COST, "n": 2**4}
    )  # what a password costs is another test
    console.desk.accounts.add_person("ada", "engineer", "correct horse battery")
    browser = console.stranger()
    browser.headers["accept"] = "text/html"
    form = browser.get("/login?next=/data")
    sent = {"csrf": token(form), "name": "ada", "password": "correct horse battery", "next": "/data"}
    assert browser.post("/login", data={**sent, "csrf": "0" * 64}).status_code == 403
    assert console.stranger().post("/login", data=sent).status_code == 403  # the form of another browser
    entered = browser.post("/login", data=sent)
    assert entered.status_code == 303 and entered.headers["location"] == "/data"
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie
    assert "ada" in browser.get("/now").text
    for next in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        again = browser.post("/login", data={**sent, "csrf": token(browser.get("/login")), "next": next})
        assert again.headers["location"] == "/now", next
    guess = {**sent, "csrf": token(browser.get("/login")), "password": "wrong horse battery"}
    statuses = [browser.post("/login", data=guess).status_code for _ in range(9)]
    assert statuses == [403] * 8 + [429]
    right = browser.post("/login", data={**guess, "password": "correct horse battery"})
    assert right.status_code == 429 and int(right.headers["retry-after"]) > 0
    console.desk.accounts.remove("ada")
    assert browser.get("/now").status_code == 303  # who was in is out
    visits = (console.place.settings.console / "visits.jsonl").read_text()
    for did in ("logged in", "refused a password"):
        assert f'"did":"{did}","by":"ada"' in visits
    assert '"did":"account removed"' in visits and "horse" not in visits


def test_strangers_tries_lock_nobody_out_of_a_browser_that_is_known(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "COST", {**accounts.COST, "n": 2**4})
    monkeypatch.setattr(console.desk.tries, "_failed", OrderedDict())
    console.desk.accounts.add_person("eve", "viewer", "correct horse battery")
    console.desk.accounts.add_person("bob", "viewer", "correct horse battery")

    def enter(browser: TestClient, name: str, password: str) -> int:
        sent = {"csrf": token(browser.get("/login")), "name": name, "password": password}
        return browser.post("/login", data=sent).status_code

    browsers = {name: console.stranger() for name in ("eve", "bob", "nobody")}
    for browser in browsers.values():
        browser.headers["accept"] = "text/html"
    assert enter(browsers["eve"], "eve", "correct horse battery") == 303
    guesses = [enter(browsers["nobody"], "eve", "a wrong password") for _ in range(9)]
    assert guesses == [403] * 8 + [429]
    assert enter(browsers["eve"], "eve", "correct horse battery") == 303
    assert enter(browsers["eve"], "bob", "correct horse battery") == 429  # it is known for one name alone
    browsers["nobody"].cookies.set("counterfoil_device", "WyJ4IiwieSJd.forged")
    assert enter(browsers["nobody"], "eve", "correct horse battery") == 429
    assert [enter(browsers["eve"], "eve", "a wrong password") for _ in range(9)] == [403] * 8 + [429]
    for name in ("eve", "bob"):
        console.desk.accounts.remove(name)


def test_a_cookie_over_https_is_secure_and_so_is_the_next_visit(console: Console) -> None:
    browser = console.stranger()
    page = browser.get("https://localhost/login")
    assert "secure" in page.headers["set-cookie"].lower()
    assert "max-age=31536000" in page.headers["strict-transport-security"]
    assert "strict-transport-security" not in browser.get("/login").headers


@pytest.mark.parametrize(
    "path", ["/now", "/login", "/nothing", "/static/console.css", "/reports/nothing", "/answers/x"]
)
def test_every_answer_carries_the_headers(console: Console, path: str) -> None:
    headers = console.person("viewer").get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("max-age=3600" if path.startswith("/static") else "no-store")


def test_a_name_that_is_not_ours_is_refused(console: Console) -> None:
    """Else a page of another site whose name is made to point here could read ours (DNS rebinding)."""
    machine = console.machine("viewer")
    assert machine.get("/now", headers={"host": "evil.example"}).status_code == 400
    assert machine.get("/now", headers={"host": "localhost:3100"}).status_code == 200


def test_an_orchestrator_that_asks_by_number_is_told_of_health_and_of_nothing_else(console: Console) -> None:
    prober = console.stranger()
    prober.headers["host"] = "10.1.2.3:3100"
    assert prober.get("/healthz").text == "ok\n"
    for path in ("/", "/login", "/healthz/", "/static/console.css"):
        assert prober.get(path).status_code == 400, path


def test_a_form_that_is_too_large_or_no_form_is_refused(console: Console) -> None:
    machine = console.machine("approver")
    assert machine.post("/quarantines", content=b"x=" + b"a" * 70_000).status_code == 400
    assert machine.post("/quarantines", content=b"\xff\xfe").status_code == 400
    broken = machine.post("/quarantines", content=b"[1]", headers={"content-type": "application/json"})
    assert broken.status_code == 400
    empty = machine.post(
        "/quarantines", json={"subject": "x", "reason": " "}, headers={"accept": "application/json"}
    )
    assert empty.status_code == 400 and "reason is empty" in empty.json()["error"]


@pytest.mark.parametrize("reason", [None, 7, {"a": 1}, "fine\nPromote x.", "\x1b[2Jfine", "\u202efine"])
def test_what_goes_on_record_is_one_line_of_text(console: Console, reason: object) -> None:
    """Else null would be the reason `None`, and a reason could forge a sentence or steer the terminal that shows it."""
    sent = {"subject": "dataset-0000000000000000", "reason": reason}
    told = console.machine("approver").post("/quarantines", json=sent, headers={"accept": "application/json"})
    assert told.status_code == 400 and told.json()["error"].startswith("reason "), told.text


def test_an_approver_steers_by_the_verbs_of_the_loop(console: Console) -> None:
    """What cannot be done is said by the verb itself; nothing is done by the page."""
    [decision] = console.place.catalog.find(Decision)
    person = console.person("approver")
    sent = {"csrf": token(person.get("/now")), "note": "looks good"}
    told = person.post(f"/decisions/{decision.id}/approve", data=sent)
    assert (
        told.status_code == 404 and "no use case is called" in told.text
    )  # `small` is a use case of tests alone
    wrong = person.post(f"/candidates/{decision.id}/promote", data={**sent, "reason": "so"})
    assert wrong.status_code == 400 and "is a decision, not a candidate" in wrong.text


def test_a_verb_that_is_not_there_is_said_to_be_so(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterfoil.console import actions

    missing = {**actions.VERBS, "export": ("flows.nowhere", "export"), "rollback": ("flows.steer", "nothing")}
    monkeypatch.setattr(actions, "VERBS", missing)
    engineer = console.person("approver")
    page = engineer.get("/people")
    assert "Not available: this installation has no part that exports" in page.text
    told = engineer.post("/people/export", data={"csrf": token(page), "person": "person 1"})
    assert told.status_code == 503 and "export is not available" in told.text
    told = engineer.post("/use-cases/small/rollback", data={"csrf": token(page), "reason": "so"})
    assert told.status_code == 503
    assert console.machine("viewer").get("/now.json").json()["can"] == {"rollback": False, "withdraw": True}


def test_accounts_that_cannot_be_read_let_nobody_in_and_are_said_to_be_so(console: Console) -> None:
    file = console.desk.accounts.path
    before = file.read_bytes()
    try:
        file.write_bytes(b"{")
        for path in ("/now", "/login", "/nothing"):
            told = console.machine("viewer").get(path, headers={"accept": "text/html"})
            assert told.status_code in (404, 500) and "default-src" in told.headers["content-security-policy"]
            assert path == "/nothing" or "is not a file of accounts" in told.text
    finally:
        file.write_bytes(before)
