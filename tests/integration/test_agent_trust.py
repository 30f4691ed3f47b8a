"""From a trust entry to a pull that works, or to the reason why it does not: real containerd, real registry."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from private_registry.kube import kinds
from private_registry.trust import entry
from tests.certificates import a_certificate
from tests.integration.agent_node import NodeContainerd
from tests.integration.agent_world import TLS_OFF, World, local_address
from tests.trees import tree
from tests.waiting import aeventually

MIRRORS = '[plugins."io.containerd.cri.v1.images".registry.mirrors."docker.io"]\nendpoint = ["https://m.example.com"]\n'
IPV6 = "fd00:96::a"


@pytest.fixture
def ipv6() -> Iterator[str]:
    with local_address(IPV6) as address:
        yield address


class TestPulls:
    """Seconds after the entry, the node pulls by every name that it is to trust."""

    @pytest.mark.parametrize("spec", [{}, TLS_OFF], ids=["tls", "plain"])
    @pytest.mark.parametrize("family", ["ipv4", "ipv6"])
    async def test_a_registry_is_trusted_by_each_of_its_names(
        self, world: World, ipv6: str, spec: dict[str, object], family: str
    ) -> None:
        """With the operator's CA and over plain HTTP, at addresses of both families."""
        team = world.serve(spec=spec, address=ipv6 if family == "ipv6" else None)
        await team.push("busybox")
        with world.agent():
            await world.publish(team)
            row = await world.until_trusted(team)
            assert (row["reason"], row["message"]) == ("Trusted", "")
            for host in team.hosts:
                answer = await world.node.pull(f"{host}/busybox:v1")
                assert answer.code == "OK", answer
        assert sorted(each.name for each in world.node.certs_d.iterdir()) == sorted(team.hosts)

    async def test_a_brought_certificate_that_names_no_address(self, world: World) -> None:
        """The node reaches the registry by its name, which it learns from /etc/hosts; the address is no name then."""
        hosts_before = world.node.hosts.read_bytes()
        team = world.serve(certified=["team.registries.svc"], server_name="team.registries.svc")
        await team.push("busybox")
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            assert world.node.hosts.read_bytes().endswith(hosts_before)
            assert (await world.node.pull("team.registries.svc:5000/busybox:v1")).code == "OK"
            assert f"{team.entry.addresses[0]}:5000" not in team.hosts

            world.node.hosts.write_bytes(hosts_before)
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert world.node.hosts.read_bytes() == hosts_before
        assert tree(world.node.certs_d) == {}

    async def test_the_status_tells_what_a_person_wants_to_know(self, world: World) -> None:
        """The runtime, where it looks registries up, and how many of how many are trusted."""
        team, broken = world.serve(), world.serve("broken", listen=False)
        with world.agent() as agent:
            await world.publish(team)
            await world.publish(broken)
            await world.until_trusted(team)
            await world.until(broken.key, "Unreachable")
            status = await world.status()
            metrics = agent.get("/metrics")
        (runtime,) = status["runtimes"]
        assert (runtime["name"], runtime["configPath"]) == ("containerd", "/etc/containerd/certs.d")
        assert status["runtime"] == f"containerd {runtime['version']}"
        assert status["summary"] == "1/2"
        assert status["message"].startswith("registries/broken: https://")
        assert 'private_registry_agent_trusted{registry="registries/team"} 1.0' in metrics
        assert 'private_registry_agent_trusted{registry="registries/broken"} 0.0' in metrics
        assert "private_registry_agent_node_writes_total 12.0" in metrics

    async def test_a_registry_that_does_not_answer_holds_up_nobody(self, world: World) -> None:
        """One takes connections and says nothing; the other is trusted all the same, and at once."""
        silent, team = world.serve("silent", listen=False), world.serve()
        with socket.create_server((silent.entry.addresses[0], 5000)), world.agent():
            await world.publish(silent)
            await world.until(silent.key, "Applying")
            await world.publish(team)
            await world.until_trusted(team, within=5)
            assert (await world.row(silent.key) or {}).get("reason") == "Applying"
            await world.withdraw(silent)
            await world.until_gone(silent.key, within=5)

    async def test_a_certificate_that_is_renewed_is_trusted_before_it_is_served(self, world: World) -> None:
        """With both CAs in the entry the pulls go on, and the files change without a moment in between."""
        team = world.serve()
        both = team.entry.ca_bundle + a_certificate(["x"]).ca_pem
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            await world.publish(team, ca_bundle=both)
            team.entry = replace(team.entry, ca_bundle=both)
            row = await world.until_trusted(team)
        assert row["lastTransitionTime"]
        assert (world.node.certs_d / team.hosts[0] / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 2


class TestReasons:
    """A node that does not trust a registry says why, in a word and in a sentence with the cure."""

    async def test_nobody_listens(self, world: World) -> None:
        """The registry is down, or kube-proxy does not know it; once it answers, no hand is needed."""
        team = world.serve(listen=False)
        with world.agent():
            await world.publish(team)
            row = await world.until(team.key, "Unreachable")
            assert "connection refused" in row["message"]
            with team.server:
                await world.until_trusted(team)

    async def test_a_certificate_of_another_ca(self, world: World) -> None:
        """The entry's CA did not sign it."""
        team = world.serve()
        with world.agent():
            await world.publish(team, ca_bundle=a_certificate(["x"]).ca_pem)
            assert "x509" in (await world.until(team.key, "CertificateInvalid"))["message"]

    async def test_a_certificate_for_another_name(self, world: World) -> None:
        """TLS is verified against the address, which it does not name."""
        team = world.serve(certified=["somewhere.example.com"])
        with world.agent():
            await world.publish(team)
            assert "x509" in (await world.until(team.key, "CertificateInvalid"))["message"]

    async def test_plain_http_where_tls_is_expected(self, world: World) -> None:
        """The message that people know from the procedure by hand."""
        team = world.serve(spec=TLS_OFF)
        with world.agent():
            await world.publish(team, scheme="https")
            row = await world.until(team.key, "SchemeMismatch")
        assert "server gave HTTP response to HTTPS client" in row["message"]

    async def test_tls_where_plain_http_is_expected(self, world: World) -> None:
        """And the other way round."""
        team = world.serve()
        with world.agent():
            await world.publish(team, scheme="http", ca_bundle="")
            await world.until(team.key, "SchemeMismatch")

    async def test_a_directory_that_is_preferred_to_ours(self, world: World) -> None:
        """It points to a second real registry: pulls would go there. It is a conflict, and not one byte is touched."""
        team, other = world.serve(), world.serve("other", spec=TLS_OFF)
        foreign = world.node.certs_d / "team.registries.svc_5000_"
        foreign.mkdir()
        (foreign / "hosts.toml").write_text(f'server = "{other.server.url}"\n[host]\n')
        before = tree(foreign)
        await other.push("busybox")
        with world.agent():
            await world.publish(team)
            row = await world.until(team.key, "Conflict")
            assert "/etc/containerd/certs.d/team.registries.svc_5000_" in row["message"]
            assert tree(foreign) == before
            assert (await world.node.pull("team.registries.svc:5000/busybox:v1")).code == "OK"

            (foreign / "hosts.toml").unlink()
            foreign.rmdir()
            await world.until_trusted(team, within=5)
            assert (await world.node.pull("team.registries.svc:5000/busybox:v1")).code == "NOT_FOUND"

    async def test_a_hosts_toml_of_somebody_else(self, world: World) -> None:
        """Somebody has set this host up by hand: the file stays as it is, and is named."""
        team = world.serve()
        foreign = world.node.certs_d / team.hosts[0]
        foreign.mkdir()
        (foreign / "hosts.toml").write_text('server = "https://192.0.2.1"\n')
        before = tree(foreign)
        with world.agent():
            await world.publish(team)
            row = await world.until(team.key, "Conflict")
            assert f"/etc/containerd/certs.d/{team.hosts[0]}/hosts.toml is not ours" in row["message"]
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert tree(foreign) == before

    @pytest.mark.parametrize(
        ("changes", "saying"),
        [
            pytest.param({"formatVersion": 2}, "this agent reads 1: update it", id="newer format"),
            pytest.param({"mirrors": []}, "unknown or missing: 'mirrors'", id="a field more"),
            pytest.param({"serverName": None}, "unknown or missing: 'serverName'", id="a field less"),
        ],
    )
    async def test_an_entry_of_another_version_leaves_what_is_there(
        self, world: World, changes: dict[str, object], saying: str
    ) -> None:
        """Operator and agent of different ages: what worked goes on working, and the agent says what it met."""
        team = world.serve()
        name = "entry.registries.team"
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            before = tree(world.node.certs_d)
            fields = {**json.loads(team.entry.canonical()), **changes}
            newer = json.dumps({key: value for key, value in fields.items() if value is not None})
            await world.kube.merge(kinds.CONFIG_MAP, world.namespace, name, {"data": {entry.KEY: newer}})
            row = await world.until(team.key, "EntryNotUnderstood")
            assert saying in row["message"]
            assert row["entryHash"] == entry.hash_of(newer)
            assert tree(world.node.certs_d) == before
            await world.publish(team)
            await world.until_trusted(team)

    async def test_a_forged_entry_redirects_nothing(self, world: World) -> None:
        """What is not the registry's is refused by name, whoever wrote the entry; its own names work."""
        team = world.serve()
        forged = ("docker.io", "other.registries.svc:5000", "127.96.99.99:5000", "registry.k8s.io")
        with world.agent():
            await world.publish(team, hosts=(*team.hosts, *forged))
            row = await world.until(team.key, "HostNotAllowed")
            assert "docker.io" in row["message"]
            assert sorted(each.name for each in world.node.certs_d.iterdir()) == sorted(team.hosts)
            await world.publish(team, addresses=("192.0.2.1",))

            async def names_the_address() -> bool:
                return "192.0.2.1" in (await world.row(team.key) or {})["message"]

            await aeventually(names_the_address, within=10, what="the address is refused")
        for file in world.node.certs_d.rglob("hosts.toml"):
            assert "192.0.2.1" not in file.read_text()


class TestConfigPath:
    """A containerd that does not read our directory is found out."""

    @pytest.fixture
    def unset(self, tmp_path: Path) -> Iterator[NodeContainerd]:
        """Legacy mirrors switch the directory off."""
        with NodeContainerd(tmp_path / "unset", config_path="", config=MIRRORS) as node:
            yield node

    @pytest.fixture
    def listed(self, tmp_path: Path) -> Iterator[NodeContainerd]:
        """The list that 2.2 has built in, spelled out: its pulls take it for one name."""
        with NodeContainerd(tmp_path / "listed", config_path="/etc/containerd/certs.d:/etc/docker/certs.d") as node:
            yield node

    async def test_where_it_is_unset_the_node_says_what_cures_it(self, unset: NodeContainerd, world: World) -> None:
        """Nothing is written for nothing, and once it is set, the restart of containerd is noticed."""
        world.node = unset
        team = world.serve()
        with world.agent():
            await world.publish(team)
            row = await world.until(team.key, "ConfigPathUnset")
            assert "The table registry.mirrors is, beside which it may not be: write each mirror" in row["message"]
            assert tree(unset.certs_d) == {}
            assert "no such host" in (await world.node.pull(f"{team.hosts[0]}/busybox:v1")).details

            unset.configure("/etc/containerd/certs.d")
            unset.restart()
            await world.until_trusted(team)

    async def test_where_it_is_a_list_that_is_not_read(self, listed: NodeContainerd, world: World) -> None:
        """The proof finds out, and the list is made the name of a directory, as long as there is a registry."""
        world.node = listed
        before = tree(listed.etc)
        team = world.serve()
        await team.push("busybox")
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            assert (listed.etc / "containerd/certs.d:/etc/docker/certs.d").resolve() == listed.certs_d
            assert (await world.node.pull(f"{team.hosts[0]}/busybox:v1")).code == "OK"
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert tree(listed.etc) == before

    async def test_where_the_name_of_the_list_is_somebody_elses(self, listed: NodeContainerd, world: World) -> None:
        """His directory is left alone, and named."""
        world.node = listed
        (listed.etc / "containerd/certs.d:/etc/docker/certs.d").mkdir(parents=True)
        before = tree(listed.etc)
        team = world.serve()
        with world.agent():
            await world.publish(team)
            await world.until(team.key, "Conflict", saying="certs.d:/etc/docker/certs.d is there")
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert tree(listed.etc) == before
