"""The product's supervisor over the bench's use case with a rollout, so that challengers are judged.

python -m bench.serving.overseer
"""

import signal
import threading
from dataclasses import replace

from bench.serving import recipe
from bench.serving.home import USE_CASE
from counterfoil.types import Rollout
from flows.place import open_place
from flows.supervisor.__main__ import watch

# Bounds and tests as they are by default; stages are short, for a bench has minutes where a shop has days.
ROLLOUT = Rollout(stage_seconds=20.0, stage_requests=20)


def main() -> None:
    """Watch over the home that the settings name until SIGTERM."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    watch(open_place(), USE_CASE, over, replace(recipe.use_case(), rollout=ROLLOUT))


if __name__ == "__main__":
    main()
