"""Feast, imported without what it brings along and this platform never asks for: that is two thirds of the seconds of its import.

Its classes are decorated by typeguard, which parses their sources and compiles them anew with checks of argument types; ours
are checked by mypy before anything runs. And it imports torch to hand out tensors, which nobody here takes from it. Feast's own
command line does not come through here. Measured on a slow machine: 10.6 s before, 3.4 s now.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

TENSORS = "feast.torch_wrapper"


def import_feast() -> None:
    """Import Feast once; called before every other import of it."""
    if "feast" in sys.modules:
        return
    import typeguard

    sys.modules.setdefault(TENSORS, _tensors())
    checked = typeguard.typechecked
    typeguard.typechecked = _unchecked
    try:
        importlib.import_module("feast")
    finally:
        typeguard.typechecked = checked


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Stand for `typeguard.typechecked`, with or without arguments, and leave the target as it is."""
    return target if target is not None else _unchecked


def _tensors() -> ModuleType:
    """Return Feast's module of that name, but that torch is imported when somebody asks for a tensor."""
    module = ModuleType(TENSORS)
    module.get_torch = lambda: importlib.import_module("torch")  # type: ignore[attr-defined]
    return module
