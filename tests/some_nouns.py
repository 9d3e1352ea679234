"""Nouns that tests of the catalog talk about."""

from typing import Any

from counterfoil.types import Bento, Verdict


def verdict(subject: str = "2024-05-01", **changes: Any) -> Verdict:
    values: dict[str, Any] = {"sha256": "a" * 64, "rows": 3, "passed": True, "checks": (), "suite": "s"}
    return Verdict(subject=subject, **{**values, **changes})


def bento(tag: str = "shop:1") -> Bento:
    return Bento(
        use_case="shop",
        candidate="candidate-0000000000000000",
        dataset="dataset-0000000000000000",
        tag=tag,
        sha256="b" * 64,
        feature_service="shop_v1",
        code_version="test",
    )
