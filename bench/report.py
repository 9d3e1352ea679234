"""What a measurement leaves: one JSON file that says when, of what code, on what machine, under what load."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from flows.place import code_version

OUT = Path("bench/results")


def write(found: dict[str, Any], prefix: str = "", path: Path | None = None) -> Path:
    """Write what was found below bench/results, or over `path`, an earlier part of the same; say where, and return that."""
    now = datetime.now(UTC)
    report = {
        "at": now.isoformat(),
        "code": code_version(),
        "machine": {
            "cores": psutil.cpu_count(),
            "memory": psutil.virtual_memory().total,
            "python": platform.python_version(),
        },
        "load": psutil.getloadavg(),
        **found,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    path = path or OUT / f"{prefix}{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps(report, indent=2))
    sys.stdout.write(f"written to {path}\n")
    return path
