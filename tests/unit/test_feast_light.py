"""Feast without what it brings along: the same classes, torch not imported, typeguard as it was, and tensors still to be had."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from feature_repo.light import import_feast
import_feast()
import_feast()
assert "torch" not in sys.modules
import typeguard
from feast import FeatureView
from typeguard import typechecked

@typechecked
def whole(number: int) -> int:
    return number

try:
    whole("one")
except typeguard.TypeCheckError:
    pass
else:
    raise AssertionError("typeguard checks nothing any more")
assert FeatureView.__module__ == "feast.feature_view"
from feast.torch_wrapper import get_torch
assert get_torch().__name__ == "torch"
print("light")
"""


def test_feast_comes_without_torch_and_leaves_typeguard_as_it_was(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # typeguard reads the source of what it checks
    script.write_text(CODE, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "light", done.stderr
