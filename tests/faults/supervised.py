"""A supervisor of the small shop, with a quick rollout: `python supervised.py HOME`."""

import logging
import sys
import threading
from pathlib import Path

from counterfoil import settings
from flows.place import place_of
from flows.supervisor.__main__ import watch
from tests.faults.rolled import CASE

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(message)s")
    current = settings.load()
    assert current.home == Path(sys.argv[1])
    watch(place_of(current), "small", threading.Event(), CASE)
