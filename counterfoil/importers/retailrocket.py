"""RetailRocket-style events: views, carts and transactions of anonymous visitors, with times in milliseconds.

Beside `events.csv` may lie `item_properties*.csv` (timestamp, itemid, property, value): the latest `categoryid` becomes the
category, the latest `available` the stock. A row that comes twice in every column is one event.
"""

from pathlib import Path

from counterfoil.errors import ContractError
from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.sql import event_id
from counterfoil.importers.table import open_table

KIND = "retailrocket"
VERSION = 1
ID = event_id("rr", "visitorid", "timestamp", "event", "itemid", "coalesce(transactionid, '')")

EVENTS = """
SELECT {id} AS id,
       CASE WHEN abs(TRY_CAST(timestamp AS BIGINT)) < 9e15
            THEN make_timestamptz(TRY_CAST(timestamp AS BIGINT) * 1000) END AS time,
       timestamp AS given_time, visitorid AS person,
       CASE event WHEN 'addtocart' THEN 'cart' WHEN 'transaction' THEN 'purchase' ELSE event END AS kind,
       transactionid AS session, itemid AS item, 'web' AS channel
FROM {events}
"""
ITEMS = """
WITH latest AS (
    SELECT itemid, property, arg_max(value, (TRY_CAST(timestamp AS BIGINT), value)) AS value
    FROM {properties} WHERE property IN ('categoryid', 'available') GROUP BY ALL)
SELECT itemid AS id, max(value) FILTER (property = 'categoryid') AS category,
       max(value) FILTER (property = 'available') AS in_stock
FROM latest GROUP BY itemid
"""


def retailrocket(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of a file of events, or of a folder with `events.csv` and perhaps `item_properties*.csv`.

    Raises ContractError when the files are not that.
    """
    place = existing(path, KIND)
    files = tuple(sorted(place.glob("events.*"))) if place.is_dir() else (place,)
    if not files:
        raise ContractError(f"{place} holds no events.csv; give the file, or the folder that it lies in")
    about = tuple(sorted(place.glob("item_properties*.csv*"))) if place.is_dir() else ()
    events = open_table(files[:1], "events")
    events.require("timestamp", "visitorid", "event", "itemid", "transactionid")
    properties = open_table(about, "items") if about else None
    if properties:
        properties.require("timestamp", "itemid", "property", "value")
    return Source(
        kind=KIND,
        name="RetailRocket events",
        digest=digest(KIND, VERSION, (*files[:1], *about)),
        events=EVENTS.format(events=events.relation, id=ID),
        # Several properties make one item: no row for a row, hence no count of lines; what cannot be read goes to quarantine.
        items=ITEMS.format(properties=properties.relation) if properties else None,
        delimited=(("events", events.text),) if events.text else (),
    )
