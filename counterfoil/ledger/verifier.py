"""The ledger's verifier: proves an export with a public key alone, and imports nothing of Counterfoil's: anybody can read it.

    python verifier.py EXPORT KEY.pem

An entry is one line of canonical JSON (RFC 8785; text, whole numbers, booleans, null, lists and objects only). It carries its
number and the hash of the entry before it. All entries are leaves of a Merkle tree (RFC 6962, section 2.1); checkpoints are its
signed heads as C2SP signed notes with Ed25519, kept outside the database. Needs Python and `cryptography`.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENTRIES, BODIES, CHECKPOINTS, PUBLIC = "entries.jsonl", "bodies.jsonl", "checkpoints.jsonl", "key.pem"
ORIGIN = "counterfoil.ledger"
ED25519 = b"\x01"  # the kind of key in a signed note
NOTHING = "0" * 64  # what the first entry names as the one before it


def encode(value: Any) -> bytes:
    """Return the canonical JSON of a value (RFC 8785); ValueError for one that has floats, or keys outside ASCII."""
    _require_plain(value)
    return CANONICAL.encode(value).encode()


def decode(line: bytes) -> dict[str, Any]:
    """Return the object whose canonical JSON a line is; ValueError when it is not that."""
    value = PLAIN.decode(line.decode())
    if not line.isascii():
        _require_plain(value)  # of text outside ASCII only values may be
    if not isinstance(value, dict) or CANONICAL.encode(value).encode() != line:
        raise ValueError("it is not canonical JSON")
    return value


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not a whole number")


# made once: a million entries are read in half the time
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
PLAIN = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)


def _require_plain(value: Any) -> None:
    if isinstance(value, dict):
        if not all(isinstance(key, str) and key.isascii() for key in value):
            raise ValueError(f"the keys {sorted(map(str, value))} are not all ASCII text")
        for part in value.values():
            _require_plain(part)
    elif isinstance(value, list):
        for part in value:
            _require_plain(part)
    elif not isinstance(value, str | int | None):
        raise ValueError(f"{value!r} is neither text nor a whole number")


def leaf_hash(line: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two neighbours."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass
class Frontier:
    """A Merkle tree that only grows, by its peaks: the roots of its whole sub trees, largest first."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """Add a leaf."""
        self.peaks.append(leaf)
        whole = self.size
        while whole & 1:
            right, left = self.peaks.pop(), self.peaks.pop()
            self.peaks.append(node_hash(left, right))
            whole >>= 1
        self.size += 1

    def root(self) -> bytes:
        """Return the root; that of an empty tree is the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root


def included(leaf: bytes, number: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether a leaf is number `number` of the `size` leaves below a root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= number < size:
        return False
    at, last, found = number, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(step, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the `new` leaves below a root begin with the `old` ones below another (RFC 9162, section 2.1.4.2)."""
    if old == new:
        return old_root == new_root and not proof
    if not 0 < old < new or not proof:
        return False
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, step)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


@dataclass(frozen=True)
class Checkpoint:
    """A signed head: so many entries have this root. `signed` is the text that is signed, `signature` its 64 bytes."""

    size: int
    root: bytes
    key_hash: bytes
    signed: bytes
    signature: bytes


def note_body(size: int, root: bytes) -> bytes:
    """Return the text of a checkpoint that is to be signed (C2SP tlog-checkpoint)."""
    return f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def key_hash(public: bytes) -> bytes:
    """Return the four bytes by which a note tells who signed it (C2SP signed-note)."""
    return hashlib.sha256(ORIGIN.encode() + b"\n" + ED25519 + public).digest()[:4]


def note(size: int, root: bytes, public: bytes, signature: bytes) -> str:
    """Return a signed note."""
    told = base64.b64encode(key_hash(public) + signature).decode()
    return f"{note_body(size, root).decode()}\n\N{EM DASH} {ORIGIN} {told}\n"


def read_note(text: str) -> Checkpoint:
    """Return the checkpoint that a note holds; ValueError when it is none."""
    body, _, tail = text.partition("\n\n")
    lines, marks = body.split("\n"), tail.removesuffix("\n").split(" ")
    if (
        len(lines) != 3
        or lines[0] != ORIGIN
        or not lines[1].isdecimal()
        or len(marks) != 3
        or marks[:2] != ["\N{EM DASH}", ORIGIN]
    ):
        raise ValueError("a checkpoint is not a signed note of this ledger")
    mark = base64.b64decode(marks[2], validate=True)
    root = base64.b64decode(lines[2], validate=True)
    if len(mark) != 68 or len(root) != 32:
        raise ValueError("a checkpoint has a root or a signature of the wrong length")
    return Checkpoint(
        size=int(lines[1]), root=root, key_hash=mark[:4], signed=f"{body}\n".encode(), signature=mark[4:]
    )


def _shaped(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry whose parts have the shapes that readers rely on; ValueError for another."""
    new, done = entry.get("new", []), entry.get("done", [])
    texts = [
        entry.get("verb"),
        entry.get("at"),
        *(noun.get(name) for noun in new for name in ("id", "sha256")),
    ]
    texts += [part for edge in entry.get("edges", []) for part in edge]
    texts += [one.get(name) for one in entry.get("stored", []) for name in ("address", "sha256")]
    texts += [one.get("key") for one in done]
    returned = [entry.get("returned", []), *(one.get("returned") for one in done)]
    if entry.get("verb") == "seal":
        texts += [entry.get(name) for name in ("name", "root", "sha256")]
    if "returned" in entry:
        texts.append(entry.get("key"))
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(ids, list) for ids in returned):
        raise ValueError("a part of it is missing")
    if any(len(edge) != 3 for edge in entry.get("edges", [])):
        raise ValueError("an edge has not three parts")
    return entry


@dataclass
class Walk:
    """What has been seen of a ledger, entry by entry. `trusted` is the public key that must be the ledger's first."""

    trusted: bytes | None = None
    tree: Frontier = field(default_factory=Frontier)
    previous: str = NOTHING
    at: str = ""
    keys: list[tuple[int, bytes]] = field(default_factory=list)  # (entry that names it, public key)
    faults: list[str] = field(default_factory=list)
    signed: int = 0  # entries that a checkpoint which was found right covers
    unvouched: list[int] = field(
        default_factory=list
    )  # entries that name a key which the one before it has not signed

    def see(self, line: bytes) -> dict[str, Any] | None:
        """Take the next entry and return it; None, and a fault, when it cannot be read."""
        number, leaf = self.tree.size, leaf_hash(line)
        entry = self._read(line, number)
        self.tree.append(leaf)
        if entry is not None:
            if number and entry["verb"] == "adopt":
                self.faults.append(
                    f"entry {number} takes over what is older than the ledger, and only the first may"
                )
            if entry.get("entry") != number:
                self.faults.append(
                    f"entry {number} calls itself {entry.get('entry')}: one was taken out, put in or moved"
                )
            if entry.get("previous") != self.previous:
                before = f"entry {number - 1}" if number else "nothing"
                self.faults.append(
                    f"{before} is not what entry {number} says came before it: one of them was altered"
                )
            if str(entry.get("at")) < self.at:
                self.faults.append(f"entry {number} is older than the one before it: it was dated back")
            self.at = max(self.at, str(entry.get("at")))
            self._key(entry, number)
        self.previous = leaf.hex()
        return entry

    def _read(self, line: bytes, number: int) -> dict[str, Any] | None:
        try:
            return _shaped(decode(line))
        except (ValueError, AttributeError, TypeError) as fault:
            self.faults.append(f"entry {number} cannot be read ({fault}): it was altered")
            return None

    def _key(self, entry: dict[str, Any], number: int) -> None:
        if entry.get("verb") != "key":
            return
        try:
            public = base64.b64decode(str(entry.get("public")), validate=True)
            Ed25519PublicKey.from_public_bytes(public)
        except ValueError:
            self.faults.append(f"entry {number} names a key that is none: it was altered")
            return
        if not self.keys and self.trusted is not None and public != self.trusted:
            self.faults.append(
                f"entry {number} names another key than the one that you trust: the key was swapped"
            )
        self.keys.append((number, public))

    def signers(self, size: int) -> list[bytes]:
        """Return who may sign a head of so many entries: the key named last, and where its entry is the last, the one before.

        For a new key is vouched for by the one before it.
        """
        named = [(number, public) for number, public in self.keys if number < size]
        if len(named) > 1 and named[-1][0] == size - 1:
            return [named[-2][1], named[-1][1]]
        return [public for _, public in named[-1:]]


def heads(lines: Iterable[str], walk: Walk) -> Iterator[Checkpoint]:
    """Yield the checkpoints that can be read; the others are faults of the walk."""
    for number, line in enumerate(lines, start=1):
        try:
            yield read_note(json.loads(line)["note"])
        except (ValueError, KeyError, TypeError):
            walk.faults.append(f"checkpoint {number} cannot be read: it was altered")


def judge(walk: Walk, held: Sequence[Checkpoint], roots: dict[int, bytes]) -> None:
    """Hold checkpoints against what was walked; `roots` has the root at each of their sizes that the walk came past."""
    agreed = 0
    vouched: set[tuple[int, bytes]] = set()
    for head in sorted(held, key=lambda one: one.size):
        signed = [public for public in walk.signers(min(head.size, walk.tree.size)) if _signed(head, public)]
        if head.size > walk.tree.size:
            walk.faults.append(
                f"a checkpoint has signed {head.size} entries and there are {walk.tree.size}: the last ones are gone,"
                " or an old copy was put back"
            )
        elif not signed:
            walk.faults.append(f"the checkpoint of {head.size} entries is not signed by the ledger's key")
        elif roots[head.size] != head.root:
            walk.faults.append(
                f"the checkpoint of {head.size} entries has another root:"
                f" one of the entries {agreed} to {head.size - 1} was altered"
            )
        else:
            agreed = walk.signed = head.size
            vouched.update((head.size, public) for public in signed)
    for (_, before), (number, _) in pairwise(walk.keys):
        if (number + 1, before) not in vouched:
            walk.unvouched.append(number)


def unvouched(number: int) -> str:
    """Return the sentence about a key that nobody vouched for."""
    return f"entry {number} names a new key, and the key before it has not signed that"


def retold(known: dict[str, str], name: str, told: str, number: int) -> list[str]:
    """Note what an entry says of a name; a fault when an earlier one said otherwise: what was written is never changed."""
    if known.setdefault(name, told) == told:
        return []
    return [f"entry {number} says otherwise of {name} than an entry before it"]


def _signed(head: Checkpoint, public: bytes) -> bool:
    if head.key_hash != key_hash(public):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(head.signature, head.signed)
    except InvalidSignature:
        return False
    return True


def walked(walk: Walk, lines: Iterable[bytes], notes: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the entries that can be read; once all were seen, the checkpoints are judged. Faults are the walk's."""
    held = list(heads(notes, walk))
    wanted, roots = {head.size for head in held}, {0: walk.tree.root()}
    for line in lines:
        entry = walk.see(line)
        if walk.tree.size in wanted:
            roots[walk.tree.size] = walk.tree.root()
        if entry is not None:
            yield entry
    judge(walk, held, roots)


def verify_export(folder: Path, trusted: bytes) -> dict[str, Any]:
    """Return what an export proves: `entries`, `signed` (how many of them a checkpoint covers), `root`, `faults`.

    Only what is signed is proven, so all entries must be. Every body of a noun must be the one that an entry has the digest of.
    """
    walk = Walk(trusted=trusted)
    digests: dict[str, str] = {}
    notes = (folder / CHECKPOINTS).read_text(encoding="utf-8").splitlines()
    with (folder / ENTRIES).open("rb") as file:
        for entry in walked(walk, (line.removesuffix(b"\n") for line in file), notes):
            for noun in entry.get("new", []):
                walk.faults += retold(digests, noun["id"], noun["sha256"], walk.tree.size - 1)
    walk.faults += map(unvouched, walk.unvouched)
    if not walk.keys:
        walk.faults.append("no entry names a key: nothing here is signed")
    if walk.signed < walk.tree.size:
        walk.faults.append(
            f"only {walk.signed} of {walk.tree.size} entries are signed: the others prove nothing"
        )
    _bodies(folder / BODIES, digests, walk.faults)
    return {
        "verified": not walk.faults,
        "entries": walk.tree.size,
        "signed": walk.signed,
        "root": base64.b64encode(walk.tree.root()).decode(),
        "faults": walk.faults,
    }


def _bodies(path: Path, digests: dict[str, str], faults: list[str]) -> None:
    left = dict(digests)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            name, _, body = line.removesuffix(b"\n").partition(b" ")
            recorded = left.pop(name.decode(errors="replace"), None)
            if recorded is None:
                faults.append(f"line {number} of {path.name} holds what no entry names, or what came before")
            elif hashlib.sha256(body).hexdigest() != recorded:
                faults.append(f"{name.decode()} is not what was recorded")
    faults.extend(f"{name} is missing from {path.name}" for name in left)


def public_of(path: Path) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in PEM; ValueError when it is none."""
    key = serialization.load_pem_public_key(path.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} holds no Ed25519 key")
    return key.public_bytes_raw()


def pem_of(public: bytes) -> bytes:
    """Return a public key in PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(serialization.Encoding.PEM, form)


def main() -> int:
    """Verify the export that the command line names; 0 when all is proven, 5 when not, 2 when it cannot be read."""
    if len(sys.argv) != 3:
        sys.stderr.write("python verifier.py EXPORT KEY.pem\n")
        return 2
    try:
        found = verify_export(Path(sys.argv[1]), public_of(Path(sys.argv[2])))
    except (OSError, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if found["verified"] else 5


if __name__ == "__main__":
    sys.exit(main())
