"""What is asked of a cluster by kubectl, and what its account may do."""

import os
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from counterfoil.errors import UnavailableError
from flows.cluster import kubectl

INFRA = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"


KUBECTL = """
import json, os, sys
from pathlib import Path

with (Path(__file__).parent / "calls").open("a") as file:
    print(json.dumps([sys.argv[1:], sys.stdin.read()]), file=file)
if "delete" in sys.argv:
    sys.exit("Error from server (Forbidden): it may not")
print(json.dumps({"items": [{"kind": "Pod"}]}))
"""


def test_what_is_asked_of_the_cluster_and_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").write_text(f"#!{sys.executable}\n{KUBECTL}")
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    cluster = kubectl.cluster_of("here")
    assert cluster.objects() == cluster.pods("gateway") == [{"kind": "Pod"}]
    cluster.apply([{"kind": "Service"}])
    cluster.nudge("gateway", "3-abc")
    cluster.restart("service-1")
    with pytest.raises(
        UnavailableError, match=r"`kubectl delete service` failed: Error from server \(Forbidden"
    ):
        cluster.delete("service", ["a", "b"])
    calls = [orjson.loads(line) for line in (tmp_path / "calls").read_bytes().splitlines()]
    assert [words[:3] for words, _ in calls] == [
        ["-n", "here", verb] for verb in ("get", "get", "apply", "annotate", "rollout", "delete")
    ]
    assert orjson.loads(calls[2][1]) == {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Service"}]}
    assert {"counterfoil/told=3-abc", "app.kubernetes.io/name=gateway"} <= set(calls[3][0])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="is kubectl in this image"):
        cluster.objects()


def test_its_account_may_do_what_it_does_and_no_more() -> None:
    [role] = [
        one for one in yaml.safe_load_all((INFRA / "releases.yaml").read_text()) if one["kind"] == "Role"
    ]
    may = {(what, verb) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}
    allowed = {"get", "list", "create", "patch", "delete"}
    for what, verbs in {
        "pods": {"get", "list", "patch"},
        **dict.fromkeys(kubectl.KINDS.split(","), allowed),
    }.items():
        assert {verb for one, verb in may if one == what} == verbs
    assert {what for what, _ in may} == {"pods", *kubectl.KINDS.split(",")}
