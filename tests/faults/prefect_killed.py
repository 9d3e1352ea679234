"""A run at a terminal that waits in its first verb to be killed.

python prefect_killed.py HOME
"""

import sys
import time
from pathlib import Path

from counterfoil import settings


def main(home: Path) -> None:
    """Run the flow as `counterfoil run` does, and wait inside it."""
    current = settings.load()
    assert current.home == home
    from flows import lifecycle
    from flows.place import open_place

    def on_start(verb: str, _label: str) -> None:
        sys.stdout.write(f"{verb}\n")
        sys.stdout.flush()
        time.sleep(600)

    lifecycle.advance_here(
        open_place(), "recommendation", None, [], on_start=on_start, on_end=lambda outcome: None
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
