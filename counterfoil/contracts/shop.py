"""The three contracts of a shop: behaviour event, item, person."""

from datetime import UTC, datetime
from typing import get_args

from counterfoil.contracts.field import Contract, Field
from counterfoil.types import EventKind

KINDS: tuple[str, ...] = get_args(EventKind)
ABOUT_ITEM = ("view", "click", "favourite", "cart", "purchase", "rating", "impression")
FIRST_TIME = datetime(1990, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2100, 1, 1, tzinfo=UTC)

EVENT = Contract(
    name="event",
    key="id",
    fields=(
        Field(name="id", type="text", says="identity; the same event twice has the same one", required=True, max_length=128),
        Field(name="time", type="time", says="when it happened, UTC", required=True, minimum=FIRST_TIME, maximum=LAST_TIME),
        Field(name="person", type="text", says="pseudonym of who did it", required=True, max_length=128, personal=True),
        Field(name="kind", type="text", says="what was done", required=True, values=KINDS),
        Field(name="session", type="text", says="visit or basket", max_length=128, personal=True),
        Field(name="item", type="text", says="to which item", required_for=ABOUT_ITEM, max_length=128),
        Field(name="query", type="text", says="what was searched, or said", required_for=("search", "message"), max_length=4096,
              personal=True),
        Field(name="position", type="int", says="place in the list that was shown, from 1", minimum=1, maximum=1_000_000),
        Field(name="dwell_ms", type="int", says="how long it was looked at", minimum=0, maximum=86_400_000),
        Field(name="quantity", type="float", says="how many, or a rating; below zero: given back", minimum=-1e6, maximum=1e6),
        Field(name="price", type="float", says="price of one, in the shop's currency", minimum=0, maximum=1e7),
        Field(name="channel", type="text", says="where: store, web, app, mail, campaign", max_length=64),
        Field(name="receipt", type="text", says="receipt of the answer that it answers", max_length=64),
    ),
)  # fmt: skip

ITEM = Contract(
    name="item",
    key="id",
    fields=(
        Field(name="id", type="text", says="identity", required=True, max_length=128),
        Field(name="title", type="text", says="name for people", max_length=1024),
        Field(name="text", type="text", says="description", max_length=65_536),
        Field(name="category", type="text", says="shelf, from wide to narrow, parted by ' > '", max_length=512),
        Field(name="brand", type="text", says="brand or maker", max_length=256),
        Field(name="image", type="text", says="picture: path of a file, or an address", max_length=2048),
        Field(name="price", type="float", says="price of one", minimum=0, maximum=1e7),
        Field(name="available_from", type="time", says="since when it can be had", minimum=FIRST_TIME, maximum=LAST_TIME),
        Field(name="in_stock", type="int", says="1 when it can be had now, 0 when not", minimum=0, maximum=1),
        Field(name="seller", type="text", says="who sells it, where that is not the shop itself", max_length=256),
        Field(name="available_until", type="time", says="until when it can be had; no longer at that moment",
              minimum=FIRST_TIME, maximum=LAST_TIME),
        Field(name="hidden", type="int", says="1 when it must not be shown, 0 when it may", minimum=0, maximum=1),
    ),
)  # fmt: skip

PERSON = Contract(
    name="person",
    key="id",
    fields=(
        Field(name="id", type="text", says="pseudonym", required=True, max_length=128, personal=True),
        Field(name="age", type="text", says="age band", max_length=64, personal=True),
        Field(name="income", type="text", says="income band", max_length=64, personal=True),
        Field(name="household_size", type="text", says="people in the household", max_length=64, personal=True),
        Field(name="segment", type="text", says="the shop's own segment", max_length=128, personal=True),
        Field(name="country", type="text", says="country", max_length=64, personal=True),
    ),
)  # fmt: skip
