"""The loop that a cluster runs (infra/kubernetes/follow.sh), with a `kubectl` that writes down what it is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.manifests import Scale, rendered, text
from flows.supervisor.services import name_of
from tests.unit.test_supervisor import CANARY, FIRST, STAGES

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "kubernetes"
IMAGE = "shop/counterfoil:7"
KUBECTL = """
import os, sys
from pathlib import Path
import yaml

here, words = Path(__file__).parent, sys.argv[1:]

def said(flag):
    return words[words.index(flag) + 1] if flag in words else ""

def chosen():
    release = lambda one: one["metadata"]["labels"].get("app.kubernetes.io/component") == "release"
    wanted = {"": [True, False], "app.kubernetes.io/component=release": [True], "app.kubernetes.io/component!=release": [False]}
    made = list(yaml.safe_load_all(Path(said("-f")).read_text()))
    return [f"{one['kind'].lower()}/{one['metadata']['name']}" for one in made if release(one) in wanted[said("-l")]]

def note(*parts):
    with (here / "calls").open("a") as file:
        file.write(" ".join(parts) + chr(10))

if words[:3] == ["get", "deployment", "releases"]:
    assert said("-o") == 'jsonpath={.spec.template.spec.containers[?(@.name=="releases")].image}'
    print(os.environ["OWN"])
elif words[0] == "apply":
    note("prune" if "--prune" in words else "apply", *sorted(chosen()))
    if said("-o") == "name":
        print("\\n".join(name.replace("deployment/", "deployment.apps/") for name in chosen()))
elif words[:2] == ["rollout", "status"]:
    note("rollout", words[-1])
    sys.exit(words[-1].endswith(os.environ["STUCK"]))
elif words[0] == "wait":  # of what has no such condition it never comes
    note("wait")
    sys.exit(any(not name.startswith("deployment/") for name in chosen()))
else:
    sys.exit(f"unexpected: {words}")
"""
COUNTERFOIL = """
import sys
from pathlib import Path

words = sys.argv[1:]
assert words[:2] == ["manifests", "--image"], words
made = (Path(__file__).parent / "rendered.yaml").read_text().replace("IMAGE", words[2])
Path(words[words.index("--out") + 1]).write_text(made)
"""
SLEEP = """
import os, signal
from pathlib import Path

slept = Path(__file__).parent / "slept"
with slept.open("a") as file:
    file.write("x")
if slept.stat().st_size >= int(os.environ["ROUNDS"]):
    os.kill(os.getppid(), signal.SIGTERM)
"""


def followed(folder: Path, rounds: int = 1, stuck: str = "nothing") -> list[list[str]]:
    """Run the script for so many rounds over the canary's table; return what `kubectl` was asked to change or wait for."""
    (folder / "rendered.yaml").write_text(text(rendered(STAGES["canary"], Scale(image="IMAGE"))))
    for name, code in (("kubectl", KUBECTL), ("counterfoil", COUNTERFOIL), ("sleep", SLEEP)):
        (folder / name).write_text(f"#!{sys.executable}\n{code}")
        (folder / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder), "OWN": IMAGE}
    line = ["sh", str(FOLDER / "follow.sh")]
    done = subprocess.run(
        line, env={**env, "ROUNDS": str(rounds), "STUCK": stuck}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -15, done.stderr
    return [call.split() for call in (folder / "calls").read_text().splitlines()]


def test_routes_come_when_every_deployment_is_rolled_out(tmp_path: Path) -> None:
    services, *waits, routes = followed(tmp_path)
    deployments = [f"deployment.apps/{name_of(release.tag)}" for release in (FIRST, CANARY)]
    assert services[0] == "apply" and {"configmap", "deployment", "service"} == {
        name.split("/")[0] for name in services[1:]
    }
    assert waits == [["rollout", name] for name in deployments]
    assert routes == ["apply", "configmap/routes"]
    [made] = tmp_path.glob("tmp*/wanted.yaml")
    for one in yaml.safe_load_all(made.read_text()):
        if one["kind"] == "Deployment":
            assert [each["image"] for each in one["spec"]["template"]["spec"]["containers"]] == [IMAGE]


def test_no_routes_come_while_a_deployment_is_stuck(tmp_path: Path) -> None:
    calls = followed(tmp_path, rounds=2, stuck=name_of(CANARY.tag))
    assert ["apply", "configmap/routes"] not in calls and [call[0] for call in calls].count("apply") == 2


def test_what_is_not_wanted_any_more_goes_once_when_nothing_changes(tmp_path: Path) -> None:
    calls = followed(tmp_path, rounds=27)
    assert [call[0] for call in calls].count("prune") == 1
    assert not [call for call in calls if call[0] == "prune" and "configmap/routes" in call]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not there")
def test_the_image_of_the_release_follower_is_that_of_the_pods(tmp_path: Path) -> None:
    """Said in an overlay; nothing else of the follower may say which image it is."""
    (tmp_path / "base").symlink_to(FOLDER)
    name, tag = IMAGE.split(":")
    told = {"resources": ["base"], "images": [{"name": "counterfoil", "newName": name, "newTag": tag}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(told))
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, check=True)
    [follower] = [
        one
        for one in yaml.safe_load_all(done.stdout)
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "releases")
    ]
    [container] = follower["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert not [one for one in container["env"] if one["value"] == "counterfoil"]
    (tmp_path / "follower.yaml").write_text(yaml.safe_dump(follower))
    path = 'jsonpath={.spec.template.spec.containers[?(@.name=="releases")].image}'
    line = ["kubectl", "label", "--local", "-f", str(tmp_path / "follower.yaml"), "a=b", "-o", path]
    assert path in (FOLDER / "follow.sh").read_text()
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == IMAGE
