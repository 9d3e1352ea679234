from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bentos import golden, snapshot
from bentos.package import package
from counterfoil.errors import IntegrityError
from models.data import DAY_US, Interactions
from models.dataset import read
from models.families import family
from tests import bento_shop


def interactions(rows: list[tuple[int, int, int]], items: int) -> Interactions:
    """Rows of (person, day, item)."""
    rows = sorted(rows)
    return Interactions(
        person_N=np.array([row[0] for row in rows], np.int32),
        item_N=np.array([row[2] for row in rows], np.int32),
        time_N=np.array([row[1] * DAY_US for row in rows], np.int64),
        weight_N=np.ones(len(rows), np.float32),
        people=1 + max(row[0] for row in rows),
        items=items,
    )


def test_partners_are_what_one_person_took_on_one_day_five_times_or_more() -> None:
    together = [(0, day, item) for day in range(6) for item in (0, 1)]
    rarely = [(0, day, 2) for day in range(4)]
    elsewhere = [(1, day, 3) for day in range(6)]
    partner_IK, together_IK, bond_IK = snapshot.partners(interactions([*together, *rarely, *elsewhere], 5))
    assert partner_IK[:, 0].tolist() == [1, 0, -1, -1, -1]
    assert together_IK[:, 0].tolist() == [6, 6, 0, 0, 0]
    assert bond_IK[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert (partner_IK[:, 1:] == -1).all()


def test_a_partner_that_goes_with_everything_ranks_below_one_that_belongs() -> None:
    rows = [(0, day, item) for day in range(10) for item in (0, 1, 2)]
    rows += [(0, day, 2) for day in range(10, 100)]
    partner_IK, _, _ = snapshot.partners(interactions(rows, 3))
    assert partner_IK[0, :2].tolist() == [1, 2]


def test_a_wholesale_basket_says_nothing_about_taste() -> None:
    rows = [(0, day, item) for day in range(6) for item in range(201)]
    partner_IK, _, _ = snapshot.partners(interactions(rows, 201))
    assert (partner_IK == -1).all()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bento_shop.write_dataset(tmp_path_factory.mktemp("shop") / "dataset")


def test_a_snapshot_reads_back_in_index_order(data: Path, tmp_path: Path) -> None:
    snapshot.write(read(data), tmp_path / "data")
    items = snapshot.read(tmp_path / "data", bento_shop.AS_OF_US)
    assert items.ids[:4] == ["bread", "butter", "coffee", "tea"]
    assert items.titles[2:4] == ["COFFEE", "tea"]
    assert items.index["novelty"] == 7
    assert items.category[1] == "food > dairy"
    assert items.price_I[:3].tolist() == [1.0, 1.5, 2.0] and np.isnan(items.price_I[6])
    assert items.in_stock_I.tolist() == [index != 5 for index in range(40)]
    assert items.popular_I[:2].tolist() == [0, 1]
    assert items.recent_I[0] == 160  # forty people, four weeks
    assert items.partner_IK[0, 0] == 1
    assert items.item_IF.shape == (40, 2) and items.item_IF[0].tolist() == [160.0, 1.0]
    assert items.first_us_I[7] == bento_shop.AS_OF_US - 3 * DAY_US


def test_a_catalogue_of_before_hides_nothing_and_ends_nowhere(data: Path, tmp_path: Path) -> None:
    """The shop's file lacks seller, end and mark; one that has them is read with what is unknown left open."""
    snapshot.write(read(data), tmp_path / "old")
    old = snapshot.read(tmp_path / "old", bento_shop.AS_OF_US)
    assert not {*snapshot.SINCE} & {*pq.read_schema(tmp_path / "old" / snapshot.ITEMS).names}
    assert not old.hidden_I.any() and (old.end_us_I == snapshot.NO_END).all()
    assert old.seller.names == ("",) and not old.seller.code_I.any()
    assert snapshot.names(tmp_path / "old" / snapshot.ITEMS)["sellers"] == set()
    end_us = [bento_shop.AS_OF_US, *[None] * 39]
    also = {
        "seller": ["Acme", None, *["Bazaar"] * 38],
        "available_until": pa.array(end_us, pa.int64()).cast(bento_shop.STAMP),
        "hidden": [None, 1, *[0] * 38],
    }
    snapshot.write(read(bento_shop.write_dataset(tmp_path / "dataset", also)), tmp_path / "new")
    new = snapshot.read(tmp_path / "new", bento_shop.AS_OF_US)
    assert new.hidden_I.tolist() == [index == 1 for index in range(40)]
    assert new.end_us_I.tolist() == [bento_shop.AS_OF_US, *[snapshot.NO_END] * 39]
    assert new.seller.names == ("", "Acme", "Bazaar") and new.seller.code_I[:3].tolist() == [1, 0, 2]
    assert snapshot.names(tmp_path / "new" / snapshot.ITEMS)["sellers"] == {"Acme", "Bazaar"}


def test_a_snapshot_written_twice_has_the_same_bytes(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        snapshot.write(read(data), tmp_path / name)
    one = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert one == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert len(one) == 10


def test_golden_rows_pass_the_model_that_gave_them_and_refuse_another(data: Path, tmp_path: Path) -> None:
    opened = read(data)
    model = family("repurchase").fit(family("repurchase").config(), opened.training(), 0)
    golden.write(opened, model, tmp_path / "golden")
    served = (opened.features(bento_shop.AS_OF_US).item_IF, opened.content, opened.about, bento_shop.AS_OF_US)
    golden.check(tmp_path / "golden", model, *served)
    other = family("popularity").fit(family("popularity").config(), opened.training(), 0)
    with pytest.raises(IntegrityError, match="golden row 0 answers"):
        golden.check(tmp_path / "golden", other, *served)
    slower = family("repurchase").fit(family("repurchase").config(half_life_days=80.0), opened.training(), 0)
    with pytest.raises(IntegrityError, match="golden row"):
        golden.check(tmp_path / "golden", slower, *served)


def test_golden_rows_ask_for_somebody_unknown_too(data: Path, tmp_path: Path) -> None:
    opened = read(data)
    model = family("popularity").fit(family("popularity").config(), opened.training(), 0)
    golden.write(opened, model, tmp_path / "golden")
    lengths = np.diff(np.load(tmp_path / "golden" / "indptr.npy"))
    assert len(lengths) == 6 and lengths[-1] == 0 and (lengths[:-1] > 0).all()


def test_packaging_twice_gives_the_same_tag_and_builds_once(data: Path, tmp_path: Path) -> None:
    artefact = bento_shop.write_artefact(data, tmp_path / "artefact")

    def build(home: str):
        return package(
            use_case="recommendation",
            candidate=bento_shop.candidate(),
            artefact=artefact,
            dataset=data,
            feature_service="recommendation_v1",
            settings=bento_shop.settings_of(tmp_path / home),
        )

    first = build("home")
    built_at = (first.path / "bento.yaml").stat().st_mtime_ns
    assert build("home") == first
    assert (first.path / "bento.yaml").stat().st_mtime_ns == built_at
    elsewhere = build("another")
    assert (elsewhere.tag, elsewhere.sha256) == (first.tag, first.sha256)
    assert first.tag == f"recommendation:{first.sha256[:16]}"
    assert not list((tmp_path / "home").glob("packaging-*"))


def test_a_half_made_bento_is_made_again(data: Path, tmp_path: Path) -> None:
    settings = bento_shop.settings_of(tmp_path / "home")
    artefact = bento_shop.write_artefact(data, tmp_path / "artefact", "popularity")

    def build():
        return package(
            use_case="recommendation",
            candidate=bento_shop.candidate("popularity"),
            artefact=artefact,
            dataset=data,
            feature_service="recommendation_v1",
            settings=settings,
        )

    first = build()
    (first.path / "src" / "bento.json").unlink()
    assert build() == first
    (next((settings.bentos / "models").glob("*/*/config.json"))).write_bytes(b"")
    assert build() == first
    assert (first.path / "src" / "bento.json").is_file()


def test_a_model_of_another_kind_gives_another_tag(data: Path, tmp_path: Path) -> None:
    settings = bento_shop.settings_of(tmp_path / "home")
    tags = set()
    for name in ("popularity", "repurchase"):
        artefact = bento_shop.write_artefact(data, tmp_path / name, name)
        built = package(
            use_case="recommendation",
            candidate=bento_shop.candidate(name),
            artefact=artefact,
            dataset=data,
            feature_service="recommendation_v1",
            settings=settings,
        )
        tags.add(built.tag)
    assert len(tags) == 2
