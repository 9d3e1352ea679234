"""Answers made anew from their archived bentos: the same, and each way in which they can fail to be, named."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bentos import manifest, startup
from bentos.bundle import open_bundle
from bentos.recommend import rulebook
from bentos.recommend.flow import Answers, Stages, recalled
from bentos.recommend.person import EXPIRED, GONE, YOUNGER, Person
from bentos.recommend.reasons import BESIDES
from bentos.recommend.why import TOLERANCE
from bentos.recommend.why import told as told_of
from bentos.replay import replayer
from counterfoil import canonical, cli, segment, terminal
from counterfoil.errors import UnavailableError
from counterfoil.receipts import Receipts
from counterfoil.types import Bento, Receipt, Release
from feature_repo import build
from feature_repo.recent import RecentView
from flows.archived import other_libraries
from flows.draw import Replayed, sample
from flows.place import Place
from flows.recall import Recall
from flows.replay import replayed, summary
from flows.sealing import seal
from flows.verbs import bento_folder
from flows.why import why
from tests.loop_shop import END, place_of
from tests.replay_shop import Gone, ask, case_of, released, service
from tests.small_configs import small

AT = "2024-01-26T10:00:00Z"
TOTALS = "the person's totals"


@dataclass
class Shop:
    """A home with two releases, and the receipts of what they answered."""

    place: Place
    first: Release
    second: Release
    ids: dict[str, list[str]]

    def stub(self, id: str) -> Receipt:
        return Receipts(self.place.settings.receipts).find(id)

    def replay(self, *stubs: Receipt | Replayed) -> list[Replayed]:
        return list(replayed(self.place, stubs))


@pytest.fixture(scope="module")
def shop(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("replay") / "home"
    shutil.copytree(turned, home)
    place = place_of(home)
    first = place.catalog.champion("small")
    assert first is not None
    second = released(place, case_of("twostage", small("twostage")), END)
    ids = {"first": [], "second": [], "degraded": []}
    for name, release in (("first", first), ("second", second)):
        with service(place, release) as client:
            for person in range(6):
                body = {"person": f"person {person}", "n": 5 + person}
                ids[name].append(ask(client, AT, **body, filters={"exclude_bought": person % 2 == 0}))
            ids[name].append(
                ask(client, AT, person="person 6", filters={"categories": ["shelf 3"], "in_stock": True})
            )
            ids[name] += [ask(client, AT, person="somebody new"), ask(client, AT)]
            ids["degraded"] += [
                ask(client, moment, person="person 1")
                for moment in ("2024-06-01T00:00:00Z", "2024-01-20T00:00:00Z")
            ]
    with service(place, second, Gone) as client:
        ids["degraded"].append(ask(client, AT, person="person 1"))
    yield Shop(place, first, second, ids)
    place.catalog.engine.dispose()


@pytest.fixture(scope="module")
def told(shop: Shop) -> dict[str, Any]:
    """Why the items of one answer of the two-stage release stand where they stand."""
    with pytest.MonkeyPatch.context() as environment, terminal.stages() as stages:
        environment.setenv("COUNTERFOIL_HOME", str(shop.place.settings.home))
        return canonical.plain(why(shop.ids["second"][1], None, stages))


@pytest.fixture
def counterfoil(shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command line on the shop's home; return exit code, and what it printed."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(shop.place.settings.home))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["counterfoil", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, capsys.readouterr().out

    return run


def test_every_answer_comes_out_the_same(shop: Shop, counterfoil: Any) -> None:
    code, out = counterfoil("replay", "--sample", "100", "--json")
    found = json.loads(out)
    assert (code, found["receipts"], found["classes"]) == (0, 23, {"same": 23}), found["not_same"]
    assert {one["bento"] for one in found["bentos"]} == {shop.first.tag, shop.second.tag}
    stubs = [shop.stub(id) for id in shop.ids["degraded"]]
    assert [stub.degraded for stub in stubs] == [(EXPIRED,), (YOUNGER,), (EXPIRED,), (YOUNGER,), (GONE,)]
    assert stubs[0].feature_time == END and stubs[-1].feature_time is None


def altered(shop: Shop) -> dict[str, Receipt]:
    """Return one receipt of the two-stage release, altered in each way that its own checksum would not show."""
    stub = shop.stub(shop.ids["second"][1])
    items = list(stub.items)
    other = dataclasses.replace(items[-1], item="i039" if items[-1].item != "i039" else "i038")
    features = orjson.loads(canonical.encode(stub.features))
    features["person"]["baskets"] += 1.0
    history = orjson.loads(canonical.encode(stub.features))
    history["history"]["sha256"] = "0" * 16
    change = dataclasses.replace
    return {
        "scores": change(stub, items=(change(items[0], score=items[0].score + 1e-5), *items[1:])),
        "order": change(stub, items=(items[1], items[0], *items[2:])),
        "items": change(stub, items=(*items[:-1], other)),
        "words": change(stub, items=(change(items[0], reasons=("because",)), *items[1:])),
        "degraded differs": change(stub, degraded=("the model failed: answered with what is popular",)),
        "features differ": change(stub, features=features),
        "history differs": change(stub, features=history),
        "receipt altered": change(stub, epoch=stub.epoch + 1),
    }


def test_each_alteration_of_a_receipt_is_named(shop: Shop) -> None:
    planted = altered(shop)
    found = [shop.replay(stub)[0] for stub in (planted["receipt altered"],)]
    found += shop.replay(*(stub for kind, stub in planted.items() if kind != "receipt altered"))
    assert sorted(one.kind for one in found) == sorted(planted)
    told = {one.kind: one.detail for one in found}
    assert "differs by 1e-05" in told["scores"] and told["order"].startswith("place 1 was")
    assert "baskets was" in told["features differ"] and "epoch 2" in told["receipt altered"]
    assert summary(found)["differs"] == len(planted)


def test_a_score_that_is_off_by_less_than_a_millionth_is_the_same(shop: Shop) -> None:
    stub = shop.stub(shop.ids["first"][0])
    first = dataclasses.replace(stub.items[0], score=stub.items[0].score + 9e-7)
    assert shop.replay(dataclasses.replace(stub, items=(first, *stub.items[1:])))[0].kind == "same"


@pytest.mark.parametrize("kind", ["record", "mark"])
def test_a_line_that_was_written_over_is_named_and_the_others_are_replayed(
    shop: Shop, tmp_path: Path, kind: str
) -> None:
    [path] = [
        one
        for one in Receipts(shop.place.settings.receipts).open_segments()
        if shop.ids["first"][0].split("-")[2] in one.name
    ]
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")  # packed lines may hold other breaks
    marks = [at for at, line in enumerate(lines) if line[segment.CRC_DIGITS + 1 :].startswith(segment.MARK)]
    records = len(lines) - len(marks)
    at = (
        marks[len(marks) // 2]
        if kind == "mark"
        else next(at for at in range(1, len(lines)) if at not in marks)
    )
    odd = Receipts(tmp_path)
    copy = tmp_path / path.parent.name / path.name
    copy.parent.mkdir()
    flip = (
        2 if lines[at][-1] ^ 1 == segment.BREAK[0] else 1
    )  # a packed line ends in any byte; it stays one line
    lines[at] = lines[at][:-1] + bytes([lines[at][-1] ^ flip])
    copy.write_bytes(b"\n".join(lines) + b"\n")
    drawn = list(sample(odd, 100, 0))
    [said] = [one for one in drawn if isinstance(one, Replayed)]
    assert (said.kind, f"line {at + 1} has the wrong checksum" in said.detail) == ("receipt altered", True)
    assert len(drawn) == records + (kind == "mark")


def test_a_sample_is_spread_evenly_and_its_seed_moves_it(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path)
    stub = Receipt(
        id="", time=datetime(2026, 1, 1, tzinfo=UTC), use_case="small", release="r", bento="b", epoch=1, person="p", request={},
        items=(), rules=(), features={}, feature_time=None, degraded=(),
    )  # fmt: skip
    path = tmp_path / "2026-01-01" / "20260101T000000-00000000.jsonl"
    path.parent.mkdir()
    named = [dataclasses.replace(stub, id=f"receipt-{path.stem}-{n}") for n in range(1, 101)]
    path.write_bytes(b"".join(segment.line(canonical.encode(one)) for one in named))
    drawn = [int(one.id.rpartition("-")[2]) for one in sample(receipts, 10, 0)]
    assert np.diff(drawn).tolist() == [10] * 9
    assert drawn != [int(one.id.rpartition("-")[2]) for one in sample(receipts, 10, 1)]
    assert len(list(sample(receipts, 1000, 0))) == 100


@pytest.fixture
def spare(shop: Shop) -> Iterator[Path]:
    """The first release's bento, which a test may break: it is put back."""
    folder = bento_folder(shop.place, shop.first.tag)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


def test_a_bento_that_was_altered_is_named_before_its_code_is_run(shop: Shop, spare: Path) -> None:
    stub = shop.stub(shop.ids["first"][0])
    source = spare / "src" / "bentos" / "replay.py"
    (spare / "src" / "ran").unlink(missing_ok=True)
    source.write_text(f"open({str(spare / 'ran')!r}, 'w')\n{source.read_text()}")
    found = shop.replay(stub)[0]
    assert found.kind == "bento altered" and "replay.py" in found.detail
    assert not (spare / "ran").exists()


def test_a_model_that_was_swapped_with_its_manifests_is_not_what_was_released(
    shop: Shop, spare: Path
) -> None:
    about = orjson.loads((spare / "src" / "bento.json").read_bytes())
    other = orjson.loads((bento_folder(shop.place, shop.second.tag) / "src" / "bento.json").read_bytes())
    swapped = canonical.encode(about | {"model": other["model"], "family": other["family"]})
    (spare / "src" / "bento.json").write_bytes(swapped)
    (spare / "src" / "manifest.json").unlink()
    manifest.write(spare / "src")
    found = shop.replay(shop.stub(shop.ids["first"][0]))[0]
    assert (found.kind, found.detail) == ("bento altered", f"{shop.first.tag} is not what was released")


def test_libraries_of_another_version_are_told(shop: Shop, spare: Path) -> None:
    assert other_libraries(shop.place, shop.first.tag) == ()
    wanted = spare / "src" / "requirements.txt"
    wanted.write_text(wanted.read_text().replace("orjson==", "orjson==0."))
    [told] = other_libraries(shop.place, shop.first.tag)
    assert told.startswith(f"{shop.first.tag} was packaged with orjson 0.")


def test_a_bento_that_is_gone_ends_with_7(shop: Shop, spare: Path, counterfoil: Any) -> None:
    shutil.rmtree(spare)
    code, out = counterfoil("replay", shop.ids["first"][0], "--json")
    assert code == 7 and json.loads(out)["classes"] == {"bento gone": 1}
    code, out = counterfoil("why", shop.ids["first"][0], "--json")
    assert code == 7 and "bento gone" in json.loads(out)["error"]


def test_code_of_before_there_was_replay_says_so(shop: Shop, spare: Path) -> None:
    """A bento as it was packaged before: without the module, recorded and released as any other."""
    (spare / "src" / "bentos" / "replay.py").unlink()
    (spare / "src" / "manifest.json").unlink()
    manifest.write(spare / "src")
    opened = open_bundle(spare)
    noun = shop.place.catalog.get(shop.first.bento)
    assert isinstance(noun, Bento)
    older = dataclasses.replace(noun, use_case="older", tag=opened.tag, sha256=opened.sha256)
    release = dataclasses.replace(shop.first, use_case="older", bento=older.id, tag=opened.tag)
    shop.place.catalog.record("package", "older", [older, release], [], [], 0.0)
    folder = bento_folder(shop.place, opened.tag)
    shutil.copytree(spare, folder)
    stub = dataclasses.replace(
        shop.stub(shop.ids["first"][0]), use_case="older", release=release.id, bento=opened.tag
    )
    found = shop.replay(stub)[0]
    assert (found.kind, found.detail) == ("cannot replay", "code of that bento has no replay")


def test_a_person_is_found_where_the_history_is_the_one_that_was_read(shop: Shop, tmp_path: Path) -> None:
    """The partition, the same built again, the dataset in the store: each is asked when the one before is not what it was."""
    stub = shop.stub(shop.ids["second"][1])
    settings = shop.place.settings
    path = build.partition(settings.features, "person", END)
    whole = pq.read_table(path)

    def found(name: str) -> Any:
        return Recall(shop.place, tmp_path / name).person(stub)

    as_was = found("a")
    assert (as_was.found, as_was.missing, as_was.notes) == ("the feature partition", None, ())
    kept = path.rename(tmp_path / "kept.parquet")
    landing = settings.landing.rename(tmp_path / "landing")
    try:
        shorter = pa.array(
            [items[1:] for items in whole["history_items"].to_pylist()],
            whole.schema.field("history_items").type,
        )
        pq.write_table(
            whole.set_column(whole.schema.get_field_index("history_items"), "history_items", shorter), path
        )
        of_dataset = found("b")
        assert of_dataset.found == "the partition built of the dataset in the store"
        landing.rename(settings.landing)
        again = found("c")
        assert again.found == "the partition built again of what has landed"
        assert again.view == as_was.view and of_dataset.view["items"] == as_was.view["items"]
        assert of_dataset.view["affinity"] == as_was.view["affinity"]
        assert any("not what the online store was filled from" in note for note in again.notes)
        assert shop.replay(stub)[0].kind == "same"
        path.unlink()
        assert found("d").found == again.found
    finally:
        kept.rename(path)


def test_a_person_who_is_nowhere_any_more_is_gone(shop: Shop, tmp_path: Path) -> None:
    stub = dataclasses.replace(shop.stub(shop.ids["second"][1]), person="p0000000000000000000")
    gone = Recall(shop.place, tmp_path).person(stub)
    assert gone.view is None and gone.missing is not None and gone.missing.startswith("features gone")


def test_a_child_that_hangs_or_dies_is_ended_and_named(shop: Shop) -> None:
    stub = shop.stub(shop.ids["first"][0])
    bento = bento_folder(shop.place, stub.bento)
    with replayer(bento, ask_seconds=0.2) as child:
        os.kill(child.pid, signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(UnavailableError, match=r"took longer than 0\.2 s and was ended"):
                child.answer(canonical.plain(stub), None)
    with replayer(bento) as child:
        os.kill(child.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="ended with -9"):
                child.answer(canonical.plain(stub), None)


def test_nothing_of_a_person_is_left_behind_by_a_replay(shop: Shop) -> None:
    assert not list(shop.place.settings.work.glob("recall-*"))


@dataclass
class Alone:
    """The bento of a receipt in this process, to ask by hand what `why` says that it asked."""

    answers: Answers
    stub: Receipt
    person: Person

    def place(self, item: str, person: Person, n: int) -> int | None:
        asked = dataclasses.replace(recalled(self.stub.request, self.stub.person), n=n)
        shown = [one.item for one in self.answers.answer(asked, person, Stages()).items]
        return shown.index(item) + 1 if item in shown else None

    def without(self, names: set[str]) -> Person:
        kept = [at for at, name in enumerate(self.person.item_ids) if name not in names]
        return dataclasses.replace(
            self.person,
            item_ids=tuple(self.person.item_ids[at] for at in kept),
            time_us_N=self.person.time_us_N[kept],
            quantity_N=self.person.quantity_N[kept],
        )


def by_hand(shop: Shop, id: str, tmp_path: Path) -> Alone:
    stub = shop.stub(id)
    view = Recall(shop.place, tmp_path).person(stub).view
    assert view is not None
    person = Person(
        features={name: np.nan if value is None else value for name, value in view["features"].items()},
        item_ids=tuple(view["items"]),
        time_us_N=np.array(view["times_us"], np.int64),
        quantity_N=np.array(view["quantities"], np.float32),
        affinity=view["affinity"],
        event_time=stub.feature_time,
    )
    return Alone(Answers(startup.parse(open_bundle(bento_folder(shop.place, stub.bento)))), stub, person)


def test_why_adds_up_and_what_would_move_an_item_is_what_the_model_says(
    shop: Shop, told: dict[str, Any], tmp_path: Path
) -> None:
    alone = by_hand(shop, told["id"], tmp_path)
    assert told["replayed"]["same"]
    assert [one["item"] for one in told["items"]] == [item.item for item in alone.stub.items]
    for one, kept in zip(told["items"], alone.stub.items, strict=True):
        how = one["explanation"]
        added = how["bias"] + sum(part["added"] for part in how["parts"])
        assert how["method"] == "exact TreeSHAP" and how["adds_up"] is True
        assert abs(added - kept.score) <= TOLERANCE and np.float32(how["total"]) == np.float32(kept.score)
        assert [member["member"] for member in how["members"]] == list(kept.sources) == one["sources"]
        assert tuple(reason["said"] for reason in one["reasons"]) == kept.reasons
        moved = one["without"]
        names = {left["item"] for left in moved["left_out"]}
        place = alone.place(kept.item, alone.without(names), moved["looked_at"])
        assert place == moved["place_without"] and one["place"] == moved["place"]
        if moved["moves"] and len(names) == 2:
            for single in names:  # no one of the two does it alone
                stays = alone.place(kept.item, alone.without({single}), moved["looked_at"])
                assert stays is not None and stays <= one["place"]
    assert any(one["without"]["moves"] and len(one["without"]["left_out"]) == 1 for one in told["items"])


def test_evidence_is_the_persons_own_purchases(
    shop: Shop, told: dict[str, Any], counterfoil: Any, tmp_path: Path
) -> None:
    id, alone = told["id"], by_hand(shop, told["id"], tmp_path)
    item = alone.stub.items[0].item
    own = next(reason for reason in told["items"][0]["reasons"] if reason["kind"] == "own")
    times = [
        time
        for name, time in zip(alone.person.item_ids, alone.person.time_us_N.tolist(), strict=True)
        if name == item
    ]
    said = [canonical.utc_time(line["time"]).timestamp() * 1e6 for line in own["purchases"]]
    assert said == sorted(times, reverse=True) and own["counts"]["times"] == len(set(times))
    code, text = counterfoil("why", id, item)
    assert (
        code == 0
        and told["items"][0]["without"]["said"] in text
        and "exact TreeSHAP" in text
        and TOTALS in text
    )


def test_a_changed_feature_moves_the_item_as_it_is_said_to(
    shop: Shop, told: dict[str, Any], tmp_path: Path
) -> None:
    alone = by_hand(shop, told["id"], tmp_path)
    changed = [one for one in told["items"] if one["change"]["feature"] is not None]
    assert changed
    for one in changed:
        change, known = (
            one["change"],
            alone.answers.known(recalled(alone.stub.request, alone.stub.person), alone.person, Stages()),
        )
        features, (whose, name) = known.features, change["feature"].rsplit(" ", 1)
        item = alone.answers.items.index[one["item"]]
        item_IF, person_PF = features.item_IF.copy(), features.person_PF.copy()
        if whose == "its":
            item_IF[item, features.item_names.index(name)] = change["value_then"]
        else:
            person_PF[0, features.person_names.index(name)] = np.nan
        query = dataclasses.replace(
            known.query, features=dataclasses.replace(features, item_IF=item_IF, person_PF=person_PF)
        )
        shown = alone.answers.loaded.model.recommend(query, one["without"]["looked_at"]).item_PK[0].tolist()
        place = shown.index(item) + 1 if item in shown else None
        assert place == change["place_then"] and (place is None or place > one["place"])


class Happening:
    """The online store of the home, and things that happened since: a purchase, and a look at something in the session."""

    def __init__(self, place: Place) -> None:
        from feature_repo.online import OnlineFeatures

        self.inner = OnlineFeatures(place.settings)

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> Any:
        at_us = round(canonical.utc_time(AT).timestamp() * 1e6)
        recent = RecentView(
            item_ids=("i003", "i011"),
            kinds=("purchase", "view"),
            times_us=np.array([at_us - 3_600_000_000, at_us - 60_000_000]),
            quantities=np.ones(2, np.float32),
            here=np.array([False, session is not None]),
        )
        return dataclasses.replace(self.inner.person(person_id, now, session), recent=recent)


@pytest.fixture
def steered(shop: Shop) -> Iterator[list[Receipt]]:
    """Receipts of answers under rules that draw by chance, on every route, of people who did something just now."""
    rules = {
        "diversity": 0.2,
        "caps": {"category": 3},
        "boosts": [{"name": "lifted", "items": ["i020"], "factor": 5}],
        "excludes": [{"name": "recalled", "items": ["i001"]}],
        "explore": {"rate": 0.5, "place": 2},
    }
    path, kept = shop.place.settings.run / rulebook.FILE, shop.place.settings.home / rulebook.KEPT
    rulebook.place(rulebook.of_bytes(orjson.dumps(rules)), path, kept)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("recommend", {"person": "person 1"}),
        ("recommend", {"person": "person 2", "diversity": 0.7}),
        ("next", {}),
        ("cart", {"items": ["i002", "i005"], "person": "person 3"}),
        ("similar", {"item": "i002"}),
        ("recommend", {"person": "person 1", "profile": False}),
    ]
    ids = []
    with service(shop.place, shop.second, lambda: Happening(shop.place)) as client:
        for route, body in asked * 2:
            answer = client.post(f"/{route}", json={"context": {"time": AT, "session": "visit"}, **body})
            assert answer.status_code == 200, answer.text
            ids.append(answer.json()["receipt"])
    yield [shop.stub(id) for id in ids]
    path.unlink()


def test_answers_under_rules_and_with_what_just_happened_come_out_the_same(
    shop: Shop, steered: list[Receipt], counterfoil: Any
) -> None:
    assert all(stub.features["rules"] and stub.explored for stub in steered)
    recent = [stub.features.get("recent", {}).get("events", []) for stub in steered]
    assert [len(events) for events in recent[:6]] == [2, 2, 2, 2, 2, 0]
    assert steered[0].features["history"]["rows"] > 0 and steered[5].person == "nobody"
    assert {one.kind for one in shop.replay(*steered)} == {"same"}, [
        one.detail for one in shop.replay(*steered)
    ]
    chance = dataclasses.replace(steered[0], explored={"i002": 0.25})
    assert shop.replay(chance)[0].kind == "words"
    code, out = counterfoil("why", steered[3].id, "--json")
    told = json.loads(out)
    assert code == 0 and told["replayed"]["same"], told["replayed"]
    assert {one["without"] for one in told["items"]} == {None}  # of a cart the model is not asked
    kept = rulebook.kept_at(shop.place.settings.home / rulebook.KEPT, steered[0].features["rules"])
    away = kept.rename(kept.with_suffix(".away"))
    assert shop.replay(steered[0])[0].kind == "rules gone"
    away.rename(kept)


def test_somebody_unknown_has_no_history_to_leave_out(shop: Shop, counterfoil: Any) -> None:
    told = json.loads(counterfoil("why", shop.ids["second"][7], "--json")[1])
    assert told["replayed"]["same"] and all(one["without"] is None for one in told["items"])


class Failing:
    """A model that fails on every question."""

    def recommend(self, query: Any, k: int) -> Any:
        raise RuntimeError("no")


def test_what_only_fills_a_list_is_not_explained_by_the_model(shop: Shop, tmp_path: Path) -> None:
    alone = by_hand(shop, shop.ids["first"][0], tmp_path)
    broken = Answers(dataclasses.replace(alone.answers.loaded, model=Failing()))
    found = told_of(broken, recalled(alone.stub.request, alone.stub.person), alone.person, [], None)
    assert found["items"] and not found["same"]
    for one in found["items"]:
        assert BESIDES.issuperset(one["sources"])
        assert (one["explanation"], one["without"]) == (None, None)


def test_an_item_that_was_not_shown_is_an_error(shop: Shop, counterfoil: Any) -> None:
    code, out = counterfoil("why", shop.ids["first"][0], "telepathy", "--json")
    assert (code, json.loads(out)["kind"]) == (2, "UnknownError") and "telepathy" in out


@pytest.mark.parametrize(
    "arguments", [("replay",), ("replay", "receipt-20260412T093401-7f3a9c1e-12", "--sample", "3")]
)
def test_receipts_or_a_sample_must_be_asked_for(counterfoil: Any, arguments: tuple[str, ...]) -> None:
    code, out = counterfoil(*arguments, "--json")
    assert (code, json.loads(out)["kind"]) == (2, "InputError")


def test_a_sealed_segment_that_was_altered_is_named(shop: Shop) -> None:
    """The last test that reads receipts: from here on they are sealed."""
    place, id = shop.place, shop.ids["first"][2]
    seal(place, quiet_seconds=0.0)
    receipts = Receipts(place.settings.receipts)
    assert [one for one in replayed(place, [receipts.find(id)]) if one.kind != "same"] == []
    [path] = [one for one in receipts.sealed_segments() if one.stem in id]
    kept, table = path.read_bytes(), pq.read_table(path)
    odd = [row.replace(b'"n":5', b'"n":6') for row in table["payload"].to_pylist()]
    at = table.schema.get_field_index("payload")
    pq.write_table(table.set_column(at, "payload", pa.array(odd, pa.binary())), path)
    try:
        [found] = replayed(place, [receipts.find(id)])
        assert found.kind == "receipt altered" and "is not what was sealed" in found.detail
    finally:
        path.write_bytes(kept)
