import dataclasses
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from bentos import snapshot
from bentos.recommend import person as people
from bentos.recommend.asked import Question
from bentos.recommend.choose import Chosen
from bentos.recommend.known import gather
from bentos.recommend.person import People, Person
from bentos.recommend.query import features_of, history_of, lines_of
from bentos.recommend.reasons import Reasons
from bentos.recommend.recent import NOTHING
from bentos.recommend.request import Filters
from bentos.recommend.rules import Catalogue
from bentos.recommend.sources import BRAND, SEGMENT, Sources
from bentos.recommend.steer import without_rules
from bentos.snapshot import Snapshot, coded
from counterfoil.errors import UnavailableError
from counterfoil.pseudonym import pseudonym
from feature_repo.transforms import PAIR_FEATURES
from models.data import DAY_US, Interactions
from models.dataset import read
from tests import bento_shop
from tests.bento_shop import AS_OF, AS_OF_US, ITEMS, MemoryOnline, MemoryView

KEY = "key"
ABOUT = {
    "person_names": ["recency_days", "unheard_of"],
    "item_names": ["popularity_28d", "price"],
    "pair_names": list(PAIR_FEATURES),
}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("stages")
    snapshot.write(read(bento_shop.write_dataset(root / "dataset")), root / "data")
    return snapshot.read(root / "data", AS_OF_US)


def buyer(*days_and_items: tuple[float, str], affinity: dict[str, float] | None = None) -> Person:
    """Return a person who took items some days before the as-of, oldest first."""
    rows = sorted(days_and_items, reverse=True)
    return Person(
        features={"recency_days": 1.5},
        item_ids=tuple(item for _, item in rows),
        time_us_N=np.array([AS_OF_US - int(days * DAY_US) for days, _ in rows], np.int64),
        quantity_N=np.ones(len(rows), np.float32),
        affinity=affinity or {},
    )


def past(person: Person, items: Snapshot, as_of_us: int, cap: int) -> Interactions:
    return history_of(lines_of(person, items, as_of_us), items, cap)


def test_histories_keep_what_the_catalogue_knows_before_the_moment(items: Snapshot) -> None:
    person = buyer((3, "tea"), (2, "unheard of"), (1, "bread"), (-1, "milk"))
    history = past(person, items, AS_OF_US, 1000)
    assert history.item_N.tolist() == [3, 0]
    assert history.people == 1 and history.items == 40


def test_histories_are_sorted_by_time_then_item_and_capped_to_the_latest(items: Snapshot) -> None:
    person = buyer((3, "tea"), (1, "milk"), (1, "bread"), (2, "soap"))
    assert past(person, items, AS_OF_US, 3).item_N.tolist() == [5, 0, 4]


def test_features_come_in_the_models_order_and_absent_ones_are_nan(items: Snapshot) -> None:
    person = buyer((12, "coffee"), (22, "coffee"), (3, "tea"))
    features = features_of(person, lines_of(person, items, AS_OF_US), items, ABOUT, AS_OF_US, 1000)
    assert features.person_PF[0, 0] == 1.5 and np.isnan(features.person_PF[0, 1])
    assert features.pair_item_N.tolist() == [2, 3]
    assert features.pair_NF[:, PAIR_FEATURES.index("times_bought")].tolist() == [2.0, 1.0]
    assert features.pair_NF[:, PAIR_FEATURES.index("days_since_last")].tolist() == [12.0, 3.0]


def allowed(items: Snapshot, **filters: object) -> list[str]:
    history = past(buyer((3, "tea")), items, AS_OF_US, 10)
    rules = Catalogue(items).rules(Filters.model_validate(filters), history, AS_OF_US)
    mask_I = np.ones(40, bool) if rules.allowed_I is None else rules.allowed_I.copy()
    mask_I[[] if rules.excluded is None else rules.excluded] = False
    return [ITEMS[index] for index in np.flatnonzero(mask_I)][:9]


def test_no_filter_no_mask(items: Snapshot) -> None:
    rules = Catalogue(items).rules(Filters(), past(Person(), items, AS_OF_US, 10), AS_OF_US)
    assert (rules.allowed_I, rules.excluded, rules.said) == (None, None, ())


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"in_stock": True, "categories": ["home"]}, ["brush", "novelty"]),
        ({"categories": ["home"]}, ["soap", "brush", "novelty"]),
        ({"categories": ["food"]}, ["bread", "butter", "coffee", "tea", "milk"]),
        ({"categories": ["food > drinks", "food > bakery"]}, ["bread", "coffee", "tea"]),
        ({"categories": ["foo"]}, []),
        ({"categories": ["food >"]}, []),
        ({"price_max": 2.0}, ["bread", "butter", "coffee"]),
        ({"price_min": 2.0, "price_max": 3.5}, ["coffee", "tea", "milk", "soap"]),
        ({"price_min": 4.5, "categories": ["home"]}, ["novelty"]),
        ({"exclude_bought": True, "categories": ["food > drinks"]}, ["coffee"]),
        ({"exclude": ["bread", "no such item"], "categories": ["food > bakery"]}, []),
    ],
)
def test_filters_let_through_what_they_say(items: Snapshot, filters: dict, kept: list[str]) -> None:
    assert allowed(items, **filters) == kept


def test_what_cannot_be_had_yet_is_not_in_stock(items: Snapshot) -> None:
    history = past(Person(), items, AS_OF_US, 10)
    earlier = AS_OF_US - 11 * DAY_US
    rules = Catalogue(items).rules(Filters(in_stock=True), history, earlier)
    assert rules.allowed_I is not None and not rules.allowed_I[ITEMS.index("novelty")]


def test_each_filter_says_what_it_did(items: Snapshot) -> None:
    filters = Filters(
        in_stock=True, categories=["home"], price_min=1, price_max=2.5, exclude_bought=True, exclude=["tea"]
    )
    rules = Catalogue(items).rules(filters, past(buyer((3, "tea")), items, AS_OF_US, 10), AS_OF_US)
    assert rules.said == (
        "only what is in stock",
        "only from home",
        "only at 1 or more and 2.5 or less",
        "nothing among this person's latest 1 known interactions",
        "none of 1 items that were named",
    )


def test_what_was_bought_is_left_out_as_far_as_it_is_known_and_said_so(items: Snapshot) -> None:
    """The history is capped: what lies beyond the latest two is neither left out nor said to be."""
    history = past(buyer((30, "bread"), (12, "coffee"), (3, "tea")), items, AS_OF_US, 2)
    rules = Catalogue(items).rules(Filters(exclude_bought=True), history, AS_OF_US)
    assert rules.excluded is not None and rules.excluded.tolist() == [2, 3]
    assert rules.said == ("nothing among this person's latest 2 known interactions",)


def test_without_a_history_nothing_is_said_to_be_left_out(items: Snapshot) -> None:
    history = past(Person(degraded=("gone",)), items, AS_OF_US, 10)
    rules = Catalogue(items).rules(Filters(exclude_bought=True), history, AS_OF_US)
    assert (rules.excluded, rules.said) == (None, ())


def reasons(
    items: Snapshot,
    person: Person,
    item: str,
    sources: tuple[str, ...] = ("als",),
    at_us: int = AS_OF_US,
    measured: tuple[tuple, ...] = (),
):
    at = datetime.fromtimestamp(at_us / 1e6, UTC)
    asked = Question(person="p", n=1, filters=Filters(), moment=at, recorded={})
    catalogue = Catalogue(items)
    steer = without_rules(items, catalogue.by_category)
    about = {**ABOUT, "history_kinds": ["purchase"], "history_cap": 1000}
    known = gather(asked, person, NOTHING, steer, items, catalogue, about)
    chosen = Chosen(item_K=np.array([ITEMS.index(item)]), score_K=np.zeros(1), sources=[sources])
    return Reasons(items, ["purchase"], measured).of(chosen, known)[0]


def test_the_own_history_comes_first_with_its_numbers(items: Snapshot) -> None:
    person = buyer(*((days, "coffee") for days in (12, 22, 32, 42, 52)))
    assert reasons(items, person, "coffee") == ("you buy this every ten days, last 12 days ago",)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (0.2, "you bought this once, last less than a day ago"),
        (1.2, "you bought this once, last a day ago"),
        (30.0, "you bought this once, last 30 days ago"),
    ],
)
def test_days_are_said_as_people_say_them(items: Snapshot, days: float, said: str) -> None:
    assert reasons(items, buyer((days, "tea")), "tea")[0] == said


def test_taking_it_twice_at_once_counts_as_one_time(items: Snapshot) -> None:
    assert reasons(items, buyer((2, "tea"), (2, "tea")), "tea")[0] == "you bought this once, last 2 days ago"


def test_what_goes_together_names_the_partner_that_the_person_has(items: Snapshot) -> None:
    said = reasons(items, buyer((3, "bread")), "butter", ("itemknn",))
    assert said == ("often bought together with BREAD, which you bought", "popular this month")
    assert "bread" not in " ".join(reasons(items, buyer((3, "tea")), "butter", ("itemknn",))).lower()


def test_what_goes_together_is_said_where_that_is_why_it_is_there(items: Snapshot) -> None:
    """Not of what somebody takes anyway, nor where another source proposed it: leaving the partner out would move nothing."""
    assert "BREAD" not in " ".join(reasons(items, buyer((3, "bread")), "butter", ("itemknn", "als")))
    assert "BREAD" not in " ".join(reasons(items, buyer((3, "bread"), (2, "butter")), "butter", ("itemknn",)))


def test_a_favourite_shelf_is_named(items: Snapshot) -> None:
    person = buyer((3, "bread"), affinity={"home": 0.5, "food": 0.3})
    assert "from home, where you often buy" in reasons(items, person, "novelty", (SEGMENT,))
    assert "from home, where you often buy" not in reasons(items, person, "novelty", ("als",))
    assert "from home, where you often buy" not in reasons(items, buyer((3, "bread")), "novelty", (SEGMENT,))


def test_what_was_measured_of_the_model_says_nothing_of_the_other_sources_and_the_other_way_round(
    items: Snapshot,
) -> None:
    person = buyer((3, "bread"), affinity={"home": 0.5, "food": 0.3})
    home, own = "from home, where you often buy", "you bought this once, last 3 days ago"
    of_model, of_others = ("shelf", None, 20, 0.1, 0.0), ("shelf", [], 20, 0.1, 0.0)
    assert home in reasons(items, person, "novelty", (SEGMENT,), measured=(of_model,))
    assert home not in reasons(items, person, "novelty", (SEGMENT,), measured=(of_others,))
    well = ("shelf", [SEGMENT], 20, 1.0, 0.0)
    assert home in reasons(items, person, "novelty", (SEGMENT,), measured=(of_others, well))
    assert own in reasons(items, person, "bread", measured=(("own", [], 20, 0.1, 0.0),))
    assert own not in reasons(items, person, "bread", measured=(("own", None, 20, 0.1, 0.0),))


def test_what_is_new_from_a_brand_that_somebody_takes_says_so(items: Snapshot) -> None:
    branded = dataclasses.replace(
        items, brand=coded(pa.chunked_array([["Acme" if n in (3, 7) else None for n in range(40)]]))
    )
    listed = Sources(branded).brand(past(buyer((3, "tea"), (2, "bread")), branded, AS_OF_US, 10), AS_OF_US)
    assert (listed.item_K.tolist(), listed.measure_K.tolist()[0] > 0) == ([7], True)
    assert reasons(branded, buyer((3, "tea")), "novelty", (BRAND,)) == ("new from Acme, which you like",)
    assert not len(Sources(branded).brand(past(buyer((2, "bread")), branded, AS_OF_US, 10), AS_OF_US).item_K)
    later = Sources(branded).brand(past(buyer((3, "tea")), branded, AS_OF_US, 10), AS_OF_US + 60 * DAY_US)
    assert not len(later.item_K)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (1, "day"),
        (3.2, "three days"),
        (7.6, "week"),
        (10, "ten days"),
        (18, "18 days"),
        (20.5, "three weeks"),
        (77, "11 weeks"),
    ],
)
def test_intervals_are_said_as_people_say_them(items: Snapshot, days: float, said: str) -> None:
    person = buyer(*((1 + days * times, "tea") for times in range(4)))
    assert reasons(items, person, "tea") == (f"you buy this every {said}, last a day ago",)


def test_old_counts_are_not_called_this_month(items: Snapshot) -> None:
    assert reasons(items, Person(), "bread", at_us=AS_OF_US + 60 * DAY_US) == (
        "popular in the month before 1 March 2026",
    )


def test_there_is_always_a_reason_and_it_is_true_of_the_source(items: Snapshot) -> None:
    quiet, later = "coffee", AS_OF_US + 60 * DAY_US
    unsold = dataclasses.replace(items, recent_I=items.recent_I * 0)
    assert reasons(unsold, buyer((3, "tea")), quiet, ("als",), later) == (
        "people who buy like you bought this",
    )
    assert reasons(unsold, Person(), quiet, ("als",), later) == ("others bought this often",)
    assert reasons(unsold, buyer((3, "tea")), quiet, ("popularity",), later) == ("others bought this often",)


def test_people_are_found_by_their_pseudonym() -> None:
    found = People(lambda: MemoryOnline(KEY)).find(pseudonym("p07", KEY), AS_OF)
    assert len(found.item_ids) == 73 and found.degraded == () and found.affinity == {"home": 0.5}
    unknown = People(lambda: MemoryOnline(KEY)).find("p-unknown", AS_OF)
    assert (unknown.item_ids, unknown.degraded, unknown.event_time) == ((), (), None)


class Failing:
    """A store that fails as often as it is told to, then answers."""

    def __init__(self, failures: int, fault: Exception) -> None:
        self.failures, self.fault, self.asked = failures, fault, 0

    def person(self, person_id: str | None, now: datetime, session: str | None = None) -> MemoryView:
        self.asked += 1
        if self.asked <= self.failures:
            raise self.fault
        return MemoryView([], np.zeros(0), np.zeros(0))


@pytest.mark.parametrize(
    "fault", [UnavailableError("gone"), ValueError("MATERIALIZING"), OSError("broken pipe"), KeyError("x")]
)
def test_whatever_the_store_raises_the_answer_degrades(fault: Exception) -> None:
    assert People(lambda: Failing(1, fault)).find("p1", AS_OF).degraded == (people.GONE,)


def test_a_failing_store_is_left_alone_for_a_while_and_then_asked_again() -> None:
    store = Failing(1, UnavailableError("gone"))
    found = People(lambda: store, pause_seconds=0.1)
    assert found.find("p1", AS_OF).degraded == (people.GONE,)
    assert found.find("p1", AS_OF).degraded == (people.GONE,)
    assert store.asked == 1
    time.sleep(0.15)
    assert found.find("p1", AS_OF).degraded == ()
    assert store.asked == 2


def test_a_store_that_hangs_costs_the_deadline_and_no_more() -> None:
    class Hanging:
        def person(self, person_id: str | None, now: datetime, session: str | None = None) -> MemoryView:
            time.sleep(1.0)
            return MemoryView([], np.zeros(0), np.zeros(0))

    found = People(Hanging, deadline_seconds=0.05)
    start = time.perf_counter()
    assert found.find("p1", AS_OF).degraded == (people.GONE,)
    assert time.perf_counter() - start < 0.8


def test_a_store_that_comes_later_is_found() -> None:
    attempts: list[int] = []

    def connect() -> MemoryOnline:
        attempts.append(1)
        if len(attempts) == 1:
            raise UnavailableError("no registry yet")
        return MemoryOnline(KEY)

    found = People(connect, pause_seconds=0.0)
    found.warm()
    assert found.find("p1", AS_OF).degraded == ()
    assert len(attempts) == 2


def test_nobody_is_not_looked_up() -> None:
    store = Failing(9, UnavailableError("gone"))
    assert People(lambda: store).find(None, AS_OF).degraded == ()
    assert store.asked == 0


def test_rows_that_may_not_be_used_say_so() -> None:
    empty = MemoryView([], np.zeros(0), np.zeros(0), event_time=AS_OF - timedelta(days=99), expired=True)
    assert people.known(empty, AS_OF).degraded == (people.EXPIRED,)
    young = MemoryView([], np.zeros(0), np.zeros(0), event_time=datetime(2030, 1, 1, tzinfo=UTC))
    assert people.known(young, AS_OF).degraded == (people.YOUNGER,)
