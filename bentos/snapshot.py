"""The catalogue as a bento carries it: items in index order, their features at the dataset's as-of, and plain counts.

The counts (who is popular, new, bought together with what, like what) are the evidence behind reasons and the sources beside the
model; models do not read them.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from bentos import alike
from counterfoil.contracts import ITEM
from models import catalogue
from models.data import DAY_US, Content, Interactions
from models.dataset import DatasetFolder

RECENT_DAYS = 28
PARTNERS = 16
MIN_TOGETHER = 5
BASKET_ITEMS = 200
TOGETHER_ROWS = 4_000_000
ARRAYS = ("item_features", "popular", "recent", "first_us", "partner", "together", "bond", "like", "likeness")
ITEMS = "items.parquet"
NOWHERE = ""  # the shelf, the brand and the seller of items of which none is known
NO_END = np.iinfo(np.int64).max  # when an item ends of which no end is known
COLUMNS = ("id", "title", "category", "brand", "price", "available_from", "in_stock")
SINCE = ("seller", "available_until", "hidden")  # came into the contract later: older catalogues lack them


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The catalogue in memory. `popular` lists item indices, most taken lately first; NaN prices are unknown ones."""

    as_of_us: int
    ids: list[str]
    titles: list[str]
    category: list[str | None]
    price_I: np.ndarray  # float32
    in_stock_I: np.ndarray  # bool; True where nothing is known
    available_us_I: np.ndarray  # int64; the lowest number where nothing is known
    end_us_I: np.ndarray  # int64: when it can be had no longer; NO_END where nothing is known
    hidden_I: np.ndarray  # bool; False where nothing is known
    index: dict[str, int]
    item_IF: np.ndarray  # float32
    popular_I: np.ndarray  # int32, a permutation
    recent_I: np.ndarray  # int32: times taken in the last 28 days
    first_us_I: np.ndarray  # int64: when first taken; the highest number where never
    partner_IK: np.ndarray  # int32, -1: none
    together_IK: np.ndarray  # int32: days on which one person took both
    bond_IK: np.ndarray  # float16: their cosine by those days, 0 to 1
    like_IK: np.ndarray  # int32, -1: none; by what the catalogue says
    likeness_IK: np.ndarray  # float16, 0 to 1
    shelf: "Coded"  # whole categories
    aisle: "Coded"  # their first levels
    brand: "Coded"
    seller: "Coded"
    content: Content  # read from the snapshot's file when a model asks for it

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Coded:
    """Names of the catalogue by number: `code_I` int32 [I], `names` by code; the first name is the empty one (not known)."""

    code_I: np.ndarray
    names: tuple[str, ...]
    code: dict[str, int]


def coded(names_I: "pa.ChunkedArray") -> Coded:
    """Number a column of texts, the empty one first, then as they come."""
    column = pa.concat_arrays([pa.array([NOWHERE]), *(chunk.fill_null(NOWHERE) for chunk in names_I.chunks)])
    held = column.dictionary_encode()
    names = tuple(held.dictionary.to_pylist())
    return Coded(
        code_I=held.indices.to_numpy()[1:],
        names=names,
        code={name: code for code, name in enumerate(names)},
    )


def write(data: DatasetFolder, folder: Path) -> None:
    """Write the snapshot of a dataset's catalogue at its as-of; twice the same bytes."""
    folder.mkdir(parents=True)
    shutil.copyfile(data.path / "items.parquet", folder / ITEMS)
    as_of_us = data.about["as_of_us"]
    known = data.history.between(None, as_of_us)
    recent_I = np.bincount(known.between(as_of_us - RECENT_DAYS * DAY_US, None).item_N, minlength=known.items)
    ever_I = np.bincount(known.item_N, minlength=known.items)
    first_us_I = np.full(known.items, np.iinfo(np.int64).max)
    np.minimum.at(first_us_I, known.item_N, known.time_N)
    partner_IK, together_IK, bond_IK = partners(known)
    popular_I = np.lexsort((np.arange(known.items), -ever_I, -recent_I)).astype(np.int32)
    like_IK, likeness_IK = alike.neighbours(catalogue.of_file(folder / ITEMS), np.argsort(popular_I))
    arrays = {
        "item_features": data.features(as_of_us).item_IF,
        "popular": popular_I,
        "recent": recent_I.astype(np.int32),
        "first_us": first_us_I,
        "partner": partner_IK,
        "together": together_IK,
        "bond": bond_IK,
        "like": like_IK,
        "likeness": likeness_IK,
    }
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name], allow_pickle=False)


def read(folder: Path, as_of_us: int) -> Snapshot:
    """Read a snapshot that was checked before."""
    table = _catalogue(folder / ITEMS)
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS}
    ids = table["id"].to_pylist()
    available = table["available_from"].cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
    return Snapshot(
        as_of_us=as_of_us,
        ids=ids,
        titles=[title or id for id, title in zip(ids, table["title"].to_pylist(), strict=True)],
        category=table["category"].to_pylist(),
        price_I=table["price"].cast(pa.float32()).to_numpy(),
        in_stock_I=table["in_stock"].fill_null(1).to_numpy() != 0,
        available_us_I=available.to_numpy(),
        end_us_I=table["available_until"].cast(pa.int64()).fill_null(NO_END).to_numpy(),
        hidden_I=table["hidden"].fill_null(0).to_numpy() != 0,
        index={id: index for index, id in enumerate(ids)},
        # Models read a few columns of all items: column by column in memory, one takes 0.05 ms instead of 0.6.
        item_IF=np.asfortranarray(arrays["item_features"]),
        popular_I=arrays["popular"],
        recent_I=arrays["recent"],
        first_us_I=arrays["first_us"],
        partner_IK=arrays["partner"],
        together_IK=arrays["together"],
        bond_IK=arrays["bond"],
        like_IK=arrays["like"],
        likeness_IK=arrays["likeness"],
        shelf=coded(table["category"]),
        aisle=coded(pc.list_element(pc.split_pattern(pc.fill_null(table["category"], NOWHERE), " > "), 0)),
        brand=coded(table["brand"].cast(pa.string())),
        seller=coded(table["seller"].cast(pa.string())),
        content=catalogue.of_file(folder / ITEMS),
    )


def _catalogue(path: Path) -> pa.Table:
    """Return the columns of a catalogue's file that a snapshot holds, nulls for those that it lacks."""
    held = pq.read_schema(path).names
    table = pq.read_table(path, columns=[*COLUMNS, *(name for name in SINCE if name in held)])
    kinds = ITEM.arrow()
    for name in SINCE:
        if name not in held:
            table = table.append_column(name, pa.nulls(len(table), kinds.field(name).type))
    return table


def names(path: Path) -> dict[str, set[str]]:
    """Return the items, categories (each with the shelves above it), brands and sellers that a catalogue's file names."""
    table = _catalogue(path)
    paths = [text.split(" > ") for text in set(table["category"].to_pylist()) if text]
    return {
        "items": set(table["id"].to_pylist()),
        "categories": {" > ".join(levels[: depth + 1]) for levels in paths for depth in range(len(levels))},
        "brands": {text for text in set(table["brand"].to_pylist()) if text},
        "sellers": {text for text in set(table["seller"].to_pylist()) if text},
    }


def partners(history: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return per item those taken with it on one day most often, int32 [I, 16], on how many such days, and their bond.

    The bond, float16, is the cosine similarity of the days; partners are ordered by it. Pairs below five days are left out, so
    are baskets above 200 items (nobody's taste) and all but the newest four million interactions (bounded memory).
    """
    partner_IK = np.full((history.items, PARTNERS), -1, np.int32)
    together_IK = np.zeros((history.items, PARTNERS), np.int32)
    bond_IK = np.zeros((history.items, PARTNERS), np.float16)
    basket_BI = _baskets(history)
    size_I = np.asarray(basket_BI.sum(axis=0)).ravel()
    item_IB = basket_BI.T.tocsr()
    for start in range(0, history.items, 2048):
        pair_CI = (item_IB[start : start + 2048] @ basket_BI).tocsr()
        for row in np.flatnonzero(np.diff(pair_CI.indptr)):
            span = slice(pair_CI.indptr[row], pair_CI.indptr[row + 1])
            other_N, count_N = pair_CI.indices[span], pair_CI.data[span]
            enough_N = (count_N >= MIN_TOGETHER) & (other_N != start + row)
            other_N, count_N = other_N[enough_N], count_N[enough_N]
            best = np.lexsort((other_N, -count_N / np.sqrt(size_I[other_N])))[:PARTNERS]
            partner_IK[start + row, : len(best)] = other_N[best]
            together_IK[start + row, : len(best)] = count_N[best]
            alone = size_I[start + row] * size_I[other_N[best]]
            bond_IK[start + row, : len(best)] = count_N[best] / np.sqrt(alone)
    return partner_IK, together_IK, bond_IK


def _baskets(history: Interactions) -> csr_matrix:
    """Return what one person took on one day, ones in float32 [B, I]; items taken on fewer than five days left out."""
    newest = np.argsort(-history.time_N, kind="stable")[:TOGETHER_ROWS]
    key_N = history.person_N[newest].astype(np.int64) * 100_000 + history.time_N[newest] // DAY_US
    keys, basket_N = np.unique(key_N, return_inverse=True)
    ones_N = np.ones(len(newest), np.float32)
    out = csr_matrix((ones_N, (basket_N, history.item_N[newest])), shape=(len(keys), history.items))
    out.sum_duplicates()
    out.data[:] = 1
    out = out[np.diff(out.indptr) <= BASKET_ITEMS]
    frequent_I = np.asarray(out.sum(axis=0)).ravel() >= MIN_TOGETHER
    return csr_matrix(out.multiply(frequent_I.astype(np.float32)[None, :]))
