"""What the catalogue says of items, on its way to a model: from the file, in another's numbers, through landing and a bento."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bentos import golden, snapshot
from counterfoil import canonical
from counterfoil.contracts import ITEM
from counterfoil.importers import open_source
from counterfoil.landing import land, read_manifest
from counterfoil.types import FeatureSpec
from flows.snapshot import write_dataset
from models import catalogue
from models.data import Content, Query, Ranking
from models.dataset import read
from models.renumber import Renumbered
from tests import bento_shop
from tests.landing_shop import bought, settings_of, source_of, table_rows
from tests.shop_data import shop

SAID: dict[str, Sequence[object]] = {
    "title": ["mint soap", None, "cedar oil"],
    "category": ["bath > soap", "bath > soap", None],
    "image": [None, "pictures/2.png", None],
    "price": [1.5, None, 3.0],
}


class Listener:
    """A model that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Query] = []

    def recommend(self, query: Query, k: int) -> Ranking:
        self.asked.append(query)
        nothing_PK = np.full((query.people, k), -1, np.int32)
        return Ranking(
            item_PK=nothing_PK,
            score_PK=np.full((query.people, k), -np.inf, np.float32),
            sources=("listener",),
            source_PK=np.zeros((query.people, k), np.uint8),
        )

    def save(self, folder: Path) -> None:
        raise AssertionError("nothing here is to be saved")


def said(content: Content) -> dict[str, list[object]]:
    texts = {name: list(getattr(content, f"{name}_I")) for name in catalogue.TEXTS}
    return texts | {"price": [None if np.isnan(price) else float(price) for price in content.price_I]}


def test_a_catalogue_is_read_in_its_order_and_a_missing_column_says_nothing(tmp_path: Path) -> None:
    pq.write_table(pa.table(SAID), tmp_path / "items.parquet")
    content = catalogue.of_file(tmp_path / "items.parquet")
    assert len(content) == 3
    assert said(content) == {
        "title": ["mint soap", "", "cedar oil"],
        "text": ["", "", ""],
        "category": ["bath > soap", "bath > soap", ""],
        "brand": ["", "", ""],
        "image": ["", "pictures/2.png", ""],
        "price": [1.5, None, 3.0],
    }
    assert content.price_I.dtype == np.float32


def test_nothing_is_read_before_it_is_asked_for_and_once_only(tmp_path: Path) -> None:
    pq.write_table(pa.table(SAID), tmp_path / "items.parquet")
    content = catalogue.of_file(tmp_path / "items.parquet")
    assert content.title_I[0] == "mint soap"
    (tmp_path / "items.parquet").unlink()
    assert content.title_I[0] == "mint soap"
    with pytest.raises(OSError):
        _ = content.image_I
    with pytest.raises(AttributeError, match="colour_I"):
        _ = content.colour_I  # type: ignore[attr-defined]


def test_content_in_other_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table(SAID), tmp_path / "items.parquet")
    content = catalogue.renumbered(catalogue.of_file(tmp_path / "items.parquet"), np.array([2, -1, 0]))
    assert content.title_I == ("cedar oil", "", "mint soap")
    assert said(content)["price"] == [3.0, None, 1.5]


def test_a_champion_hears_of_its_items_in_its_own_numbers() -> None:
    query = shop().query
    ids = np.array([f"i{item:02d}" for item in range(query.items)])
    listener = Listener()
    champion = Renumbered(listener, their_ids=np.array(["i07", "gone", "i02"]), our_ids=ids)
    champion.recommend(query, 3)
    champion.recommend(replace(query, content=None), 3)
    heard, silent = (asked.content for asked in listener.asked)
    assert query.content is not None and heard is not None
    assert heard.title_I == (query.content.title_I[7], "", query.content.title_I[2])
    assert silent is None


def test_a_catalogue_that_landed_before_pictures_takes_new_items_and_gives_datasets(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    rows = [bought(f"e{day}", f"2024-03-{day:02d}T10:00:00Z", item="milk") for day in range(1, 29)]
    land(source_of(tmp_path, "events", rows), settings)
    columns = {"id": ["milk"], "title": ["Milk"], "in_stock": [1]}
    land(open_source("contract", _folder(tmp_path / "first", columns)), settings)
    _forget(settings, "image", "seller", "available_until", "hidden")
    assert _dataset(settings, tmp_path / "old").content.image_I == ("",)
    until = datetime(2024, 4, 1, tzinfo=UTC)
    told = {"image": ["bread.png"], "seller": ["Acme"], "available_until": [until], "hidden": [0]}
    columns = {"id": ["bread"], "title": ["Bread"], **told}
    land(open_source("contract", _folder(tmp_path / "second", columns)), settings)
    landed = [(row["id"], row["image"], row["in_stock"]) for row in table_rows(settings, "items")]
    assert landed == [("bread", "bread.png", None), ("milk", None, 1)]
    opened = _dataset(settings, tmp_path / "new")
    rows = pq.read_table(opened.path / "items.parquet").to_pylist()
    of_sale = ("seller", "available_until", "hidden")
    assert [tuple(row[name] for name in of_sale) for row in rows] == [("Acme", until, 0), (None, None, None)]
    assert opened.content.image_I == ("bread.png", "")
    assert pq.read_schema(opened.path / "items.parquet").names == list(ITEM.names)


def _folder(path: Path, columns: dict[str, list[object]]) -> Path:
    path.mkdir()
    pq.write_table(pa.table(columns), path / "items.parquet")
    return path


def _forget(settings, *columns: str) -> None:
    """Make the landed catalogue one of a time when the contract did not know these columns."""
    path = settings.landing / "items.parquet"
    before = canonical.file_digest(path)
    pq.write_table(pq.read_table(path).drop_columns(list(columns)), path)
    manifest = settings.landing / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(before.encode(), canonical.file_digest(path).encode()))


def _dataset(settings, folder: Path):
    spec = FeatureSpec(
        service="recommendation_v1", keys=("person", "item"), horizon_days=5, cutoffs=1,
        label_kinds=("purchase",), history_kinds=("purchase",),
    )  # fmt: skip
    days = {day: part.sha256 for day, part in read_manifest(settings).days.items()}
    write_dataset(settings, spec, datetime(2024, 3, 29, tzinfo=UTC), days, folder)
    return read(folder)


def test_a_bento_asks_its_model_with_what_the_catalogue_says(tmp_path: Path) -> None:
    data = read(bento_shop.write_dataset(tmp_path / "dataset"))
    listener = Listener()
    golden.write(data, listener, tmp_path / "golden")
    snapshot.write(data, tmp_path / "data")
    items = snapshot.read(tmp_path / "data", bento_shop.AS_OF_US)
    golden.check(tmp_path / "golden", listener, items.item_IF, items.content, data.about, bento_shop.AS_OF_US)
    told = [said(asked.content) for asked in listener.asked if asked.content]
    assert [asked.people for asked in listener.asked] == [1] * 2 * (golden.PEOPLE + 1)  # as requests ask
    packaged, served = told[: golden.PEOPLE + 1], told[-1]
    assert all(one == served for one in packaged)
    assert served["title"][:4] == ["BREAD", "BUTTER", "COFFEE", ""]
    assert served["category"][2] == "food > drinks"
