"""Memory is bounded by DuckDB's limit and one row group, whatever the size of the batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LAND = """
import json, sys
from pathlib import Path
import duckdb
from counterfoil.importers import open_source
from counterfoil.landing import land
from counterfoil.settings import Settings

root = Path(sys.argv[1])
duckdb.connect(config={"threads": 1, "memory_limit": "500MB"}).execute(f'''SET enable_progress_bar = false;
    COPY (SELECT 'event-number-' || i AS id, make_timestamptz(1700000000000000 + ((i * 7919) % 31536000) * 1000000) AS time,
                 'user' || (hash(i) % 500000) AS person, 'view' AS kind, 'item' || (hash(i + 1) % 50000) AS item
          FROM range(12000000) t(i)) TO '{root}/events.parquet' (FORMAT parquet)''')
landed = land(open_source("contract", root / "events.parquet"), Settings(home=root / "home"))
status = Path("/proc/self/status").read_text()
peak_kb = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
sys.stdout.write(json.dumps([landed.rows_in, landed.landed, len(landed.days), peak_kb]))
"""


@pytest.mark.slow
def test_twelve_million_events_land_within_the_bound(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", LAND, tmp_path], capture_output=True, text=True, timeout=280, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
    rows_in, landed, days, peak_kb = json.loads(done.stdout)
    assert (rows_in, landed, days) == (12_000_000, 12_000_000, 366)
    assert peak_kb < 1_500_000
