"""Tells the story to a person: `make demo`, on the cluster of `make cluster` or on one of theirs.

    python -m tests.demo [--context NAME --image IMAGE [--yes]]

Ends with status 1 at the first thing that is not true.
"""

import argparse
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.kubectl import Kubectl
from tests.story import Step, Story


def main() -> int:
    """Tell the story; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--context", default="", help="context of your kubeconfig; absent: the cluster of make cluster")
    parser.add_argument("--image", default=versions.OPERATOR_IMAGE, help="the operator's image")
    parser.add_argument("--registry-image", default="", help="the registry's image")
    parser.add_argument("--yes", action="store_true", help="do not ask before anything is made")
    arguments = parser.parse_args()
    return _theirs(arguments) if arguments.context else _ours(arguments)


def _ours(arguments: argparse.Namespace) -> int:
    cluster = Cluster()
    kubectl = Kubectl(str(cluster.kubectl_program()), cluster.kubeconfig)
    _remove_earlier(kubectl)
    story = Story(kubectl, arguments.image)
    ended = _tell(story.steps())
    print(f"\nGo on with it:   export KUBECONFIG={cluster.kubeconfig}")
    print("                 kubectl apply -f manifests/examples/smallest.yaml; kubectl get preg,nodetrust -A")
    print("End it:          make clean")
    return ended


def _remove_earlier(kubectl: Kubectl) -> None:
    """An earlier demo may have been interrupted: its namespace goes, the installation is updated by the first step."""
    kubectl("delete", "namespace", "registries", "--ignore-not-found", "--timeout=120s")


def _theirs(arguments: argparse.Namespace) -> int:
    kubectl = Kubectl("kubectl", context=arguments.context)
    gone_at_the_end = {"storage": {"reclaimPolicy": "Delete"}}
    story = Story(kubectl, arguments.image, arguments.registry_image, "private-registry-demo", gone_at_the_end)
    if kubectl("get", "crd", "privateregistries.privateregistry.dev", "--ignore-not-found"):
        print("The operator is installed on this cluster already: the demo would uninstall it at its end.")
        return 1
    print(f"On the cluster of context {arguments.context} this makes:")
    print("  two CustomResourceDefinitions, an admission policy, cluster roles;")
    print("  the namespaces private-registry-system, private-registry-nodes (agents with host paths, on every node)")
    print(f"  and {story.namespace}, with one registry and its volume;")
    print("  on every node, while it runs, files below the containerd directory for registries.")
    print("At its end all of it is removed.")
    if not arguments.yes and input("Go on? [y/N] ").strip().lower() not in {"y", "yes"}:
        return 1
    if subprocess.run(
        ["docker", "image", "inspect", versions.BUSYBOX_IMAGE], capture_output=True, check=False
    ).returncode:
        subprocess.run(["docker", "pull", "--quiet", versions.PUBLISHED_BUSYBOX_IMAGE], check=True)
        subprocess.run(["docker", "tag", versions.PUBLISHED_BUSYBOX_IMAGE, versions.BUSYBOX_IMAGE], check=True)
    return _tell([*story.steps(), Step("Uninstall", "make uninstall", story.uninstall)])


def _tell(steps: list[Step]) -> int:
    began = time.monotonic()
    times = []
    for number, step in enumerate(steps, start=1):
        print(f"\n[{number}/{len(steps)}] {step.title}", flush=True)
        print(textwrap.indent(step.command, "  $ "), flush=True)
        start = time.monotonic()
        try:
            came_back = step.run()
        except AssertionError as error:
            print(textwrap.indent(str(error), "  ! "), flush=True)
            print(f"\nThis is not as it should be: {step.title}.", flush=True)
            return 1
        times.append((time.monotonic() - start, step.title))
        print(textwrap.indent(came_back.rstrip(), "    "), flush=True)
    print(f"\nAll {len(steps)} steps are true. Where the time went:")
    for seconds, title in times:
        print(f"  {seconds:6.1f} s  {title}")
    print(f"  {time.monotonic() - began:6.1f} s  in all")
    return 0


if __name__ == "__main__":
    assert Path("manifests").is_dir(), "run it from the top of the checkout"
    sys.exit(main())
