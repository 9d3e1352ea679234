"""Schemathesis on a server's own OpenAPI document, as every door of ours is fuzzed: all phases by one seed, in bounded time."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def fuzz(
    url: str,
    examples: int,
    folder: Path,
    left_out: str,
    *,
    headers: Mapping[str, str] | None = None,
    paths: str | None = None,
) -> None:
    """Run it in `folder`; a check that fails, an answer of over two seconds, or nothing tested at all is a failure."""
    line = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{url}/openapi.json"]
    line += ["--phases", "coverage,fuzzing", "-n", str(examples), "--seed", "1", "--exclude-checks", left_out]
    line += [
        "--max-response-time",
        "2",
        "--request-timeout",
        "10",
        "--warnings",
        "off",
        "--continue-on-failure",
    ]
    for name, value in (headers or {}).items():
        line += ["--header", f"{name}: {value}"]
    if paths is not None:
        line += ["--include-path-regex", paths]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"Tested: [1-9]", done.stdout)
