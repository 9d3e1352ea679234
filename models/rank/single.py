"""The signals of one person's candidates by compiled loops: the numbers of signals.py to the bit, in a fifth of the time.

What signals mean is written there, once; here is only how they are found where no group has to be told from another: a table from
item to candidate takes the place of sorting, and every sum runs over the lines in their order, as it does there.
Shapes: N candidates, H lines of the history, F signals, L levels, D half-lives, C columns of items, K codes of a level.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from counterfoil.compiled import loop
from models.data import Features, Query
from models.rank import kin, signals
from models.rank.past import Past
from models.rank.pool import Pool
from models.rank.signals import Lore

# The half-lives of all parts, each once; loops know them by these places.
DECAYS_DAYS = (*signals.HALF_LIVES_DAYS, *kin.HALF_LIVES_DAYS[1:])
PLACE = signals.OWN.index("own.place")  # behind what is told of the item, before what is told of the person
PER_LEVEL = 8  # rows that `shelf` fills for each level
KINDS = 4  # ways in which `near` weighs
_room = threading.local()


@dataclass(frozen=True, kw_only=True)
class Places:
    """Names of the signals in order, and where each part of them begins."""

    names: tuple[str, ...]
    person: int
    item: int
    pair: int
    own: int
    shelf: int
    table: int
    taste: int
    kin: int


def ready(query: Query) -> bool:
    """Say whether this question goes this way."""
    return query.people == 1 and tally.ready


def fill(
    pool: Pool, query: Query, *, lore: Lore, retrievers: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the signals and their values as `signals.signals` does, float32 [N, F], column by column."""
    features = query.features
    places = _places(
        tuple(retrievers),
        (features.person_names, features.item_names, features.pair_names),
        lore.shelves.levels,
        lore.table.names,
    )
    past, count = Past.of(query), len(retrievers)
    value_FN = np.empty((len(places.names), len(pool)), np.float32)
    value_FN[:count], value_FN[count : 2 * count] = pool.score_NS.T, pool.rank_NS.T
    value_FN[places.person : places.item] = features.person_PF[0][:, None]
    decay_DH = np.exp2(past.age_H / _HALF_LIVES)
    place_I = _place(pool.items)
    _given(pool, features, places, place_I, value_FN)
    table_CN = value_FN[places.table : places.taste]
    copy(lore.table.value_IC, pool.item_N, table_CN)
    gap_N = table_CN[lore.table.names.index("habit.gap_days")]
    tallied = _own(pool, past, decay_DH, gap_N, place_I, value_FN[places.own : places.shelf])
    _shelves(pool, past, lore, decay_DH, tallied, value_FN[places.shelf : places.table])
    _tastes(pool, past, lore, decay_DH[3], table_CN, value_FN[places.taste : places.kin])
    _kin(pool, past, lore, decay_DH, place_I, value_FN[places.kin :])
    return places.names, value_FN.T


_HALF_LIVES = -np.array(DECAYS_DAYS, np.float64)[:, None]


@lru_cache(maxsize=8)
def _places(
    retrievers: tuple[str, ...],
    given: tuple[tuple[str, ...], ...],
    levels: tuple[str, ...],
    columns: tuple[str, ...],
) -> Places:
    """Return the names in the order in which `signals.signals` has them."""
    head = [f"{name}.{what}" for what in ("score", "rank") for name in retrievers]
    parts = [head]
    parts += [
        [f"{kind}.{name}" for name in names]
        for kind, names in zip(("person", "item", "pair"), given, strict=True)
    ]
    parts.append(list(signals.OWN))
    parts.append([name for level in levels for name in signals.shelf_names(level)])
    parts += [list(columns), list(signals.TASTE), list(kin.NAMES)]
    starts = np.cumsum([len(part) for part in parts]).tolist()
    return Places(
        names=tuple(name for part in parts for name in part),
        person=starts[0],
        item=starts[1],
        pair=starts[2],
        own=starts[3],
        shelf=starts[4],
        table=starts[5],
        taste=starts[6],
        kin=starts[7],
    )


def _place(items: int) -> np.ndarray:
    """Return zeros to look candidates up in, int32 [I]; every loop leaves them zeros."""
    held: np.ndarray | None = getattr(_room, "place_I", None)
    if held is None or len(held) < items:
        held = _room.place_I = np.zeros(items, np.int32)
    return held


def _by_item(item_IF: np.ndarray) -> np.ndarray:
    """Return the matrix with what is known of one item together; it is made once, for a service asks with the same one."""
    held: tuple[np.ndarray, np.ndarray] | None = getattr(_room, "by_item", None)
    if held is None or held[0] is not item_IF:
        held = _room.by_item = (item_IF, np.ascontiguousarray(item_IF))
    return held[1]


def _given(pool: Pool, features: Features, places: Places, place_I: np.ndarray, value_FN: np.ndarray) -> None:
    copy(_by_item(features.item_IF), pool.item_N, value_FN[places.item : places.pair])
    pairs(
        features.pair_item_N,
        features.pair_NF,
        pool.item_N,
        place_I,
        value_FN[places.pair : places.own],
    )


def _own(
    pool: Pool,
    past: Past,
    decay_DH: np.ndarray,
    gap_N: np.ndarray,
    place_I: np.ndarray,
    value_FN: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill in what the takings of each item say, and how the person comes; return the tallies."""
    sum_N9, seen_N4 = np.zeros((len(pool), 9)), np.full((len(pool), 4), np.nan)
    weight_H = np.asarray(past.weight_H, np.float32)
    tally(past.item_H, past.age_H, weight_H, past.back_H, decay_DH, pool.item_N, place_I, sum_N9, seen_N4)
    tell(sum_N9, seen_N4, gap_N, value_FN)
    place(sum_N9, value_FN[PLACE])
    lines, opens_H = len(past.item_H), past.opens_H
    baskets = int(np.count_nonzero(opens_H))
    # a running sum adds in the order of the lines
    often = [float(decay_DH[d, opens_H].cumsum()[-1]) if baskets else 0.0 for d in (1, 3)]
    first, last = (float(past.age_H[0]), float(past.age_H[-1])) if lines else (np.nan, np.nan)
    habits = (
        *often,
        baskets,
        lines,
        lines / max(baskets, 1),
        1 - len(past.pair_G) / max(lines, 1),
        last,
        (first - last) / max(baskets - 1, 1),
    )
    end = PLACE + 1 + len(habits)
    value_FN[PLACE + 1 : end] = np.array(habits, np.float32)[:, None]
    for row, (d, baskets_taken) in enumerate(zip((1, 3), often, strict=True)):
        value_FN[end + row] = sum_N9[:, d] / max(baskets_taken, 1e-6)
    return sum_N9, seen_N4


def _shelves(
    pool: Pool,
    past: Past,
    lore: Lore,
    decay_DH: np.ndarray,
    tallied: tuple[np.ndarray, np.ndarray],
    value_FN: np.ndarray,
) -> None:
    code_NL, code_HL = lore.shelves.codes(pool.item_N), lore.shelves.codes(past.item_H)
    if code_NL.shape[1]:
        room_K3 = np.zeros((lore.shelves.most + 1, 3))
        shelf(code_NL, code_HL, past.age_H, decay_DH, *tallied, room_K3, value_FN)


def _tastes(
    pool: Pool, past: Past, lore: Lore, weight_H: np.ndarray, table_CN: np.ndarray, value_FN: np.ndarray
) -> None:
    """Fill what `signals._taste` does."""
    names = lore.table.names
    taste(
        lore.table.value_IC,
        names.index("trend.takers"),
        names.index("trend.age_days"),
        past.item_H,
        past.age_H,
        weight_H,
        lore.shelves.price(past.item_H),
        table_CN,
        lore.shelves.price(pool.item_N),
        value_FN,
    )


def _kin(
    pool: Pool, past: Past, lore: Lore, decay_DH: np.ndarray, place_I: np.ndarray, value_FN: np.ndarray
) -> None:
    near_N4 = np.zeros((len(pool), KINDS))
    near(
        *lore.kin.parts,
        past.pair_G,
        past.pair_H,
        past.back_H,
        decay_DH,
        np.zeros((len(past.pair_G), KINDS)),
        pool.item_N,
        place_I,
        near_N4,
    )
    value_FN[:] = near_N4.T


@loop("void(float32[:,:], int64[::1], float32[:,::1])")
def copy(value_IC, item_N, out_CN):  # type: ignore[no-untyped-def]
    """Fill in the columns of these items; NaN for items beyond the table."""
    known = value_IC.shape[0]
    for n in range(len(item_N)):
        item = item_N[n]
        for c in range(out_CN.shape[0]):
            out_CN[c, n] = value_IC[item, c] if item < known else np.float32(np.nan)


@loop("void(int32[::1], float32[:,:], int64[::1], int32[::1], float32[:,::1])")
def pairs(item_R, value_RF, item_N, place_I, out_FN):  # type: ignore[no-untyped-def]
    """Fill in the features of the pairs; NaN where there is no pair."""
    for f in range(out_FN.shape[0]):
        for n in range(out_FN.shape[1]):
            out_FN[f, n] = np.float32(np.nan)
    for n in range(len(item_N)):
        place_I[item_N[n]] = n + 1
    for r in range(len(item_R)):
        n = place_I[item_R[r]]
        if n > 0:
            for f in range(out_FN.shape[0]):
                out_FN[f, n - 1] = value_RF[r, f]
    for n in range(len(item_N)):
        place_I[item_N[n]] = 0


@loop(
    "void(int64[::1], float64[::1], float32[::1], int64[::1], float64[:,::1], int64[::1], int32[::1], float64[:,::1], "
    "float64[:,::1])"
)
def tally(item_H, age_H, weight_H, back_H, decay_DH, item_N, place_I, sum_N9, seen_N4):  # type: ignore[no-untyped-def]
    """Add up what the person took of each candidate, and note when first and last.

    Sums: five decays, takings, quantity, takings in the last five and fifteen baskets. Seen: ages of the last and first, how many
    baskets ago these were.
    """
    for n in range(len(item_N)):
        place_I[item_N[n]] = n + 1
    for h in range(len(item_H)):
        n = place_I[item_H[h]] - 1
        if n < 0:
            continue
        for d in range(5):
            sum_N9[n, d] += decay_DH[d, h]
        if sum_N9[n, 5] == 0.0:
            seen_N4[n, 1], seen_N4[n, 3] = age_H[h], back_H[h]
        seen_N4[n, 0], seen_N4[n, 2] = age_H[h], back_H[h]
        sum_N9[n, 5] += 1.0
        sum_N9[n, 6] += np.float64(weight_H[h])
        sum_N9[n, 7] += np.float64(back_H[h] < 5)
        sum_N9[n, 8] += np.float64(back_H[h] < 15)
    for n in range(len(item_N)):
        place_I[item_N[n]] = 0


@loop("void(float64[:,::1], float64[:,::1], float32[::1], float32[:,::1])")
def tell(sum_N9, seen_N4, gap_N, out_FN):  # type: ignore[no-untyped-def]
    """Fill in what was tallied and what follows from it."""
    for n in range(len(gap_N)):
        count, last, first = sum_N9[n, 5], seen_N4[n, 0], seen_N4[n, 1]
        interval = (first - last) / (count - 1.0) if count > 1.0 else np.nan
        usual = (first - last + np.float64(np.float32(2.0) * gap_N[n])) / (count - 1.0 + 2.0)
        for d in range(5):
            out_FN[d, n] = sum_N9[n, d]
        out_FN[5, n] = count
        out_FN[6, n] = last
        out_FN[7, n] = first
        out_FN[8, n] = interval
        out_FN[9, n] = last / interval if interval > 0.0 else np.nan
        out_FN[10, n] = usual
        out_FN[11, n] = last / (1.0 if usual < 1.0 else usual)
        out_FN[12, n] = sum_N9[n, 6]
        out_FN[13, n] = seen_N4[n, 2]
        out_FN[14, n] = count / (seen_N4[n, 3] + 1.0)
        out_FN[15, n] = sum_N9[n, 7]
        out_FN[16, n] = sum_N9[n, 8]


@loop("void(float64[:,::1], float32[::1])")
def place(sum_N9, out_N):  # type: ignore[no-untyped-def]
    """Fill in the place by the decayed count; what was never taken comes after all that was."""
    some = 0
    for n in range(len(out_N)):
        some += sum_N9[n, 3] > 0.0
    for n in range(len(out_N)):
        mine, before = sum_N9[n, 3], some
        if mine > 0.0:
            before = 0
            for m in range(len(out_N)):
                before += sum_N9[m, 3] > mine
        out_N[n] = before


@loop(
    "void(int32[:,::1], int32[:,::1], float64[::1], float64[:,::1], float64[:,::1], float64[:,::1], float64[:,::1], "
    "float32[:,::1])"
)
def shelf(code_NL, code_HL, age_H, decay_DH, sum_N9, seen_N4, room_K3, out_FN):  # type: ignore[no-untyped-def]
    """Fill what the person's takings from where each item stands say; `room_K3` holds zeros, and does so again afterwards."""
    lines, many = len(age_H), code_NL.shape[0]
    all_20, all_90 = 0.0, 0.0
    for h in range(lines):
        all_20 += decay_DH[1, h]
        all_90 += decay_DH[3, h]
    all_20, all_90 = max(all_20, 1e-6), max(all_90, 1e-6)
    for level in range(code_NL.shape[1]):
        at = PER_LEVEL * level
        for n in range(many):
            room_K3[code_NL[n, level], 2] = np.nan
        for h in range(lines):
            code = code_HL[h, level]
            room_K3[code, 0] += decay_DH[1, h]
            room_K3[code, 1] += decay_DH[3, h]
            room_K3[code, 2] = age_H[h]
        for n in range(many):
            code = code_NL[n, level]
            taken_20, taken_90, last = room_K3[code, 0], room_K3[code, 1], room_K3[code, 2]
            out_FN[at, n] = taken_20
            out_FN[at + 1, n] = taken_90
            out_FN[at + 2, n] = sum_N9[n, 1] / max(taken_20, 1e-6)
            out_FN[at + 3, n] = sum_N9[n, 3] / max(taken_90, 1e-6)
            out_FN[at + 4, n] = taken_20 / all_20
            out_FN[at + 5, n] = taken_90 / all_90
            out_FN[at + 6, n] = last
            out_FN[at + 7, n] = seen_N4[n, 0] - last
        for h in range(lines):
            code = code_HL[h, level]
            room_K3[code, 0] = room_K3[code, 1] = room_K3[code, 2] = 0.0
        for n in range(many):
            room_K3[code_NL[n, level], 2] = 0.0


@loop(
    "void(float32[:,:], int64, int64, int64[::1], float64[::1], float64[::1], float32[::1], float32[:,::1], float32[::1], "
    "float32[:,::1])"
)
def taste(value_IC, popular, age, item_H, age_H, weight_H, price_H, table_CN, price_N, out_FN):  # type: ignore[no-untyped-def]
    """Fill in how far each candidate is from what the person takes: how popular, how old, how dear."""
    known = value_IC.shape[0]
    for row in range(3):
        total, weight = 0.0, 0.0
        for h in range(len(item_H)):
            item = item_H[h]
            value = np.float64(np.nan)  # of what came later nothing is known
            if row == 2:
                value = np.float64(price_H[h])
            elif item < known:
                value = np.float64(value_IC[item, popular if row == 0 else age])
                value -= age_H[h] if row == 1 else 0.0
            if np.isfinite(value):
                total += weight_H[h] * value
                weight += weight_H[h]
        usual = total / weight if weight > 0.0 else np.nan
        for n in range(out_FN.shape[1]):
            value_N = price_N[n] if row == 2 else table_CN[popular if row == 0 else age, n]
            out_FN[row, n] = np.float64(value_N) - usual


@loop(
    "void(int64[::1], int32[::1], float32[::1], int64[::1], int64[::1], int64[::1], float64[:,::1], float64[:,::1], "
    "int64[::1], int32[::1], float64[:,::1])"
)
def near(  # type: ignore[no-untyped-def]
    indptr, indices, data, item_G, pair_H, back_H, decay_DH, weight_G4, item_N, place_I, near_N4
):
    """Add up how near each candidate is to what the person took, by three half-lives and the latest basket."""
    known = len(indptr) - 1
    for h in range(len(pair_H)):
        g = pair_H[h]
        weight_G4[g, 0] += decay_DH[0, h]
        weight_G4[g, 1] += decay_DH[5, h]
        weight_G4[g, 2] += decay_DH[6, h]
        weight_G4[g, 3] += 1.0 if back_H[h] == 0 else 0.0
    for n in range(len(item_N)):
        place_I[item_N[n]] = n + 1
    for g in range(len(item_G)):
        item = item_G[g]
        if item >= known:
            break
        for m in range(indptr[item], indptr[item + 1]):
            n = place_I[indices[m]] - 1
            if n >= 0:
                value = np.float64(data[m])
                for w in range(KINDS):
                    near_N4[n, w] += value * weight_G4[g, w]
    for n in range(len(item_N)):
        place_I[item_N[n]] = 0
