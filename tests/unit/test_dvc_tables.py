"""The tables that `dvc plots` draws, from what the stages left."""

from pathlib import Path

import orjson

from flows.stage import write_tables


def test_tables_hold_contenders_slices_and_curves(tmp_path: Path) -> None:
    left = {
        "metrics/popularity.json": {"ndcg@10": 0.1234567, "coverage@10": 0.5},
        "metrics/sasrec.json": {"ndcg@10": 0.2},
        "told/popularity.json": {"slices": {"new people": {"units": 3.0, "ndcg@10": 0.25}}, "curve": []},
        "told/sasrec.json": {
            "slices": {"nobody": {"units": 0.0}},
            "curve": [{"step": 1, "loss": 2.5}, {"step": 2, "hit": 1.0}],
        },
    }
    for name, value in left.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(orjson.dumps(value))
    write_tables(["popularity", "sasrec"], "ndcg@10", tmp_path)
    assert (tmp_path / "contenders.csv").read_text().split() == [
        "family,coverage@10,ndcg@10",
        "popularity,0.5,0.123457",
        "sasrec,,0.2",
    ]
    assert (tmp_path / "slices.csv").read_text().splitlines() == [
        "family,slice,units,ndcg@10",
        "popularity,new people,3,0.25",
    ]
    assert (tmp_path / "curves.csv").read_text().splitlines() == ["family,step,loss", "sasrec,1,2.5"]
