"""Pages of Great Expectations made self-contained: whoever opens one contacts nobody.

Its pages ask public servers for styles, scripts and pictures. Here all of that is taken out, what is left is given a few
plain styles, and a policy in the page forbids a browser to load anything that might still be named.
"""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
STYLES = """
:root { color-scheme: light dark;
        --ink: #1d1d1b; --soft: #63625d; --line: #dcd9d0; --paper: #fbfaf7; --good: #2f7d4f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceae4; --soft: #a3a199; --line: #383733; --paper: #161615; --good: #63b985; --bad: #ff8a80; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 70rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: inherit; } ul { padding-left: 1.2rem; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line); }
.text-success { color: var(--good); } .text-danger { color: var(--bad); } .badge { color: var(--soft); }
.text-success::before { content: "\\2713 "; } .text-danger::before { content: "\\2717 "; }
"""
DROPPED = (
    re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<style\b.*?</style\s*>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<(?:link|img|meta|base|iframe|source)\b[^>]*>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<(?:button|form)\b.*?</(?:button|form)\s*>", re.DOTALL | re.IGNORECASE),
)
LINK_AWAY = re.compile(r"<a\b[^>]*href=[\"']?(?:https?:)?//[^>]*>(.*?)</a\s*>", re.DOTALL | re.IGNORECASE)
HEAD = re.compile(r"<head\b[^>]*>", re.IGNORECASE)


def seal(folder: Path) -> None:
    """Make every page of a site self-contained, and its index a list of its pages (which a script used to draw)."""
    pages = sorted(folder.rglob("*.html"))
    for page in pages:
        page.write_text(sealed(page.read_text("utf-8")), "utf-8")
    inner = [page.relative_to(folder) for page in pages if page.parent != folder]
    (folder / "index.html").write_text(_index(inner), "utf-8")


def sealed(html: str) -> str:
    """Return a page without anything that a browser would load, run or send."""
    for pattern in DROPPED:
        html = pattern.sub("", html)
    html = LINK_AWAY.sub(r"\1", html)
    return HEAD.sub(lambda found: found.group() + _head(), html, count=1)


def _head() -> str:
    return (
        f'\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLES}</style>"
    )


def _index(pages: Sequence[Path]) -> str:
    rows = "".join(
        f'<li><a href="{escape(page.as_posix())}">{escape(" / ".join(page.with_suffix("").parts))}</a></li>'
        for page in pages
    )
    body = f"<h1>Data Docs</h1><ul>{rows}</ul>"
    return f"<!doctype html>\n<html lang=en><head>{_head()}<title>Data Docs</title></head><body>{body}</body></html>\n"
