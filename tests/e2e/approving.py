"""A deployment of the small shop's loop whose gate waits for two people."""

from collections.abc import Sequence
from typing import Any

from prefect import flow

from counterfoil.types import Gate
from flows import approval, lifecycle
from flows.place import open_place
from tests.loop_shop import END, small_case

GATE = Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1,), approvals=2)
CASE = small_case(gate=GATE)


@flow(name="approving", persist_result=True, result_serializer="json")
def nightly(
    use_case_name: str = "small", as_of: str | None = None, sources: Sequence[dict[str, str]] = ()
) -> dict[str, Any]:
    """Turn the loop once, and wait for people; deployed with what prefect.yaml says of the nightly run."""
    place = open_place()
    turned = lifecycle.turn(place, CASE, END.isoformat())
    approval.wait(place, CASE, turned["decision"])
    return turned
