"""The online side: definitions applied, newest rows written, one person read."""

from datetime import datetime

from counterfoil.settings import Settings
from feature_repo.repo import apply, open_store

__all__ = ["apply", "materialise"]


def materialise(settings: Settings, as_of: datetime) -> int:
    """Write."""
    import pyarrow.parquet as pq

    from feature_repo.build import partition

    store = open_store(settings)
    df = pq.read_table(partition(settings.features, "person", as_of)).to_pandas()
    store.write_to_online_store("person", df)
    return len(df)
