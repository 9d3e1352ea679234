"""XGBoost, imported by who only answers without what it brings along: scikit-learn, and scipy.stats with it.

It asks for scikit-learn to offer classes of that kind, which nobody takes from it here, and does without where there is none.
Whoever imports scikit-learn afterwards gets it. For processes that serve, check or replay, at their start: a thread that imported
scikit-learn in those moments would be told that there is none.
"""

import importlib
import sys

WANTED = "sklearn"


def import_xgboost() -> None:
    """Import XGBoost once; where scikit-learn is there already, as it always is."""
    if "xgboost" in sys.modules or WANTED in sys.modules:
        return
    sys.modules[WANTED] = None  # type: ignore[assignment]
    try:
        importlib.import_module("xgboost")
    finally:
        del sys.modules[WANTED]
