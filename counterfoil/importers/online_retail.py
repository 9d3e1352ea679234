"""UCI Online Retail: the invoice lines of a British gift shop on the web.

Every line is a purchase, also codes that are no goods (POST, D, M: the gate may ask) and returns (negative quantity).
Lines without a customer go to quarantine: the contract needs a person. Times are as printed on the invoice, read as UTC.
"""

from pathlib import Path

from counterfoil.importers.source import Source, digest, existing
from counterfoil.importers.table import open_table

KIND = "uci-online-retail"
VERSION = 1
FILE = "online_retail.parquet"
COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

# One code may stand on an invoice several times: repeats are numbered in the order of the file.
EVENTS = """
WITH lines AS (SELECT row_number() OVER () AS row, * FROM {lines})
SELECT row, 'uci:' || "InvoiceNo" || ':' || "StockCode" || ':' ||
           row_number() OVER (PARTITION BY "InvoiceNo", "StockCode" ORDER BY row) AS id,
       "InvoiceDate" AS time, {person} AS person, 'purchase' AS kind, "InvoiceNo" AS session, "StockCode" AS item,
       "Quantity" AS quantity, "UnitPrice" AS price, 'web' AS channel
FROM lines
"""
ITEMS = """
WITH named AS (
    SELECT "StockCode" AS id, trim("Description") AS title, count(*) AS times
    FROM {lines} WHERE trim("Description") <> '' GROUP BY ALL),
best AS (SELECT id, title FROM named QUALIFY row_number() OVER (PARTITION BY id ORDER BY times DESC, title) = 1),
paid AS (
    SELECT "StockCode" AS id, round(median(TRY_CAST("UnitPrice" AS DOUBLE)), 4) AS price
    FROM {lines} WHERE TRY_CAST("UnitPrice" AS DOUBLE) > 0 AND TRY_CAST("Quantity" AS DOUBLE) > 0 GROUP BY ALL)
SELECT codes.id, title, price FROM (SELECT DISTINCT "StockCode" AS id FROM {lines}) AS codes
LEFT JOIN best ON best.id = codes.id LEFT JOIN paid ON paid.id = codes.id
"""
PEOPLE = """
SELECT id, country FROM (
    SELECT {person} AS id, "Country" AS country, count(*) AS times FROM {lines} GROUP BY ALL) AS counted
WHERE id IS NOT NULL AND id <> ''
QUALIFY row_number() OVER (PARTITION BY id ORDER BY times DESC, country) = 1
"""


def online_retail(path: Path | None, mapping: Path | None) -> Source:
    """Return the source of a Parquet or CSV file with the columns of UCI Online Retail, or of a folder that holds FILE.

    Raises ContractError when the file is not that.
    """
    file = existing(path, KIND)
    file = file / FILE if file.is_dir() else file
    table = open_table((existing(file, KIND),), "events")
    table.require(*COLUMNS)
    # Spreadsheets write 17850 as 17850.0 in a column with gaps.
    person = """regexp_replace(CAST("CustomerID" AS VARCHAR), '\\.0$', '')"""
    aside = table.text.relation() if table.text else table.relation
    return Source(
        kind=KIND,
        name="UCI Online Retail",
        digest=digest(KIND, VERSION, (file,)),
        events=EVENTS.format(lines=table.relation, person=person),
        items=ITEMS.format(lines=aside),
        people=PEOPLE.format(lines=aside, person=person),
        delimited=(("events", table.text),) if table.text else (),
    )
