"""DuckDB as landing uses it: in memory with a bound, spilling below the batch's own staging folder."""

from pathlib import Path

import duckdb

from counterfoil.settings import Settings

MEMORY_MB = 1000


def connect(settings: Settings, spill: Path, memory_mb: int = MEMORY_MB) -> duckdb.DuckDBPyConnection:
    """Return a connection that keeps order, reads naive times as UTC, and spills to `spill` above `memory_mb`."""
    spill.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(
        config={
            "threads": settings.threads,
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(spill),
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")  # landing's own progress is told by its caller
    # It moves TRY_CAST into the CSV reader, where a value that does not fit loses its row instead of becoming NULL.
    con.execute("SET disabled_optimizers = 'type_pushdown'")
    return con
