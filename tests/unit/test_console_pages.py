"""What the pages say: of a loop that was turned, of an empty home, of hostile names; and the same as JSON."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.console import words
from counterfoil.console.app import create
from counterfoil.console.desk import desk_of
from counterfoil.types import (
    Bento,
    Candidate,
    Dataset,
    Decision,
    Evaluation,
    OnlineRows,
    Quarantine,
    Release,
    Verdict,
)
from tests.console_shop import Console, answer, console_of, token
from tests.loop_shop import place_of

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PAGES = ("/now", "/contenders", "/answers", "/lineage", "/data", "/time", "/ledger", "/people", "/reports/")


@pytest.fixture(scope="module")
def console(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    made = console_of(turned, tmp_path_factory.mktemp("pages"))
    yield made
    made.place.catalog.engine.dispose()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    desk = desk_of(place_of(tmp_path_factory.mktemp("empty") / "home"))
    yield Console(desk, create(desk), {"approver": desk.accounts.add_key("approver", "approver")})
    desk.place.catalog.engine.dispose()


class Page(HTMLParser):
    """The elements of a page, its ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        held = dict(attrs)
        self.attributes |= set(held)
        if held.get("id"):
            self.ids.append(str(held["id"]))
        if tag == "a" and held.get("href"):
            self.links.append(str(held["href"]))


def read(console: Console, path: str, status: int = 200) -> httpx.Response:
    page = console.machine("approver").get(path, headers={"accept": "text/html"})
    assert page.status_code == status, page.text[:2000]
    return page


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_landmarks_one_heading_and_nothing_inline(console: Console, path: str) -> None:
    page = Page(read(console, path).text)
    assert page.tags.count("h1") == 1 and page.tags.count("main") == 1
    assert {"header", "nav", "footer"} <= set(page.tags)
    assert len(page.ids) == len(set(page.ids)), page.ids
    assert page.links[0] == "#main"
    assert "style" not in page.attributes | set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not [link for link in page.links if "://" in link]


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_home_is_told_in_a_sentence_with_what_to_do(empty: Console, path: str) -> None:
    text = read(empty, path).text
    said = {"/now": "counterfoil demo", "/contenders": "counterfoil run", "/answers": "counterfoil up",
            "/lineage": "counterfoil run", "/data": "counterfoil data import", "/time": "counterfoil run",
            "/ledger": "The ledger is empty", "/people": "Nobody was forgotten", "/reports/": "counterfoil run"}  # fmt: skip
    assert said[path] in text


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_data_too(console: Console, path: str) -> None:
    machine = console.machine("auditor")
    asked = machine.get(path, headers={"accept": "application/json"})
    assert asked.headers["content-type"] == "application/json" and isinstance(asked.json(), dict)
    if path != "/reports/":
        ended = machine.get(path + ".json", headers={"accept": "text/html"})
        assert ended.headers["content-type"] == "application/json"
        assert ended.json().keys() == asked.json().keys()


def test_now_says_what_serves_since_when_and_on_whose_decision(console: Console) -> None:
    [release], [decision] = console.place.catalog.find(Release), console.place.catalog.find(Decision)
    [case] = console.machine("viewer").get("/now.json").json()["use_cases"]
    [one] = case["serving"]
    assert (one["release"], one["share"], one["decision"]) == (release.id, 1.0, decision.id)
    assert datetime.fromisoformat(one["since"]) == release.valid_from
    assert case["last_decision"]["sentences"] == list(decision.sentences)
    text = read(console, "/now").text
    assert "No service runs on this machine" in text and "100%" in text and one["family"] in text


def test_contenders_show_what_was_measured(console: Console) -> None:
    [decision] = console.place.catalog.find(Decision)
    told = console.machine("viewer").get("/contenders.json").json()["decision"]
    values = {one["name"]: one["value"] for one in told["contenders"]}
    assert values == {one.family: one.value for one in decision.comparisons}
    assert told["winner"] == decision.winner and told["report"] is None
    page = read(console, f"/contenders/{decision.id}").text
    assert page.count('class="plot"') == 2 and f"{max(values.values()):.4f}" in page
    release = console.place.catalog.find(Release)[0]
    read(console, f"/contenders/{release.id}", 400)
    read(console, "/contenders/decision-0000000000000000", 404)


def test_an_answer_is_told_down_to_the_rows(console: Console) -> None:
    [id] = answer(console.place)
    told = console.machine("auditor").get(f"/answers/{id}.json").json()
    assert [step["kind"] for step in told["chain"]] == [
        "receipt", "release", "decision", "bento", "candidate", "dataset", "rows"
    ]  # fmt: skip
    [dataset] = console.place.catalog.find(Dataset)
    assert f"{dataset.rows:,} interactions" in told["chain"][5]["says"]
    assert told["items"] == [
        {"item": "i001", "title": "item 1", "category": "shelf 1", "score": 1.5, "sources": ["repurchase"],
         "reasons": ["you bought this 3 times"]}
    ]  # fmt: skip
    assert told["asked"] == ["A known person asked for 1 items."]
    assert told["known"] == "The model saw 3 earlier interactions of the person."
    page = read(console, f"/answers/{id}").text
    assert "you bought this 3 times" in page and "item 1" in page and "approved by gate" in page
    found = console.machine("viewer").get("/answers", params={"id": f" {id} "})
    assert found.status_code == 303 and found.headers["location"] == f"/answers/{id}"
    assert id in read(console, "/answers").text
    read(console, f"/answers/{id[:-1]}99", 404)
    for other in ("x", "receipt-1", "receipt-20240101T000000-00000000-1", "..%2f..%2fcatalog.sqlite"):
        read(console, f"/answers/{other}", 404)


def test_what_the_person_did_next_is_looked_up(console: Console) -> None:
    [id] = answer(console.place)
    told = console.machine("auditor").get(f"/answers/{id}/next.json").json()
    assert told == {"id": id, "days": 7, "acts": []}
    assert "within 7 days has landed" in read(console, f"/answers/{id}/next").text


def test_a_viewer_reads_an_answer_and_not_whom_it_was_for(console: Console) -> None:
    [id] = answer(console.place)
    paths = ("/answers", f"/answers/{id}", f"/lineage/{id}", "/lineage")
    for path in (*paths, *(f"{path}.json" for path in paths)):
        for visitor in (console.machine("viewer"), console.person("viewer")):
            told = visitor.get(path)
            assert told.status_code == 200, path
            assert "p0123456789abcdef" not in told.text and "baskets" not in told.text, path
            assert "earlier interactions" not in told.text, path
    assert console.machine("viewer").get(f"/answers/{id}/next.json").status_code == 403
    assert "p0123456789abcdef" in console.machine("auditor").get("/answers.json").text
    assert "you bought this 3 times" in console.machine("viewer").get(f"/answers/{id}").text


def test_lineage_is_walked_both_ways_from_every_kind(console: Console) -> None:
    catalog, machine = console.place.catalog, console.machine("viewer")
    for cls in (Verdict, Dataset, Candidate, Evaluation, Decision, Bento, OnlineRows, Release):
        noun = catalog.find(cls)[0]
        told = machine.get(f"/lineage/{noun.id}.json").json()
        assert told["kind"] == cls.kind
        for side, edges in (("parents", catalog.parents(noun.id)), ("children", catalog.children(noun.id))):
            assert sum(kin["count"] for kin in told[side]) == len(edges), (cls, side)
            shown = {one["id"] for kin in told[side] for one in kin["shown"]}
            assert shown <= {id for _, id in edges}
            page = Page(read(console, f"/lineage/{noun.id}").text)
            assert {f"/lineage/{id}" for id in shown} <= set(page.links)
    [id] = answer(console.place)
    [parent] = machine.get(f"/lineage/{id}.json").json()["parents"]
    assert parent["shown"][0]["id"] == catalog.find(Release)[0].id


def test_neighbours_that_are_too_many_are_counted_and_listed(console: Console) -> None:
    [dataset] = console.place.catalog.find(Dataset)
    [kin] = console.machine("viewer").get(f"/lineage/{dataset.id}.json").json()["parents"]
    assert kin["count"] == len(dataset.verdicts) > len(kin["shown"]) == 4
    page = read(console, f"/lineage/{dataset.id}")
    assert f"and {kin['count'] - 4} more" in page.text
    seen: list[str] = []
    for first in range(0, kin["count"], 50):
        asked = {"side": "parents", "kind": "verdict", "first": first}
        rows = console.machine("viewer").get(f"/lineage/{dataset.id}.json", params=asked).json()["rows"]
        seen += [row["id"] for row in rows]
    assert sorted(seen) == sorted(dataset.verdicts)
    read(console, f"/lineage/{dataset.id}?side=up&kind=verdict", 400)
    read(console, "/lineage/dataset-0000000000000000", 404)


def test_data_shows_each_day_with_its_verdict(console: Console) -> None:
    told = console.machine("viewer").get("/data.json").json()
    assert len(told["days"]) == 24 and {day["state"] for day in told["days"]} <= {"good", "warn"}
    assert sum(day["rows"] for day in told["days"]) == told["events"]
    assert "2024-01-05" in read(console, "/data?month=2024-01").text
    day = console.machine("viewer").get("/data/2024-01-05.json").json()
    assert day["rows"] == told["days"][4]["rows"] and len(day["checks"]) > 90
    read(console, "/data/2031-01-01", 404)
    read(console, "/data/..%2fmanifest", 404)


def test_a_day_that_changed_since_its_verdict_says_so(console: Console) -> None:
    manifest = console.place.settings.landing / "manifest.json"
    before = manifest.read_text()
    [digest] = re.findall(r'"2024-01-07":\s*\{[^}]*"sha256":\s*"([0-9a-f]{64})"', before)
    try:
        manifest.write_text(before.replace(digest, "0" * 64))
        days = {
            day["day"]: day["state"] for day in console.machine("viewer").get("/data.json").json()["days"]
        }
    finally:
        manifest.write_text(before)
    assert days["2024-01-07"] == "changed" and days["2024-01-06"] != "changed"


def test_time_goes_back_to_before_anything_served(console: Console) -> None:
    machine = console.machine("viewer")
    [release] = console.place.catalog.find(Release)
    [one] = machine.get("/time.json").json()["serving"]
    assert (one["release"], one["approved_by"]) == (release.id, "gate")
    assert machine.get("/time.json", params={"at": "2020-01-01"}).json()["serving"] == []
    assert machine.get("/time.json", params={"step": 0}).json()["serving"] == []
    assert machine.get("/time.json", params={"step": 1000}).json()["serving"] == [one]
    early = {"at": release.valid_from.isoformat(), "known_at": "2020-01-01T00:00:00Z"}
    assert machine.get("/time.json", params=early).json()["serving"] == []
    assert "as far as was known" in machine.get("/time", params=early).text
    for wrong in ("yesterday", "2024-13-01", "9999-99-99"):
        assert machine.get("/time", params={"at": wrong}).status_code == 400
    read(console, "/time?step=soon", 404)


def test_the_ledger_is_paged_proven_and_verified(console: Console) -> None:
    machine = console.machine("auditor")
    told = machine.get("/ledger.json").json()
    numbers = [one["entry"] for one in told["entries"]]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] == told["size"] - 1
    older = machine.get("/ledger.json", params={"before": 3}).json()
    assert [one["entry"] for one in older["entries"]] == [2, 1, 0]
    proof = machine.get("/ledger/1/proof.json").json()["proof"]
    assert proof["root"] in proof["checkpoint"] and proof["entry"] == 1
    assert '"entry":1' in read(console, "/ledger/1").text.replace("&#34;", '"')
    read(console, "/ledger/999999", 404)
    read(console, "/ledger/x", 404)
    assert "Nothing was verified since" in read(console, "/ledger/verify").text
    person = console.person("auditor")
    begun = person.post("/ledger/verify", data={"csrf": token(person.get("/ledger"))})
    assert begun.status_code == 303
    for _ in range(600):
        state = machine.get("/ledger/verify.json").json()["proving"]
        if not state["running"]:
            break
    assert state["by"] == "auditor" and state["found"]["checked"]["entries"] == told["size"]
    assert state["found"]["faults"] == [] and state["broke"] is None
    assert "Verified: nothing was altered" in read(console, "/ledger/verify").text


def test_names_from_outside_are_text_and_nothing_else(console: Console) -> None:
    """Titles of items, reasons and sources of an answer, reasons of people: each could be markup."""
    place = console.place
    items = place.settings.landing / "items.parquet"
    before = items.read_bytes()
    table = pq.read_table(items)
    titles = pa.array([EVIL] * table.num_rows, table.schema.field("title").type)
    try:
        pq.write_table(table.set_column(table.schema.get_field_index("title"), "title", titles), items)
        [known], [unknown] = answer(place, reason=EVIL), answer(place, title=EVIL, reason=EVIL)
        held = Quarantine(subject=EVIL, nouns=(), reason=EVIL, by=EVIL, at=datetime(2024, 1, 1, tzinfo=UTC))
        place.catalog.record("quarantine", "0" * 64, [held], [], [], 0.0)
        paths = ("/answers", f"/answers/{known}", f"/answers/{unknown}", f"/answers/{unknown}/next", "/now",
                 f"/lineage/{held.id}", "/ledger", "/lineage", f"/lineage/{known}")  # fmt: skip
        for path in paths:
            text = read(console, path).text
            assert "<script>alert" not in text and "<img" not in text, path
            page = Page(text)
            assert not [name for name in page.attributes if name.startswith("on")], path
        shown = read(console, f"/answers/{unknown}").text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    finally:
        items.write_bytes(before)
    for path in (f"/answers/{EVIL}", f"/lineage/{EVIL}", f"/data/{EVIL}", f"/data?month={EVIL}", f"/answers?id={EVIL}",
                 f"/login?next={EVIL}&token={EVIL}", f"/time?at={EVIL}", f"/ledger?before={EVIL}",
                 f"/reports/{EVIL}"):  # fmt: skip
        text = console.machine("approver").get(path, headers={"accept": "text/html"}).text
        assert "<script>alert" not in text and "<img" not in text, path


def test_reports_are_handed_out_and_nothing_beside_them(console: Console) -> None:
    reports = console.place.settings.home / "reports"
    (reports / "days").mkdir(parents=True, exist_ok=True)
    (reports / "days" / "report.html").write_text("<style>p{color:red}</style><p>a report</p>")
    (reports / "days" / "leak.html").symlink_to(console.place.settings.home / "keys" / "ledger.pem")
    (reports / "days" / "notes.txt").write_text("no page")
    assert "/reports/days/report.html" in read(console, "/reports/").text
    page = read(console, "/reports/days/report.html")
    assert "a report" in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src" not in policy and "default-src 'none'" in policy
    for path in ("days/leak.html", "days/notes.txt", "../catalog.sqlite", "%2e%2e/catalog.sqlite", "..%2fkeys%2fledger.pem",
                 "days/../../keys/ledger.pem", "/etc/passwd", "%2fetc%2fpasswd", "days", "days/%00.html"):  # fmt: skip
        text = read(console, f"/reports/{path}", 404).text
        assert "PRIVATE" not in text and "root:" not in text, path


def test_what_breaks_is_said_without_what_is_inside(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterfoil.console.read import now

    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret/path")

    monkeypatch.setattr(now, "served", broken)
    told = console.machine("viewer").get("/now", headers={"accept": "application/json"})
    assert (
        told.status_code == 500
        and told.json()["error"] == "the console broke (ZeroDivisionError); its log says more"
    )
    assert "default-src 'none'" in told.headers["content-security-policy"]


def test_words() -> None:
    assert words.short("candidate-ff69469bdfe43d06") == "candidate-ff69469b"
    assert words.short("receipt-20260412T093401-7f3a9c1e-12") == "2026-04-12 09:34:01 no. 12"
    assert words.short("x" * 40) == "xxxxxxxxxxxxxxxx…xxxxxx"
    assert (words.percent(1.0), words.percent(0.125), words.percent(0.1)) == ("100%", "12.5%", "10%")
    assert (words.number(1234567), words.number(0.5), words.number(None)) == ("1,234,567", "0.5000", "–")
    assert (words.size(1_300_000), words.size(12), words.size(None)) == ("1.3 MB", "12 bytes", "–")
    now = datetime(2024, 1, 2, tzinfo=UTC)
    assert words.ago(datetime(2024, 1, 1, tzinfo=UTC), now) == "1 day ago"
    assert words.ago(datetime(2024, 1, 2, 3, tzinfo=UTC), now) == "in 3 hours"
    assert words.when("2024-01-01T00:00:00+02:00") == "2023-12-31 22:00:00 UTC"
    assert words.counted(1, "entry", "entries") == "1 entry" and words.counted(2, "day") == "2 days"


@pytest.mark.parametrize("number", [10**19, 10**30, -(10**30)])
def test_a_number_beyond_all_bounds_is_refused_in_a_sentence(console: Console, number: int) -> None:
    [dataset] = console.place.catalog.find(Dataset)
    page = f"/lineage/{dataset.id}?side=children&kind=candidate&first={number}"
    for path in (f"/ledger/{number}", f"/ledger/{number}/proof", f"/ledger?before={number}", page):
        assert "cannot be" in read(console, path, 404).text, path
    read(console, f"/time?step={number}", 200)
