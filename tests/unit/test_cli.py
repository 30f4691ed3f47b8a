"""The `private-registry` command: what can be said to it, and what it answers to what it cannot take."""

import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from private_registry import __main__ as command
from private_registry import __version__

pytestmark = pytest.mark.usefixtures("logging_as_before")

COMMON = {
    "--kubeconfig",
    "--context",
    "--agents-namespace",
    "--cluster-domain",
    "--service-cidr",
    "--allowed-hosts",
    "--health-port",
    "--log-format",
    "--log-level",
    "--help",
}
OPTIONS = {
    "operator": COMMON
    | {"--namespace", "--identity", "--registry-image", "--image", "--registries-per-namespace", "--startup-taint"},
    "agent": COMMON | {"--node-name", "--host-root", "--proof-interval", "--cleanup", "--wait", "--may-restart"},
    "report": {"--directory", "--address", "--port", "--help"},
    "sweep": {"--registry", "--server-name", "--pull-port", "--directory", "--result", "--host", "--port"}
    | {"--patience", "--help"},
}


def run(*arguments: str, **environment: str) -> Result:
    """The command's output and exit code, in this environment."""
    return CliRunner().invoke(command.main, arguments, env=environment)


@pytest.mark.parametrize("program", OPTIONS)
def test_help_tells_every_option(program: str) -> None:
    """What there is to say is found with --help, each with a sentence of its own."""
    result = run(program, "--help")
    assert result.exit_code == 0
    options = [option for option in command.main.commands[program].params if isinstance(option, click.Option)]
    assert {name for option in options for name in option.opts} | {"--help"} == OPTIONS[program]
    for option in options:
        assert option.opts[0] in result.output
        assert option.help or isinstance(option.type, click.Choice)


def test_all_programs_are_listed() -> None:
    """With what each of them is for."""
    result = run("--help")
    assert result.exit_code == 0
    assert {"operator", "agent", "report"} <= {
        line.split()[0] for line in result.output.splitlines() if line.startswith("  ")
    }


def test_the_version() -> None:
    """As the package has it."""
    assert run("--version").output.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["operator", "--service-cidr", "10.96.0.1/16"], "has host bits set"),
        (["operator", "--service-cidr", "all"], "does not appear to be an IPv4 or IPv6 network"),
        (["operator", "--log-level", "loud"], "is not one of"),
        (["operator", "--health-port", "http"], "is not a valid integer"),
        (["operator", "--startup-taint", "example.com/starting:NoSchedule"], "leave out value and effect"),
        (["agent"], "Missing option '--node-name'"),
        (["agent", "--node-name", "worker", "--proof-interval", "0"], "is not in the range"),
        (["agent", "--node-name", "worker", "--cleanups"], "No such option"),
    ],
)
def test_what_it_cannot_take(arguments: list[str], complaint: str) -> None:
    """A mistake is named before anything is done."""
    result = run(*arguments, NODE_NAME="")
    assert result.exit_code == 2
    assert complaint in result.output


@pytest.mark.parametrize("program", [["operator"], ["agent", "--node-name", "worker"]], ids=lambda words: words[0])
def test_without_a_cluster_it_says_how_to_name_one(program: list[str]) -> None:
    """One line and exit code 1, no traceback."""
    result = run(*program, KUBERNETES_SERVICE_HOST="")
    assert result.exit_code == 1
    assert result.output == "Error: not in a pod with a service account: name a file with --kubeconfig\n"


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    """The file is named."""
    missing = tmp_path / "kubeconfig"
    result = run("operator", "--kubeconfig", str(missing))
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: kubeconfig {missing}: ")


class TestRules:
    def test_as_they_are_given(self) -> None:
        """Both families, and several patterns."""
        ranges = (ip_network("10.96.0.0/16"), ip_network("fd00::/112"))
        rules = command._rules("corp.internal", ranges, ("*.example.com", "a.b"))
        assert rules.cluster_domain == "corp.internal"
        assert rules.service_ranges == ranges
        assert rules.allowed_hosts == ("*.example.com", "a.b")

    @pytest.mark.parametrize(
        ("resolv_conf", "domain"),
        [
            ("search private-registry-system.svc.cluster.local svc.cluster.local cluster.local\n", "cluster.local"),
            ("nameserver 10.96.0.10\nsearch x.svc.corp.internal svc.corp.internal example.com\n", "corp.internal"),
            ("search x.svc.corp.internal. svc.corp.internal.\n", "corp.internal"),
            # Namespaces of which the name looks like part of the domain.
            ("search my-svc.svc.corp.internal svc.corp.internal\n", "corp.internal"),
            ("search svc.svc.corp.internal svc.corp.internal\n", "corp.internal"),
            # Not a pod's file, or one with the DNS of its node.
            ("search example.com\n", "cluster.local"),
            ("# search x.svc.commented.out\n", "cluster.local"),
            ("", "cluster.local"),
        ],
    )
    def test_the_domain_of_the_cluster_is_that_of_the_pod(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolv_conf: str, domain: str
    ) -> None:
        """As the kubelet wrote it into the pod's resolv.conf."""
        file = tmp_path / "resolv.conf"
        file.write_text(resolv_conf)
        monkeypatch.setattr(command, "RESOLV_CONF", file)
        assert command._rules(None, (), ()).cluster_domain == domain

    def test_without_the_file_it_is_the_usual_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outside of a pod."""
        monkeypatch.setattr(command, "RESOLV_CONF", tmp_path / "missing")
        assert command._rules(None, (), ()).cluster_domain == "cluster.local"


def test_an_agent_does_not_load_what_only_the_operator_needs() -> None:
    """Its memory is paid on every node."""
    program = "import sys, private_registry.__main__, private_registry.agent.main; print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(command.__file__).parent.parent)}
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
    )
    assert {"kopf", "kubernetes", "pydantic", "cryptography", "yaml"} & set(loaded.stdout.split()) == set()
