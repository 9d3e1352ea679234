"""What the command line says of an exception that nobody raised on purpose: one sentence, and where its traceback lies."""

import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from counterfoil import settings, terminal
from counterfoil.errors import CounterfoilError, UnavailableError


def end(fault: Exception, as_json: bool) -> int:
    """Keep the traceback, print one sentence, and return the exit code: 7 for a file or the network, else 1."""
    log = _keep(fault)
    if log is None and not isinstance(fault, OSError):
        sys.stderr.write("".join(traceback.format_exception(fault)))
    return terminal.fail(sentence(fault, log), as_json)


def sentence(fault: Exception, log: Path | None) -> CounterfoilError:
    """Return the fault as one of our errors."""
    where = "" if log is None else f"; the traceback is in {log}"
    if isinstance(fault, OSError):
        what = fault.strerror or _first_line(fault)
        named = f"{fault.filename}: {what}" if fault.filename else what
        return UnavailableError(
            f"the system refused: {named}; check that path, COUNTERFOIL_HOME and the disk, then run again{where}"
        )
    return CounterfoilError(f"{type(fault).__name__}: {_first_line(fault)}; report this as a defect{where}")


def _first_line(fault: Exception) -> str:
    return next(iter(str(fault).splitlines()), "no reason given")


def _keep(fault: Exception) -> Path | None:
    """Append the traceback to the home's log of faults; None when the home cannot be written, or is not known."""
    try:
        log = settings.Settings().home / "logs" / "faults.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv[1:])}\n")
            file.writelines(traceback.format_exception(fault))
    except (OSError, ValueError):
        return None
    return log
