"""The gate on data: contracts become expectations, Great Expectations judges them, verdicts say what was found."""

from flows.gate.data_docs import write_data_docs
from flows.gate.days import validate_days
from flows.gate.engine import warm
from flows.gate.policy import Policy
from flows.gate.report import write_report
from flows.gate.snapshot import validate_snapshot
from flows.gate.verdict import require

__all__ = [
    "Policy",
    "require",
    "validate_days",
    "validate_snapshot",
    "warm",
    "write_data_docs",
    "write_report",
]
