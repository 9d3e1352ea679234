"""One chunk of the past: who visits, what they are shown, what they do. Vectorised; no state passes between chunks.

Shapes: S sessions, L shown lists, V views, N events, G days of the chunk, M candidates.
Lists without a query stand in random order, so that clicks by position show the bias of position alone; answers to
a search are sorted by popularity with noise, as shops do, so that there position and appeal are confounded.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from counterfoil.contracts import KINDS
from counterfoil.simulator import behaviour, calendar, wording
from counterfoil.simulator.calendar import Chunk
from counterfoil.simulator.chance import hashed
from counterfoil.simulator.world import CHANNELS, Cycles, World

DAY_US, SECOND_US = 86_400_000_000, 1_000_000
HOME_SHARE, SEARCH_SHARE = 0.32, 0.22  # of visits, those that see a list
VIEWS = 4.0  # mean number of pages opened without a list
AFFINITY = 2.5  # how strongly taste steers which shelf a person walks to
CHOICES = 4  # pages that a person weighs up before opening one
LONGEST_S = 4_800
KIND = {kind: code for code, kind in enumerate(KINDS)}
STORE = CHANNELS.index("store")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Events as parallel columns: codes and numbers; -1 and NaN stand for absent. `session_N` numbers the chunk's visits."""

    time_N: np.ndarray
    person_N: np.ndarray
    kind_N: np.ndarray
    session_N: np.ndarray
    item_N: np.ndarray
    query_N: np.ndarray
    position_N: np.ndarray
    dwell_N: np.ndarray
    quantity_N: np.ndarray
    price_N: np.ndarray
    channel_N: np.ndarray

    def __len__(self) -> int:
        return len(self.time_N)


@dataclass(frozen=True, kw_only=True)
class Visits:
    """The visits of a chunk. `cut_SC` is the cumulative share of each shelf in what a person walks to."""

    day_S: np.ndarray
    person_S: np.ndarray
    start_S: np.ndarray
    channel_S: np.ndarray
    cut_SC: np.ndarray

    def __len__(self) -> int:
        return len(self.day_S)


@dataclass(frozen=True, kw_only=True)
class Stock:
    """Popularity on the days of a chunk: `flat` is the running sum on the shelf, day after day, each day adding up to 1."""

    first_day: int
    flat: np.ndarray
    items: int

    def draw(
        self, rng: np.random.Generator, day: np.ndarray, start: np.ndarray, stop: np.ndarray
    ) -> np.ndarray:
        """Draw a shelf place by popularity from the places [start, stop) on each day; shapes broadcast."""
        row = (day - self.first_day) * self.items
        low = np.where(start > 0, self.flat[row + start - 1], day - self.first_day)
        high = self.flat[row + stop - 1]
        goal = low + rng.random(np.broadcast_shapes(day.shape, start.shape)) * (high - low)
        goal = np.minimum(
            goal, np.nextafter(high, -np.inf)
        )  # rounding must not lead past the last item that is there
        return np.searchsorted(self.flat, goal, side="right") - row


def visits_rate(world: World, rng: np.random.Generator) -> float:
    """Return the mean number of events of a visit, measured on a pilot of a few thousand."""
    days = np.unique(np.linspace(0, world.config.days - 1, 3).astype(int))
    sessions = events = 0
    for day in days:
        chunk = Chunk(number=0, first_day=int(day), last_day=int(day))
        sessions += 1500
        events += len(generate(world, chunk, np.array([1500]), None, rng))
    return events / sessions


def generate(
    world: World, chunk: Chunk, count_G: np.ndarray, cycles: Cycles | None, rng: np.random.Generator
) -> Rows:
    """Return the events of a chunk, sorted by time; `count_G` says how many visits there are on each of its days."""
    stock = _stock(world, chunk)
    visits = _visits(world, chunk, count_G, rng)
    lists, clicked = _lists(world, stock, visits, rng)
    opened = _views(world, stock, visits, rng)
    parts = [*lists, *_pages(world, visits, _joined(clicked, opened), rng)]
    if cycles is not None:
        parts += _restock(world, chunk, cycles, len(visits), rng)
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)}
    order_N = np.argsort(columns["time_N"], kind="stable")
    return Rows(**{name: column_N[order_N] for name, column_N in columns.items()})


def _stock(world: World, chunk: Chunk) -> Stock:
    flat_GI = np.empty((len(chunk.days), world.config.items))
    for row, day in enumerate(chunk.days):
        log_I = world.log_weights(int(day))
        sum_I = np.cumsum(np.exp(log_I - log_I.max())[world.shelf_I])
        flat_GI[row] = sum_I / sum_I[-1] + row
    return Stock(first_day=chunk.first_day, flat=flat_GI.ravel(), items=world.config.items)


def _visits(world: World, chunk: Chunk, count_G: np.ndarray, rng: np.random.Generator) -> Visits:
    day_S = np.repeat(chunk.days, count_G)
    share_P = np.r_[0.0, np.cumsum(world.people.activity_P)]
    there_G = np.searchsorted(world.people.arrival_P, chunk.days, side="right")
    share_S = (chunk.block + rng.random(len(day_S))) / chunk.blocks * np.repeat(share_P[there_G], count_G)
    person_S = np.searchsorted(share_P, share_S, side="right") - 1
    person_S = np.minimum(person_S, np.repeat(there_G, count_G) - 1)
    own_S = world.people.channel_P[person_S]
    other_S = rng.integers(0, 2, len(day_S)).astype(np.int8)
    return Visits(
        day_S=day_S,
        person_S=person_S,
        start_S=(calendar.hours(rng, len(day_S)) * 3600e6).astype(np.int64),
        channel_S=np.where(rng.random(len(day_S)) < 0.8, own_S, other_S),
        cut_SC=_affinity(world, day_S, person_S),
    )


def _affinity(world: World, day_S: np.ndarray, person_S: np.ndarray) -> np.ndarray:
    """Return the running share of each category in what these people walk to, float32 [S, C], last column 1."""
    tastes = world.config.tastes
    taste_SD = world.people.vector_EPK[world.epoch(day_S), person_S, :tastes]
    log_SC = np.einsum("sd,cd->sc", taste_SD, (AFFINITY / 3 * world.items.centroid_CD).astype(np.float32))
    days, inverse_S = np.unique(day_S, return_inverse=True)
    size_GC = np.array([world.log_categories(int(day)) for day in days], np.float32).reshape(
        -1, world.categories
    )
    cut_SC = np.cumsum(np.exp(log_SC + size_GC[inverse_S]), axis=1)
    return cut_SC / cut_SC[:, -1:]


def _categories(cut_NC: np.ndarray, rng: np.random.Generator, width: int) -> np.ndarray:
    """Draw `width` categories for each row, int64 [N, width]."""
    draw_NM = rng.random((len(cut_NC), width), np.float32)
    code_NM = (draw_NM[:, :, None] >= cut_NC[:, None, :]).sum(axis=2)
    return np.minimum(code_NM, cut_NC.shape[1] - 1)


def _lists(
    world: World, stock: Stock, visits: Visits, rng: np.random.Generator
) -> tuple[list[Rows], tuple[np.ndarray, ...]]:
    """Return searches, impressions and clicks, and the clicked pages as (session, item, offset ms)."""
    home_S = np.flatnonzero(rng.random(len(visits)) < HOME_SHARE)
    search_S = np.flatnonzero(rng.random(len(visits)) < SEARCH_SHARE)
    query_L = np.r_[np.full(len(home_S), -1), _queries(world, visits, search_S, rng)]
    session_L = np.r_[home_S, search_S]
    shown_LM, kept_LM = _shown(world, stock, visits, session_L, query_L, rng)
    row_N, column_N = np.nonzero(kept_LM)
    session_N, item_N = session_L[row_N], shown_LM[row_N, column_N]
    examination = np.array(world.config.examination)
    epoch_N = world.epoch(visits.day_S[session_N])
    attraction_N = behaviour.attraction(world.logits(epoch_N, visits.person_S[session_N], item_N))
    clicked_N = np.flatnonzero(behaviour.clicks(rng, attraction_N, examination[column_N]))
    offset_L = rng.integers(1_000, 60_000, len(session_L))
    seen = (session_N[clicked_N], item_N[clicked_N])
    click_ms = (
        offset_L[row_N[clicked_N]] + 800 + (column_N[clicked_N] + 1) * rng.integers(300, 1500, len(clicked_N))
    )
    place_N = column_N + 1
    query_N = query_L[row_N]
    asked = query_L >= 0
    rows = [
        _rows(world, visits, "search", session_L[asked], offset_L[asked] - 500, query=query_L[asked]),
        _rows(world, visits, "impression", session_N, offset_L[row_N], item=item_N, query=query_N, position=place_N),
        _rows(world, visits, "click", *seen[:1], click_ms, item=seen[1], query=query_N[clicked_N],
              position=place_N[clicked_N]),
    ]  # fmt: skip
    return rows, (*seen, click_ms + 50)


def _queries(world: World, visits: Visits, search_S: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw what is typed: a kind of product, sometimes misspelt, sometimes with the adjective nearest to the person's taste."""
    count, tastes = len(search_S), world.config.tastes
    category_N = _categories(visits.cut_SC[search_S], rng, 1)[:, 0]
    kind_N = np.minimum(rng.geometric(0.35, count) - 1, world.kinds - 1)
    epoch_N = world.epoch(visits.day_S[search_S])
    taste_ND = world.people.vector_EPK[epoch_N, visits.person_S[search_S], :tastes]
    taste_ND = taste_ND + rng.standard_normal(taste_ND.shape, np.float32)
    strongest_N = np.abs(taste_ND).argmax(axis=1)
    adjective_N = 2 * strongest_N + (np.take_along_axis(taste_ND, strongest_N[:, None], 1)[:, 0] < 0)
    form_N = np.where(rng.random(count) < 0.3, 2 + adjective_N, rng.random(count) < 0.06)
    per_type = 2 + len(wording.adjectives(tastes))
    return (category_N * world.kinds + kind_N) * per_type + form_N


def _shown(
    world: World,
    stock: Stock,
    visits: Visits,
    session_L: np.ndarray,
    query_L: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists that are shown, item [L, M] by position, and which places are filled; no item twice in a list."""
    length = world.config.list_length
    width = length + 3
    category_LM = _categories(visits.cut_SC[session_L], rng, width)
    per_type = 2 + len(wording.adjectives(world.config.tastes))
    asked_L1 = (query_L >= 0)[:, None]
    type_L1 = np.maximum(query_L, 0)[:, None] // per_type
    near_LM = asked_L1 & (rng.random((len(query_L), width)) < 0.8)
    category_LM = np.where(asked_L1, type_L1 // world.kinds, category_LM)
    start_LM = np.where(near_LM, type_L1, category_LM * world.kinds)
    stop_LM = np.where(near_LM, type_L1 + 1, (category_LM + 1) * world.kinds)
    day_L1 = visits.day_S[session_L][:, None]
    place_LM = stock.draw(rng, day_L1, world.type_start[start_LM], world.type_start[stop_LM])
    item_LM = world.shelf_I[place_LM]
    keep_LM = _first_of_each(item_LM)
    keep_LM &= np.cumsum(keep_LM, axis=1) <= length
    noise_LM = rng.random(item_LM.shape)
    appeal_LM = world.items.log_weight_EI[world.epoch(day_L1), item_LM] - 0.7 * np.log(
        -np.log(noise_LM + 1e-12)
    )
    key_LM = np.where(keep_LM, np.where(asked_L1, -appeal_LM, noise_LM), np.inf)
    order_LM = np.argsort(key_LM, axis=1, kind="stable")[:, :length]
    return np.take_along_axis(item_LM, order_LM, 1), np.take_along_axis(keep_LM, order_LM, 1)


def _first_of_each(item_LM: np.ndarray) -> np.ndarray:
    """Return a mask of places whose item does not stand further left in the same row."""
    order_LM = np.argsort(item_LM, axis=1, kind="stable")
    sorted_LM = np.take_along_axis(item_LM, order_LM, 1)
    first_LM = np.ones(item_LM.shape, bool)
    first_LM[:, 1:] = sorted_LM[:, 1:] != sorted_LM[:, :-1]
    mask_LM = np.empty_like(first_LM)
    np.put_along_axis(mask_LM, order_LM, first_LM, 1)
    return mask_LM


def _views(world: World, stock: Stock, visits: Visits, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return the pages that people open of themselves, as (session, item, offset ms): the best of a few by taste."""
    count_S = rng.geometric(1 / (VIEWS + 1), len(visits)) - 1
    session_V = np.repeat(np.arange(len(visits)), count_S)
    category_V1 = _categories(visits.cut_SC[session_V], rng, 1)
    start_VM = np.repeat(world.type_start[category_V1 * world.kinds], CHOICES, axis=1)
    stop_VM = np.repeat(world.type_start[(category_V1 + 1) * world.kinds], CHOICES, axis=1)
    day_V = visits.day_S[session_V]
    item_VM = world.shelf_I[stock.draw(rng, day_V[:, None], start_VM, stop_VM)]
    logit_VM = world.logits(world.epoch(day_V), visits.person_S[session_V], item_VM)
    chosen_V1 = (logit_VM - np.log(rng.standard_exponential(logit_VM.shape))).argmax(axis=1)[:, None]
    step_V = np.arange(len(session_V)) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    offset_V = 5_000 + step_V * 45_000 + rng.integers(0, 40_000, len(session_V))
    return session_V, np.take_along_axis(item_VM, chosen_V1, 1)[:, 0], offset_V


def _joined(*pages: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(column) for column in zip(*pages, strict=True))


def _pages(
    world: World, visits: Visits, pages: tuple[np.ndarray, ...], rng: np.random.Generator
) -> list[Rows]:
    """Return the views of opened pages and what they led to."""
    session_V, item_V, offset_V = pages
    day_V = visits.day_S[session_V]
    logit_V = world.logits(world.epoch(day_V), visits.person_S[session_V], item_V)
    outcome = behaviour.outcomes(rng, behaviour.attraction(logit_V))
    price_V = world.prices(day_V, item_V)
    after_V = offset_V + outcome.dwell_N
    paid_V = after_V + rng.integers(30_000, 400_000, len(item_V))
    rated_V = paid_V + rng.integers(300_000, 2_000_000, len(item_V))
    kinds: tuple[tuple[str, np.ndarray, np.ndarray], ...] = (
        ("view", np.ones(len(item_V), bool), offset_V),
        ("favourite", outcome.favourite_N, after_V - outcome.dwell_N // 3),
        ("cart", outcome.cart_N, after_V),
        ("purchase", outcome.purchase_N, paid_V),
        ("rating", outcome.rated_N, rated_V),
    )
    bought_V = _quantities(rng, len(item_V))
    amount = {"cart": bought_V, "purchase": bought_V, "rating": outcome.rating_N}
    rows = []
    for kind, mask_V, offset in kinds:
        extra = {"quantity": amount[kind][mask_V]} if kind in amount else {}
        if kind in ("view", "cart", "purchase"):
            extra["price"] = price_V[mask_V]
        if kind == "view":
            extra["dwell"] = outcome.dwell_N
        rows.append(
            _rows(world, visits, kind, session_V[mask_V], offset[mask_V], item=item_V[mask_V], **extra)
        )
    return rows


def _quantities(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw how many of a thing are taken: mostly one."""
    return np.minimum(rng.geometric(0.8, count), 6).astype(np.float64)


def due(cycles: Cycles, seed: int, first_day: int, last_day: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which cycles come due on these days (row numbers) and when, in days; one turn in ten is skipped."""
    low_J = np.maximum(np.floor((first_day - cycles.first_J) / cycles.period_J - 0.15), 0).astype(np.int64)
    high_J = np.ceil((last_day + 1 - cycles.first_J) / cycles.period_J + 0.15).astype(np.int64)
    count_J = np.maximum(high_J - low_J + 1, 0)
    row_N = np.repeat(np.arange(len(count_J)), count_J)
    turn_N = np.arange(len(row_N)) - np.repeat(np.cumsum(count_J) - count_J, count_J) + low_J[row_N]
    shift_N = np.where(turn_N > 0, 0.3 * hashed(seed, row_N, turn_N) - 0.15, 0)
    time_N = cycles.first_J[row_N] + (turn_N + shift_N) * cycles.period_J[row_N]
    kept_N = (time_N >= first_day) & (time_N < last_day + 1) & (hashed(seed + 1, row_N, turn_N) < 0.9)
    return row_N[kept_N], time_N[kept_N]


def _restock(
    world: World, chunk: Chunk, cycles: Cycles, first_session: int, rng: np.random.Generator
) -> list[Rows]:
    """Return the visits in which something that was used up is bought again: view, cart, purchase."""
    row_N, day_N = due(cycles, world.config.seed, chunk.first_day, chunk.last_day)
    mine_N = row_N % chunk.blocks == chunk.block
    row_N, day_N = row_N[mine_N], day_N[mine_N].astype(np.int64)
    person_N, item_N, count = cycles.person_J[row_N], cycles.item_J[row_N], len(row_N)
    visits = Visits(
        day_S=day_N,
        person_S=person_N,
        start_S=(calendar.hours(rng, count) * 3600e6).astype(np.int64),
        channel_S=np.where(rng.random(count) < 0.5, STORE, world.people.channel_P[person_N]).astype(np.int8),
        cut_SC=np.empty((count, 0)),
    )
    all_N, price_N, bought_N = np.arange(count), world.prices(day_N, item_N), _quantities(rng, count)
    view_ms, dwell_ms = rng.integers(1_000, 20_000, count), rng.integers(2_000, 15_000, count)
    paid_ms = view_ms + dwell_ms + rng.integers(20_000, 200_000, count)
    rows = [
        _rows(world, visits, "view", all_N, view_ms, item=item_N, price=price_N, dwell=dwell_ms),
        _rows(
            world, visits, "cart", all_N, view_ms + dwell_ms, item=item_N, price=price_N, quantity=bought_N
        ),
        _rows(world, visits, "purchase", all_N, paid_ms, item=item_N, price=price_N, quantity=bought_N),
    ]
    return [replace(part, session_N=part.session_N + first_session) for part in rows]


def _rows(
    world: World,
    visits: Visits,
    kind: str,
    session_N: np.ndarray,
    offset_N: np.ndarray,
    *,
    item: np.ndarray | None = None,
    query: np.ndarray | None = None,
    position: np.ndarray | None = None,
    dwell: np.ndarray | None = None,
    quantity: np.ndarray | None = None,
    price: np.ndarray | None = None,
) -> Rows:
    """Return events of one kind; `offset_N` counts ms since the visit began and is cut off at LONGEST_S."""
    count = len(session_N)
    none, nothing = np.full(count, -1, np.int32), np.full(count, np.nan)
    offset_us = np.minimum(offset_N, LONGEST_S * 1000) * 1000
    start_us = int(world.config.start.timestamp()) * SECOND_US
    return Rows(
        time_N=start_us + visits.day_S[session_N] * DAY_US + visits.start_S[session_N] + offset_us,
        person_N=visits.person_S[session_N].astype(np.int32),
        kind_N=np.full(count, KIND[kind], np.int8),
        session_N=session_N.astype(np.int64),
        item_N=none if item is None else item.astype(np.int32),
        query_N=none if query is None else query.astype(np.int32),
        position_N=none if position is None else position.astype(np.int32),
        dwell_N=none if dwell is None else dwell.astype(np.int32),
        quantity_N=nothing if quantity is None else quantity,
        price_N=nothing if price is None else price,
        channel_N=visits.channel_S[session_N].astype(np.int8),
    )
