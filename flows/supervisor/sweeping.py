"""The supervisor's slow turn: once an hour it removes what writers that were killed left in the home."""

import logging
import threading
from pathlib import Path

from counterfoil.settings import Settings
from counterfoil.sweep import sweep, sweep_folders

log = logging.getLogger(__name__)
EVERY_SECONDS = 3600.0


def run(settings: Settings, over: threading.Event) -> None:
    """Sweep again and again until it is over, the first time at once; what fails is said and tried again."""
    while True:
        try:
            left = sweep(settings.home, lambda folder: _ours(settings, folder))
            for path in [*left, *sweep_folders(_scratch(settings))]:
                log.warning("removed %s, which a writer that was killed had left", path)
        except OSError as fault:
            log.warning("what killed writers left cannot be swept: %s", fault)
        if over.wait(EVERY_SECONDS):
            return


def _scratch(settings: Settings) -> list[Path]:
    """Return the folders that somebody works in for minutes, and removes then: of packaging, ours and BentoML's, of replays."""
    return [
        *settings.home.glob("packaging-*"),
        *(settings.home / "bentoml" / "tmp").glob("bentoml_bento_*"),
        *settings.work.glob("recall-*"),
    ]


def _ours(settings: Settings, folder: Path) -> bool:
    """Say whether it is a folder of ours: not where DVC, Prefect or BentoML keep house, nor a link that leads elsewhere."""
    theirs = (settings.bentos, settings.work, settings.home / "prefect")
    return not (folder.name.startswith(".") or folder.is_symlink() or folder in theirs)
