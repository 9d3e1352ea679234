"""The features of people, items and pairs at one moment: one transform, offline and online.

Pure functions on tables in a DuckDB connection and on NumPy arrays; no files, no Feast. What is counted is `taken`: the events of
the history kinds that were not given back, strictly before the moment. Names carry shapes: N taken events, R pairs, F features.

Sums of money and quantity run over whole ten-thousandths: integers add up to the same bits in any order, floats do not.
"""

from dataclasses import dataclass

import duckdb
import numpy as np

from counterfoil.compiled import loop

DAY_US = 86_400_000_000
WINDOWS_DAYS = (7, 28, 90)
AFFINITIES = 10

PERSON_FEATURES = (
    "recency_days",
    "tenure_days",
    "baskets",
    *(f"{name}_{days}d" for name in ("baskets", "quantity", "spend") for days in WINDOWS_DAYS),
    "basket_size",
    "basket_interval_days",
    "distinct_items",
    "repurchase_share",
    "mean_price",
    "price_p25",
    "price_p50",
    "price_p75",
    "weekend_share",
    "morning_share",
    "evening_share",
    "top_category_share",
)
ITEM_WINDOWS = tuple(f"{name}_{days}d" for name in ("popularity", "buyers") for days in WINDOWS_DAYS)
ITEM_FEATURES = (
    *ITEM_WINDOWS,
    "buyers",
    "trend",
    "repurchase_rate",
    "age_days",
    "last_sold_days",
    "price",
    "price_position",
    "category_code",
    "category_popularity_28d",
    "category_share",
)
PAIR_FEATURES = (
    "times_bought",
    "days_since_last",
    "days_since_first",
    "mean_interval_days",
    "overdue",
    "quantity_sum",
    "share_of_baskets",
)
QUANTITY = PAIR_FEATURES.index("quantity_sum")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Features of the (person, item) pairs with a history, sorted by (person, item); `feature_RF` as PAIR_FEATURES."""

    person_R: np.ndarray
    item_R: np.ndarray
    feature_RF: np.ndarray  # float32

    def column(self, name: str) -> np.ndarray:
        """Return one feature, float32 [R]."""
        return self.feature_RF[:, PAIR_FEATURES.index(name)]


def pair_features(
    item_N: np.ndarray,
    time_us_N: np.ndarray,
    quantity_N: np.ndarray,
    as_of_us: int,
    person_N: np.ndarray | None = None,
) -> Pairs:
    """Return what histories say about each pair at `as_of_us`: the very same call for one person and for all.

    `item_N` holds ids or codes, `person_N` ascending codes (None: one person), each person's events are sorted by time.
    Events at one moment are one basket. Taken once, an item has no interval: it and `overdue` are NaN. `overdue` is the
    time since the last in intervals of at least a day: two receipts within minutes do not make a habit.
    """
    item_N = np.asarray(item_N)
    if person_N is None and pair.ready and item_N.dtype == np.int32:
        return _of_one(item_N, np.ascontiguousarray(time_us_N), quantity_N, as_of_us)
    if person_N is None:  # in order of time already, so that sorting by item is enough
        person_N, code_N = np.zeros(len(item_N), np.int32), item_N
        order_N = np.argsort(item_N, kind="stable")
    else:
        code_N = np.unique(item_N, return_inverse=True)[1]
        order_N = np.lexsort((time_us_N, code_N, person_N))
    person_S, code_S, time_S = person_N[order_N], code_N[order_N], time_us_N[order_N]
    first_S = _starts(person_S, code_S)
    start_R = np.flatnonzero(first_S)
    stop_R = np.append(start_R[1:], len(code_S))
    if not len(start_R):
        empty = np.zeros((0, len(PAIR_FEATURES)), np.float32)
        return Pairs(person_R=person_S, item_R=item_N[order_N], feature_RF=empty)
    times_R = np.add.reduceat((first_S | _starts(time_S)).astype(np.int64), start_R)
    last_R, oldest_R = time_S[stop_R - 1], time_S[start_R]
    since_last_R = np.maximum(as_of_us - last_R, 0) / DAY_US
    with np.errstate(divide="ignore", invalid="ignore"):
        interval_R = np.where(times_R > 1, (last_R - oldest_R) / DAY_US / (times_R - 1), np.nan)
        overdue_R = since_last_R / np.maximum(interval_R, 1.0)
    feature_RF = np.column_stack(
        (
            times_R,
            since_last_R,
            np.maximum(as_of_us - oldest_R, 0) / DAY_US,
            interval_R,
            overdue_R,
            np.add.reduceat(quantity_N[order_N].astype(np.float64), start_R),
            times_R / _baskets(person_N, time_us_N)[person_S[start_R]],
        )
    )
    return Pairs(
        person_R=person_S[start_R], item_R=item_N[order_N[start_R]], feature_RF=feature_RF.astype(np.float32)
    )


def _of_one(item_N: np.ndarray, time_us_N: np.ndarray, quantity_N: np.ndarray, as_of_us: int) -> Pairs:
    """Return what `pair_features` does of one person, to the bit, by a compiled loop: these arrays are too short for passes."""
    order_N = np.argsort(item_N, kind="stable")
    start_N = np.empty(len(item_N), np.int64)
    feature_NF = np.empty((len(item_N), len(PAIR_FEATURES)), np.float32)
    count_1 = np.zeros(1, np.int64)
    pair(np.ascontiguousarray(item_N), time_us_N, order_N, as_of_us, start_N, feature_NF, count_1)
    start_R = start_N[: count_1[0]]
    feature_RF = feature_NF[: len(start_R)]
    if len(start_R):  # added up as it is for all people: numpy's sums of eight and more go by parts
        feature_RF[:, QUANTITY] = np.add.reduceat(quantity_N[order_N].astype(np.float64), start_R)
    return Pairs(
        person_R=np.zeros(len(start_R), np.int32), item_R=item_N[order_N[start_R]], feature_RF=feature_RF
    )


@loop("void(int32[::1], int64[::1], int64[::1], int64, int64[::1], float32[:,::1], int64[::1])")
def pair(item_N, time_N, order_N, as_of, start_N, feature_NF, count_1):  # type: ignore[no-untyped-def]
    """Fill in the features of each pair but for the quantity, where its events begin by item, and how many pairs there are."""
    events, day = len(item_N), np.float64(DAY_US)
    baskets = np.int64(0)
    for n in range(events):
        if n == 0 or time_N[n] != time_N[n - 1]:
            baskets += 1
    r = np.int64(-1)
    times = np.int64(0)
    for s in range(events):
        at = order_N[s]
        before = order_N[s - 1] if s else at
        fresh = s == 0 or item_N[at] != item_N[before]
        if fresh:
            r += 1
            start_N[r] = s
            times = np.int64(0)
        if fresh or time_N[at] != time_N[before]:
            times += 1
        if s + 1 < events and item_N[order_N[s + 1]] == item_N[at]:
            continue
        last, oldest = time_N[at], time_N[order_N[start_N[r]]]
        since_last = np.float64(max(as_of - last, 0)) / day
        interval = np.nan
        if times > 1:
            interval = np.float64(last - oldest) / day / np.float64(times - 1)
        feature_NF[r, 0] = times
        feature_NF[r, 1] = since_last
        feature_NF[r, 2] = np.float64(max(as_of - oldest, 0)) / day
        feature_NF[r, 3] = interval
        feature_NF[r, 4] = since_last / (1.0 if interval < 1.0 else interval)
        feature_NF[r, 6] = np.float64(times) / np.float64(baskets)
    count_1[0] = r + 1


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Say where a run of equal keys starts, bool [N]."""
    starts_N = np.zeros(len(keys[0]), bool)
    starts_N[:1] = True
    for key_N in keys:
        starts_N[1:] |= key_N[1:] != key_N[:-1]
    return starts_N


def _baskets(person_N: np.ndarray, time_us_N: np.ndarray) -> np.ndarray:
    """Return the number of moments at which each person code took something, int64 [P]."""
    return np.bincount(person_N[_starts(person_N, time_us_N)])


def prepare(con: duckdb.DuckDBPyConnection, as_of_us: int) -> None:
    """Make the tables that the features are read from, out of `taken` and `catalogue`.

    `taken` has person, item, time_us, basket, quantity, price (null: not known); `catalogue` id, category, price, available_us.
    `visit` has one row per basket, `bought` one per pair; both reach as far back as `taken` does.
    """
    ages = ", ".join(f"{as_of_us - days * DAY_US} AS from_{days}" for days in WINDOWS_DAYS)
    con.execute(f"CREATE OR REPLACE TEMP TABLE moment AS SELECT {as_of_us} AS as_of, {ages}")
    con.execute(_VISIT)
    con.execute(_BOUGHT)
    con.execute(_SHELF)


def _per_window(expression: str, name: str) -> str:
    """Repeat an aggregate for each window; `{from_us}` is the window's start."""
    parts = (f"{expression.format(from_us=f'from_{days}')} AS {name}_{days}d" for days in WINDOWS_DAYS)
    return ", ".join(parts)


_VISIT = """
CREATE OR REPLACE TEMP TABLE visit AS
SELECT person, basket, max(time_us) AS time_us, count(*) AS lines,
    sum(CAST(round(quantity * 1e4) AS HUGEINT)) AS quantity,
    sum(CAST(round(price * quantity * 1e4) AS HUGEINT)) AS spend
FROM taken GROUP BY person, basket
"""
_BOUGHT = f"""
CREATE OR REPLACE TEMP TABLE bought AS
SELECT person, item, count(*) AS n, count(DISTINCT basket) AS baskets, min(time_us) AS first_us, max(time_us) AS last_us,
    {_per_window("count(*) FILTER (time_us >= {from_us})", "n")}
FROM taken, moment GROUP BY person, item
"""
# The shelf is the first level of the category. `code` numbers full categories in sorted order, from 0.
_SHELF = """
CREATE OR REPLACE TEMP TABLE shelf AS
SELECT id AS item, split_part(category, ' > ', 1) AS shelf,
    CASE WHEN category IS NULL THEN NULL ELSE dense_rank() OVER (ORDER BY category NULLS LAST) - 1 END AS code,
    price AS list_price, available_us
FROM catalogue
"""

# Hours and weekdays are UTC, as all times are: 1970-01-01 was a Thursday, hence + 3 for Monday = 0.
PERSON_SQL = f"""
WITH visits AS (
    SELECT person, count(*) AS baskets, min(time_us) AS first_us, max(time_us) AS last_us, sum(lines) AS lines,
        {_per_window("count(*) FILTER (time_us >= {from_us})", "baskets")},
        {_per_window("coalesce(sum(quantity) FILTER (time_us >= {from_us}), 0) / 1e4", "quantity")},
        {_per_window("coalesce(sum(spend) FILTER (time_us >= {from_us}), 0) / 1e4", "spend")},
        count(*) FILTER ((time_us // {DAY_US} + 3) % 7 >= 5) AS weekend,
        count(*) FILTER (time_us % {DAY_US} < {DAY_US // 2}) AS morning,
        count(*) FILTER (time_us % {DAY_US} >= {DAY_US * 17 // 24}) AS evening
    FROM visit, moment GROUP BY person
), prices AS (
    SELECT person, avg(CAST(round(price * 1e4) AS BIGINT)) / 1e4 AS mean_price,
        quantile_cont(price, [0.25, 0.5, 0.75]) AS quantiles
    FROM taken WHERE price IS NOT NULL GROUP BY person
), items AS (
    SELECT person, count(*) AS distinct_items FROM bought GROUP BY person
), shelves AS (
    SELECT person, shelf, sum(n) AS n, sum(sum(n)) OVER (PARTITION BY person) AS total
    FROM bought JOIN shelf USING (item) WHERE shelf IS NOT NULL GROUP BY person, shelf
), affinity AS (
    SELECT person, list(shelf ORDER BY n DESC, shelf)[1:{AFFINITIES}] AS names,
        list(CAST(n / total AS FLOAT) ORDER BY n DESC, shelf)[1:{AFFINITIES}] AS shares
    FROM shelves GROUP BY person
)
SELECT v.person, (as_of - last_us) / {DAY_US} AS recency_days, (as_of - first_us) / {DAY_US} AS tenure_days, v.* EXCLUDE (person),
    lines / baskets AS basket_size,
    CASE WHEN baskets > 1 THEN (last_us - first_us) / {DAY_US} / (baskets - 1) END AS basket_interval_days,
    distinct_items, 1 - distinct_items / lines AS repurchase_share, mean_price,
    quantiles[1] AS price_p25, quantiles[2] AS price_p50, quantiles[3] AS price_p75,
    weekend / baskets AS weekend_share, morning / baskets AS morning_share, evening / baskets AS evening_share,
    shares[1] AS top_category_share, coalesce(names, []) AS affinity_categories, coalesce(shares, []) AS affinity_shares
FROM visits v JOIN items USING (person) LEFT JOIN prices USING (person) LEFT JOIN affinity USING (person), moment
ORDER BY v.person
"""

ITEM_SQL = f"""
WITH sales AS (
    SELECT item, count(*) AS buyers, count(*) FILTER (baskets > 1) / count(*) AS repurchase_rate,
        min(first_us) AS first_us, max(last_us) AS last_us,
        {", ".join(f"sum(n_{days}d) AS popularity_{days}d" for days in WINDOWS_DAYS)},
        {", ".join(f"count(*) FILTER (n_{days}d > 0) AS buyers_{days}d" for days in WINDOWS_DAYS)}
    FROM bought GROUP BY item
), paid AS (
    SELECT item, quantile_cont(price, 0.5) AS price FROM taken WHERE price IS NOT NULL GROUP BY item
), known AS (
    SELECT coalesce(s.item, sales.item) AS item, coalesce(buyers, 0) AS buyers, repurchase_rate,
        {", ".join(f"coalesce({name}, 0) AS {name}" for name in ITEM_WINDOWS)},
        least(first_us, available_us) AS born_us, last_us, shelf, code, coalesce(paid.price, list_price) AS price
    FROM shelf s FULL JOIN sales USING (item) LEFT JOIN paid USING (item), moment
    WHERE sales.item IS NOT NULL OR available_us IS NULL OR available_us <= as_of
)
SELECT item, {", ".join(ITEM_WINDOWS)}, buyers,
    ln((popularity_7d + 1) / (popularity_28d / 4 + 1)) AS trend, repurchase_rate,
    (as_of - born_us) / {DAY_US} AS age_days, (as_of - last_us) / {DAY_US} AS last_sold_days, price,
    CASE WHEN price IS NOT NULL THEN percent_rank() OVER (PARTITION BY shelf, price IS NULL ORDER BY price) END AS price_position,
    code AS category_code,
    CASE WHEN shelf IS NOT NULL THEN sum(popularity_28d) OVER (PARTITION BY shelf) END AS category_popularity_28d,
    CASE WHEN shelf IS NOT NULL AND sum(popularity_28d) OVER (PARTITION BY shelf) > 0
        THEN popularity_28d / sum(popularity_28d) OVER (PARTITION BY shelf) END AS category_share
FROM known, moment ORDER BY item
"""

# The latest events of each person, oldest first; quantity and id only settle what (time, item) leaves open.
HISTORY_SQL = """
SELECT person, item, time_us, CAST(quantity AS FLOAT) AS quantity FROM taken
WHERE person BETWEEN $first AND $last
QUALIFY row_number() OVER (PARTITION BY person ORDER BY time_us DESC, item DESC, quantity DESC, id DESC) <= $cap
ORDER BY person, time_us, item, quantity, id
"""
