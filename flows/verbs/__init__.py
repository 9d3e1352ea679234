"""The verbs of the loop as plain functions of an installation and nouns. Each gives `Made`; the recording seam does the rest."""

from flows.verbs.data import believed, days, inspect, reports, require, snapshot, tables, validate
from flows.verbs.learning import attempt, chooser_of, decide, evaluate, fit, load_model
from flows.verbs.serving import (
    bento_folder,
    materialise,
    materialised,
    online,
    opening,
    package,
    packaged,
    release,
    switch,
)
from flows.verbs.steering import approve, decided, steer

__all__ = [
    "approve",
    "attempt",
    "believed",
    "bento_folder",
    "chooser_of",
    "days",
    "decide",
    "decided",
    "evaluate",
    "fit",
    "inspect",
    "load_model",
    "materialise",
    "materialised",
    "online",
    "opening",
    "package",
    "packaged",
    "release",
    "reports",
    "require",
    "snapshot",
    "steer",
    "switch",
    "tables",
    "validate",
]
