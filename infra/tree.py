"""Write the README's tree anew: one line per file, said by the file's own first sentence. `make tree` runs it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- tree -->", "<!-- /tree -->"
SAID = {
    "Makefile": "every verb, once",
    "dvc.yaml": "the pure verbs as DVC stages",
    "params.yaml": "what dvc repro may be asked for",
    "prefect.yaml": "scheduled deployments",
    "pyproject.toml": "the package, its extras, the checks' settings",
    "requirements.lock": "exact versions of everything",
    "LICENSE": "Apache-2.0",
    "CHANGELOG.md": "what came when",
    "CONTRIBUTING.md": "how to change things here",
    ".ci/run": "what CI runs",
    "feature_repo/feature_store.yaml": "where Feast finds registry and stores",
    "feature_repo/.feastignore": "what Feast leaves unread",
}
WIDTH = 100
SKIPPED = re.compile(
    r"^(README\.md|\.git|\.dvc|\.pre-commit|.*/__init__\.py$|tests/.*|.*\.mako$|.*/(static|templates)/.*)"
)


def first_sentence(path: Path) -> str:
    """Return what the file says of itself: a docstring's first sentence, or a page's title."""
    name = path.relative_to(ROOT).as_posix()
    if name in SAID:
        return SAID[name]
    text = path.read_text()
    if path.suffix == ".md":
        return text.splitlines()[0].lstrip("# ")
    if path.suffix == ".py":
        doc = " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split())
        sentence = re.split(r"(?<=[.!?;])\s", doc)[0].rstrip(".;")
        return sentence if len(sentence) <= WIDTH else re.split(r"(?<=[:,])\s", sentence)[0].rstrip(":,")
    return text.splitlines()[0].lstrip("# ") if text else ""


def tree() -> str:
    """Return the tree as indented lines; a folder is named once."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    kept = [name for name in names if not SKIPPED.match(name)]
    lines: list[str] = []
    folder = ""
    for name in sorted(kept, key=lambda name: (name.count("/") > 0, name.rpartition("/")[0], name)):
        parent, _, file = name.rpartition("/")
        if parent != folder:
            folder = parent
            inside = ROOT / parent / "__init__.py"
            lines.append(f"{parent + '/':<42} {first_sentence(inside) if inside.is_file() else ''}".rstrip())
        lines.append(
            f"{'  ' if parent else ''}{file:<{40 if parent else 42}} {first_sentence(ROOT / name)}".rstrip()
        )
    lines.append(f"{'tests/':<42} rules, contracts, unit, faults, quality, e2e")
    return "\n".join(lines)


def main() -> int:
    """Rewrite the README; with `--check` only say whether it would change."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, rest = text.split(START)
    fresh = f"{before}{START}\n```\n{tree()}\n```\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv:
        return int(fresh != text)
    readme.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
