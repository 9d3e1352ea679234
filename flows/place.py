"""Where verbs work: the settings, the store and the catalog of one installation, opened once per process."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil import canonical, settings
from counterfoil.catalog import Catalog
from counterfoil.catalog.erased import erased
from counterfoil.errors import UnavailableError, UnknownError
from counterfoil.ledger import Notary
from counterfoil.ledger.afar import Afar
from counterfoil.remote import Remote
from counterfoil.settings import Settings
from counterfoil.store import Store

if TYPE_CHECKING:
    from counterfoil.receipts import Receipts

# What a verb's outcome depends on besides its arguments; a change of these files makes it run again.
CODE: dict[str, tuple[str, ...]] = {
    "validate": ("flows/gate", "counterfoil/contracts"),
    "snapshot": ("feature_repo", "flows/snapshot.py", "counterfoil/contracts"),
    "inspect": ("flows/gate", "counterfoil/contracts", "feature_repo/transforms.py", "feature_repo/build.py"),
    "attempt": ("models",),
    "fit": ("models", "flows/pure.py"),
    "evaluate": ("models", "flows/pure.py"),
    "decide": ("models/decide.py", "models/bootstrap.py", "models/guardrails.py"),
    "package": ("bentos", "models", "feature_repo", "counterfoil"),
    "materialise": ("feature_repo",),
    "release": (),
    "erase": (),
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One installation: its settings, its store of versions, its catalog, and the DVC remote if it has one."""

    settings: Settings
    store: Store
    catalog: Catalog
    remote: Remote | None = None

    def folder(self, *parts: str) -> Path:
        """Return a fresh path below the work folder; parents exist, the folder itself does not."""
        path = self.settings.work.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def opened(self, address: str, sha256: str) -> Path:
        """Return a checked copy of a stored folder; IntegrityError when its bytes are not those that were recorded.

        UnknownError when the store has it no more, by whose erasure if by one.
        """
        return self.laid_out(address, sha256, self.folder("opened", address.removesuffix(".dir")))

    def laid_out(self, address: str, sha256: str, folder: Path) -> Path:
        """Lay a stored folder out at `folder`; as `opened`."""
        try:
            return self.store.fetch(address, sha256, folder)
        except (UnknownError, UnavailableError) as fault:  # a remote cannot give what was erased there
            gone = erased(self.catalog).of_version(address)
            if not gone:
                raise
            name, erasure = next(iter(gone.items()))
            raise UnknownError(
                f"{name} of {address} was erased on {erasure.at:%Y-%m-%d} with all that was held about a person ({erasure.id});"
                " run the loop again for a version without them"
            ) from fault

    @property
    def receipts(self) -> "Receipts":
        """Receipts to be read; segments that are not here any more come back from the remote."""
        from counterfoil.receipts import Receipts

        fetch = None if self.remote is None else self.remote.get
        return Receipts(self.settings.receipts, fetch=fetch)

    def all_receipts(self) -> "Receipts":
        """Receipts to be counted: sealed segments that are not here any more have come back from the remote."""
        receipts = self.receipts
        if self.remote is not None:
            receipts.bring(self.catalog.seals())
        return receipts


def open_place() -> Place:
    """Open the installation that the settings name."""
    current = settings.load()
    (current.home / "prefect").mkdir(
        parents=True, exist_ok=True
    )  # Prefect's server dies without a word when it is missing
    return place_of(current)


def place_of(current: Settings) -> Place:
    """Return the installation of these settings; its ledger's heads are signed by its own key."""
    remote = Remote(current.dvc_root, current.remote) if current.remote else None
    afar = None if remote is None else Afar(remote=remote)
    notary = Notary(key=current.notary_key, places=current.checkpoint_places, afar=afar)
    catalog = Catalog(current.database, notary)
    return Place(settings=current, store=Store(current.dvc_root, remote), catalog=catalog, remote=remote)


@cache
def code_digests() -> dict[str, str]:
    """Return the digest of the code behind each verb."""
    return {verb: source_digest(paths) for verb, paths in CODE.items()}


@cache
def code_version() -> str:
    """Return what code this is: git's commit when there is one (with + when files differ), and the digest of all sources."""
    digest = source_digest(("counterfoil", "feature_repo", "models", "flows", "bentos"))[:16]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=_root(),
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return f"source:{digest}"
    return f"git:{described.stdout.strip()} source:{digest}"


def source_digest(paths: tuple[str, ...]) -> str:
    """Return one SHA-256 over the Python and YAML sources at these paths of the project."""
    files: dict[str, str] = {}
    for path in paths:
        top = _root() / path
        found = [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.suffix in {".py", ".yaml"})
        files.update({file.relative_to(_root()).as_posix(): canonical.file_digest(file) for file in found})
    return canonical.sha256(files)


def _root() -> Path:
    return Path(__file__).resolve().parent.parent
