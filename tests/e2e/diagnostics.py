"""What one would look at first when an end-to-end test has failed, as text for its report."""

from collections.abc import Iterable, Iterator

from tests.kubectl import AGENTS, OPERATOR, Kubectl, KubectlError

_LINES = "--tail=80"


def sections(kubectl: Kubectl, namespace: str) -> Iterator[tuple[str, str]]:
    """Title and text of each thing to look at. A command that fails is shown with what it said."""
    for title, command in _commands(namespace):
        try:
            yield title, kubectl(*command, within=30)
        except KubectlError as error:
            yield title, str(error)


def _commands(namespace: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    at = f"--namespace={namespace}"
    yield "registries and nodes", ("get", "privateregistries,nodetrusts,nodes", "--all-namespaces", "--output=wide")
    yield "pods", ("get", "pods", "--all-namespaces", "--output=wide")
    yield f"objects of {namespace}", ("get", "all,configmaps,persistentvolumeclaims", at, "--output=wide")
    yield f"registries of {namespace}", ("describe", "privateregistries", at)
    yield f"events of {namespace}", ("get", "events", at, "--sort-by=.lastTimestamp")
    yield "NodeTrusts", ("get", "nodetrusts", "--output=yaml")
    yield "entries", ("get", "configmaps", f"--namespace={AGENTS}", "--output=wide")
    component = "app.kubernetes.io/component"
    yield "operator", ("logs", f"--namespace={OPERATOR}", f"--selector={component}=operator", _LINES)
    yield "operator before", ("logs", f"--namespace={OPERATOR}", f"--selector={component}=operator", _LINES, "-p")
    yield "agents", ("logs", f"--namespace={AGENTS}", f"--selector={component}=agent", "--prefix", _LINES)
