"""The memory: nouns, the edges between them, stored versions, and releases over time (SQLAlchemy 2, Alembic).

Nouns enter only through the recording seam (`recorder.py`); nothing here is ever changed but the end of a release.
"""

from counterfoil.catalog.catalog import Catalog
from counterfoil.catalog.recorder import Made, Observer, Outcome, Passage, Recorder, Unrecorded

__all__ = ["Catalog", "Made", "Observer", "Outcome", "Passage", "Recorder", "Unrecorded"]
