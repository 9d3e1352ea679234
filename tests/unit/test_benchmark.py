"""Families measured on anybody's data: the splits, the names in the lists, and figures that a script of one's own finds again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil import terminal
from counterfoil.errors import InputError
from flows.benchmark import Benchmark, roll, run, show
from flows.benchmark.measure import Task, measure
from flows.benchmark.sets import Named, Terms, plain, prepare, read
from tests.landing_shop import settings_of

HISTORIES = {"7": ["30", "10", "20"], "8": ["10", "20", "40", "30"], "9": ["20"], "11": ["10", "40"]}


def histories(folder: Path) -> Path:
    path = folder / "shop.txt"
    path.write_text("".join(f"{person} {' '.join(items)}\n" for person, items in HISTORIES.items()))
    return path


def purchases(folder: Path, *, people: int = 30, days: int = 60) -> Path:
    """Write a table in which person p takes item p % 5 every day, and another one each tenth day."""
    rows = [(p, p % 5 if d % 10 else 5 + (p + d) % 7, d) for p in range(people) for d in range(days)]
    table = pa.table(
        {
            "user_id": [f"u{p}" for p, _, _ in rows],
            "item_id": [item for _, item, _ in rows],
            "timestamp": [1_600_000_000 + day * 86_400 + 60 * p for p, _, day in rows],
        }
    )
    path = folder / "inter.parquet"
    pq.write_table(table, path)
    return path


def prepared(terms: Terms, home: Path) -> Named:
    settings = settings_of(home)
    home.mkdir()
    prepare(terms, settings, lambda stage, count: None)
    return read(settings)


def test_leave_one_out_asks_for_the_last_and_validates_by_the_last_but_one(tmp_path: Path) -> None:
    terms = Terms(path=histories(tmp_path), format="s3rec", protocol="leave-one-out")
    named = prepared(terms, tmp_path / "home")
    trial, training = named.split.trial, named.split.training
    asked = {
        int(unit): [int(item) for item in named.item_ids[truth]]
        for unit, truth in zip(named.unit_ids, trial.truth, strict=True)
    }
    assert asked == {7: [20], 8: [30], 11: [40]}  # whoever has one item cannot be asked for it
    assert len(training.interactions) == 1 + 2 + 0 + 0
    assert training.validation is not None
    assert sorted(int(named.item_ids[truth[0]]) for truth in training.validation.truth) == [10, 40]
    assert named.item_ids.dtype == named.unit_ids.dtype == np.int64


def test_refit_learns_from_the_last_but_one_too(tmp_path: Path) -> None:
    terms = Terms(path=histories(tmp_path), format="s3rec", protocol="leave-one-out", refit=True)
    training = prepared(terms, tmp_path / "home").split.training
    assert len(training.interactions) == 2 + 3 + 0 + 1
    assert training.validation is None


def test_next_item_asks_for_the_targets_beside_the_sessions(tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    folder.mkdir()
    pq.write_table(pa.table({"session_id": [1, 2], "items": [[5, 6, 7], [6, 7]]}), folder / "train.parquet")
    pq.write_table(pa.table({"prefix": [[5, 6], [7]], "target": [7, 6]}), folder / "test.parquet")
    named = prepared(Terms(path=folder, format="sessions", protocol="next-item"), tmp_path / "home")
    assert named.unit_ids.tolist() == [0, 1]
    assert [int(named.item_ids[truth[0]]) for truth in named.split.trial.truth] == [7, 6]
    history = named.split.trial.query.history
    assert named.item_ids[history.item_N].tolist() == [5, 6, 7]
    assert named.split.training.repeats


def test_targets_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "clicks"
    folder.mkdir()
    pq.write_table(pa.table({"session_id": [1, 2], "items": [[5, 6, 7], [6, 7]]}), folder / "train.parquet")
    pq.write_table(pa.table({"prefix": [[5, 6], [7]]}), folder / "test.parquet")
    with pytest.raises(
        InputError, match=r"test\.parquet cannot be read.*needs the columns prefix and target"
    ):
        prepared(Terms(path=folder, format="sessions", protocol="next-item"), tmp_path / "home")


def test_what_is_said_of_items_reaches_who_leaves_one_out(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    purchases(folder, people=3, days=12)
    pq.write_table(
        pa.table(
            {"item_id": [3, 0, 99], "title": ["three", "zero", "never seen"], "genres": ["b", "a", "c"]}
        ),
        folder / "item.parquet",
    )
    named = prepared(Terms(path=folder, format="interactions", protocol="leave-one-out"), tmp_path / "home")
    number = {str(name): place for place, name in enumerate(named.item_ids.tolist())}
    training = named.split.training
    assert training.validation is not None
    for content in (training.content, training.validation.query.content, named.split.trial.query.content):
        assert content is not None
        assert content.title_I[number["3"]] == "three"
        assert content.title_I[number["99"]] == "never seen"
        assert content.title_I[number["1"]] == ""


def test_by_time_nothing_after_the_cut_is_learned(tmp_path: Path) -> None:
    terms = Terms(path=purchases(tmp_path), format="interactions", protocol="time", cut="0.8")
    named = prepared(terms, tmp_path / "home")
    split = named.split
    assert split.training.repeats  # most of what is taken here was taken before
    assert split.training.interactions.time_N.max() < split.training.until_us
    assert split.trial.query.as_of_us == split.training.until_us
    assert set(named.unit_ids) == {f"u{p}" for p in range(30)}
    person = named.unit_ids.tolist().index("u3")
    assert 3 in named.item_ids[split.trial.truth[person]].tolist()
    assert split.training.cutoffs


def test_without_repeats_nobody_is_asked_for_what_they_had(tmp_path: Path) -> None:
    terms = Terms(path=purchases(tmp_path), format="interactions", protocol="time", cut="0.8", repeats=False)
    trial = prepared(terms, tmp_path / "home").split.trial
    assert trial.query.exclude is not None
    for had, took in zip(trial.query.exclude, trial.truth, strict=True):
        assert not np.isin(took, had).any()


def test_the_figures_are_found_again_from_the_lists(tmp_path: Path) -> None:
    """As somebody outside would: their own file, our lists, the definition of nDCG."""
    terms = Terms(path=purchases(tmp_path), format="interactions", protocol="leave-one-out", repeats=True)
    named = prepared(terms, tmp_path / "home")
    task = Task(family="repurchase", config={}, seed=0, k=10, out=str(tmp_path / "out"), lists=True)
    (tmp_path / "out").mkdir()
    found = measure(task, named, threads=1)
    lists = pq.read_table(tmp_path / "out" / "lists.parquet").to_pylist()
    source = pq.read_table(tmp_path / "inter.parquet").to_pylist()
    last = {row["user_id"]: row["item_id"] for row in sorted(source, key=lambda row: row["timestamp"])}
    gains = dict.fromkeys(last, 0.0)
    for row in lists:
        if row["item"] == last[row["unit"]]:
            gains[row["unit"]] = 1 / np.log2(row["rank"] + 1)
    assert found["metrics"]["ndcg@10"] == pytest.approx(np.mean(list(gains.values())), abs=1e-12)
    assert found["metrics"]["ndcg@10"] > 0.5
    assert min(found["peak_bytes"], found["artefact_bytes"]) > 0


def test_all_families_stand_in_one_table(tmp_path: Path, home: Path) -> None:
    lists = tmp_path / "lists.parquet"
    asked = Benchmark(
        terms=Terms(path=purchases(tmp_path), format="interactions", protocol="leave-one-out"),
        families=("popularity", "repurchase"),
        lists=lists,
    )
    with terminal.stages() as stages:
        report = run(asked, stages)
    assert report["best"] == "repurchase"
    assert [one["family"] for one in report["families"]] == ["popularity", "repurchase"]
    (lead,) = report["leads"]
    assert lead["over"] == "popularity"
    assert 0 < lead["low"] <= lead["lead"] <= lead["high"]
    assert lead["p"] < 0.01
    table = pq.read_table(lists)
    assert table.column_names == ["unit", "rank", "item", "score", "family", "seed"]
    assert set(table["family"].to_pylist()) == {"popularity", "repurchase"}
    assert not list(home.iterdir())  # it worked in a place of its own


def test_who_refuses_is_named_and_costs_the_others_nothing(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is said of these items, so TF-IDF has no words."""
    asked = Benchmark(
        terms=Terms(path=purchases(tmp_path), format="interactions", protocol="leave-one-out"),
        families=("tfidf", "popularity"),
        lists=tmp_path / "lists.parquet",
        html=tmp_path / "page.html",
    )
    with terminal.stages() as stages:
        report = run(asked, stages)
        with pytest.raises(InputError, match="tfidf cannot be measured here"):
            run(replace(asked, families=("tfidf",)), stages)
    assert [one["family"] for one in report["families"]] == ["popularity"]
    assert [(one["family"], one["kind"]) for one in report["refused"]] == [("tfidf", "InputError")]
    assert set(pq.read_table(tmp_path / "lists.parquet")["family"].to_pylist()) == {"popularity"}
    show(report)
    for told in (capsys.readouterr().out, (tmp_path / "page.html").read_text()):
        assert "the data say nothing of their items that tfidf can read" in " ".join(told.split())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": "s3rec", "protocol": "time"}, "only the order"),
        ({"format": "interactions", "protocol": "next-item"}, "has none"),
        ({"format": "papyrus"}, "no format is called 'papyrus'"),
        ({"protocol": "dice"}, "no protocol is called 'dice'"),
    ],
)
def test_terms_that_make_no_sense_are_refused(change: dict, told: str) -> None:
    terms = {"path": None, "format": "interactions", "protocol": "leave-one-out"}
    with pytest.raises(InputError, match=told):
        Terms(**(terms | change))


@pytest.mark.parametrize("cut", ["1.5", "yesterday", "1999-01-01"])
def test_a_cut_outside_the_data_is_refused(tmp_path: Path, cut: str) -> None:
    terms = Terms(path=purchases(tmp_path, people=3), format="interactions", protocol="time", cut=cut)
    with pytest.raises(InputError, match="cut"):
        prepared(terms, tmp_path / "home")


def test_what_cannot_be_measured_is_named_at_once(tmp_path: Path) -> None:
    terms = Terms(path=None, format="interactions", protocol="leave-one-out")
    asked = Benchmark(terms=terms, families=("popularity",))
    with pytest.raises(InputError, match=r"no family is called 'oracle'.*0 seeds.*no folder"):
        replace(asked, families=("oracle",), seeds=0, lists=tmp_path / "missing" / "lists.parquet")


def test_ids_stay_as_they_are_written() -> None:
    assert plain(np.array(["1", "20"])).tolist() == [1, 20]
    assert plain(np.array(["01", "20"])).tolist() == ["01", "20"]
    assert plain(np.array(["a", "1"])).tolist() == ["a", "1"]


def test_each_origin_ends_where_the_later_one_begins(tmp_path: Path) -> None:
    """A horizon apart: what is asked for at the earlier cut is what the later one has learned from."""
    terms = Terms(path=purchases(tmp_path), format="interactions", protocol="time", cut="0.8")
    later, earlier = (prepared(replace(terms, back=back), tmp_path / f"home-{back}").split for back in (0, 1))
    horizon_us = 12 * 86_400_000_000
    assert later.training.until_us - earlier.training.until_us == pytest.approx(horizon_us, rel=0.01)
    learned, known = (split.training.interactions for split in (earlier, later))
    after = known.between(earlier.training.until_us, None)
    assert len(learned) + len(after) == len(known)
    asked = sum(len(items) for items in earlier.trial.truth)
    assert asked == len({(int(p), int(i)) for p, i in zip(after.person_N, after.item_N, strict=True)})


def test_origins_are_told_one_by_one_and_together(tmp_path: Path, home: Path) -> None:
    terms = Terms(path=purchases(tmp_path), format="interactions", protocol="time", cut="0.8")
    asked = Benchmark(terms=terms, families=("popularity", "repurchase"))
    with terminal.stages() as stages:
        report = roll(asked, 2, stages)
    assert [origin["back"] for origin in report["origins"]] == [0, 1]
    assert report["origins"][0]["holdout_from"] > report["origins"][1]["holdout_from"]
    for one in report["families"]:
        found = one["metrics"]["ndcg@10"]
        assert len(found["origins"]) == 2 and found["mean"] == pytest.approx(sum(found["origins"]) / 2)
    (lead,) = report["leads"]
    assert lead["family"] == report["best"] and lead["lead"] == pytest.approx(sum(lead["origins"]) / 2)


def test_origins_need_moments(tmp_path: Path) -> None:
    asked = Benchmark(
        terms=Terms(path=histories(tmp_path), format="s3rec", protocol="leave-one-out"),
        families=("popularity",),
        lists=tmp_path / "lists.parquet",
    )
    with (
        terminal.stages() as stages,
        pytest.raises(InputError, match=r"use --protocol time; .*without --origins"),
    ):
        roll(asked, 2, stages)
