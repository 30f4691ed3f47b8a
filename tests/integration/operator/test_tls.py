"""How a registry is reached: with which certificate, under which names, at which address."""

import json
from typing import Any

from cryptography import x509

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.distribution import Registry
from private_registry.kube import kinds
from private_registry.pki import Certificate
from tests.certificates import a_certificate, an_authority
from tests.integration.container import content
from tests.integration.operator.parts.cluster import Cluster, Object


async def entry(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await cluster.entry())["data"]["entry.json"])
    return found


async def certificate(cluster: Cluster) -> x509.Certificate:
    secret = await cluster.get(kinds.SECRET, "team-certificate")
    return x509.load_pem_x509_certificate(content(secret)["tls.crt"])


def names_of(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}


async def test_managed(cluster: Cluster) -> None:
    """The operator's own CA vouches for every name and address of the registry, also through a port-forward."""
    registry = await cluster.ready()
    host = f"team.{cluster.namespace}.svc"
    addresses = registry.status.cluster_ips
    assert names_of(await certificate(cluster)) == {
        *addresses,
        host,
        f"{host}.cluster.local",
        f"team.{cluster.namespace}",
        "team",
        "localhost",
        "127.0.0.1",
        "::1",
    }
    ca = (await cluster.get(kinds.CONFIG_MAP, "team-ca"))["data"]["ca.crt"]
    assert await entry(cluster) == {
        "formatVersion": 1,
        "registry": f"{cluster.namespace}/team",
        "hosts": [f"{host}:5000", f"{host}.cluster.local:5000", f"{addresses[0]}:5000", f"[{addresses[1]}]:5000"],
        "addresses": list(addresses),
        "port": 5002,
        "scheme": "https",
        "caBundle": ca,
        "serverName": "",
        "nodeSelector": {},
    }
    assert not (await Registry(addresses[0], 5000, "https").serves()).yes, "nobody else's CA vouches for it"


async def test_a_further_name_is_in_the_certificate(cluster: Cluster) -> None:
    """No node is told of a name before the certificate that names it is served; the others are trusted throughout."""
    before = await cluster.ready()
    further = "team.registry.example.com"
    cluster.kubelet.hold(True)
    await cluster.change({"nodeTrust": {"additionalHosts": [further]}})
    await cluster.until_condition(Type.RECONCILING, "True", "RollingOut")
    assert further in names_of(await certificate(cluster))
    assert further not in (await entry(cluster))["hosts"]
    await cluster.until_condition(Type.READY, "True")

    cluster.kubelet.hold(False)
    after = await cluster.until_ready()
    assert further in (await entry(cluster))["hosts"]
    assert after.status.entry_hash != before.status.entry_hash


async def bring(cluster: Cluster, brought: Certificate) -> Object:
    await cluster.delete(kinds.SECRET, "brought")
    parts = {"tls.crt": brought.cert_pem, "tls.key": brought.key_pem, "ca.crt": brought.ca_pem}
    data = {key: pem for key, pem in parts.items() if pem}
    return await cluster.add(kinds.SECRET, "brought", type="kubernetes.io/tls", stringData=data)


BROUGHT = {"tls": {"mode": "Secret", "secretName": "brought"}}


async def test_a_brought_certificate_that_names_no_address(cluster: Cluster) -> None:
    """Nodes verify it by a name that it has: only such names are trusted, and the address alone is not."""
    host = f"team.{cluster.namespace}.svc"
    brought = a_certificate([host, "team.registry.example.com"])
    secret = await bring(cluster, brought)
    spec = {"nodeTrust": {"additionalHosts": ["team.registry.example.com", "other.registry.example.com"]}}
    await cluster.create({**BROUGHT, **spec})
    message = await cluster.until_condition(Type.STALLED, "True", "CertificateInvalid")
    assert message == (
        "spec.nodeTrust.additionalHosts: the registry's certificate does not name other.registry.example.com"
    )
    await cluster.change({"nodeTrust": {"additionalHosts": ["team.registry.example.com"]}})
    registry = await cluster.until_ready()
    told = await entry(cluster)
    assert told["serverName"] == host
    assert told["hosts"] == [f"{host}:5000", "team.registry.example.com"]
    assert told["addresses"] == list(registry.status.cluster_ips)
    assert told["caBundle"] == brought.ca_pem
    assert (await cluster.get(kinds.SECRET, "brought"))["data"] == secret["data"], "what was brought stays as it is"


async def test_a_brought_certificate_that_names_the_address(cluster: Cluster) -> None:
    """It is as good as one of the operator's."""
    registry = await cluster.ready({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    host = f"team.{cluster.namespace}.svc"
    await bring(
        cluster, a_certificate([host, f"*.{cluster.namespace}.svc.cluster.local", *registry.status.cluster_ips])
    )
    await cluster.change(BROUGHT)
    await cluster.until_ready()
    told = await entry(cluster)
    assert (told["scheme"], told["serverName"]) == ("https", "")
    assert f"{registry.status.cluster_ips[0]}:5000" in told["hosts"]


async def test_a_brought_certificate_is_renewed(cluster: Cluster) -> None:
    """A new certificate in the same Secret is rolled out; so is one of another CA, which nodes are told of."""
    authority = an_authority()
    hosts = [f"team.{cluster.namespace}.svc"]
    await bring(cluster, a_certificate(hosts, authority))
    before = await cluster.ready(BROUGHT)
    for brought in (a_certificate(hosts, authority), a_certificate(hosts)):
        await bring(cluster, brought)
        await cluster.touch()

        async def is_served_and_told(brought: Certificate = brought) -> bool:
            # Verified against the very certificate, which only the new pod has.
            registry = Registry(before.status.cluster_ips[0], 5000, "https", brought.cert_pem, hosts[0])
            answer = await registry.serves()
            assert answer.yes, answer
            told = await entry(cluster)
            assert told["caBundle"] == brought.ca_pem
            # The status follows the entry, and nothing of it waits for that.
            status = (await cluster.registry()).status
            return (status.entry_hash == before.status.entry_hash) == (brought.ca_pem == authority.cert_pem)

        await cluster.until(is_served_and_told, what="the new certificate is served, and its CA told")
        await cluster.until_ready()


async def test_a_public_certificate(cluster: Cluster) -> None:
    """Without ca.crt the nodes' own roots vouch for the certificate: nobody is given a CA to trust."""
    signed = a_certificate([f"team.{cluster.namespace}.svc"])
    await bring(cluster, Certificate(signed.cert_pem, signed.key_pem, ""))
    registry = await cluster.ready(BROUGHT)
    assert (await entry(cluster))["caBundle"] == ""
    assert registry.status.ca_config_map_name == ""
    assert await cluster.kube.get(kinds.CONFIG_MAP, cluster.namespace, "team-ca") is None


async def test_from_one_mode_to_the_next(cluster: Cluster) -> None:
    """Each change of mode rolls the pod; nodes are told once it serves in the new way, and nothing of the old stays."""
    await cluster.ready({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    told = await entry(cluster)
    assert (told["scheme"], told["caBundle"]) == ("http", "")
    assert (await (await cluster.http()).serves()).yes
    assert await cluster.kube.get(kinds.SECRET, cluster.namespace, "team-certificate") is None

    await cluster.change({"tls": None})
    await cluster.until_ready()
    assert (await entry(cluster))["scheme"] == "https"
    assert (await (await cluster.http()).serves()).yes

    await bring(cluster, a_certificate([f"team.{cluster.namespace}.svc"]))
    await cluster.change(BROUGHT)
    await cluster.until_ready()
    assert (await entry(cluster))["serverName"]

    await cluster.change({"tls": {"mode": "Disabled", "secretName": None}, "auth": {"mode": "None"}})
    await cluster.until_ready()
    assert (await entry(cluster))["scheme"] == "http"
    await cluster.until_gone(kinds.SECRET, "team-certificate")
    await cluster.until_gone(kinds.CONFIG_MAP, "team-ca")

    async def only_what_is_mounted() -> bool:
        configuration = await cluster.get(kinds.SECRET, names.configuration("team"))
        return len([key for key in configuration["data"] if key.endswith(".yml")]) == 1

    await cluster.until(only_what_is_mounted, what="no file of an earlier configuration is left")


async def test_a_deleted_service_comes_back_at_its_address(cluster: Cluster) -> None:
    """The address is what nodes know, so it is asked for again; nobody has to be told anything."""
    before = await cluster.ready()
    old = await certificate(cluster)
    await cluster.delete(kinds.SERVICE, "team")

    async def is_back() -> bool:
        service = await cluster.get(kinds.SERVICE, "team")
        return bool(service["spec"]["clusterIPs"] == list(before.status.cluster_ips))

    await cluster.until(is_back, within=5, what="the Service is back at its address")
    after = await cluster.until_ready()
    assert after.status.entry_hash == before.status.entry_hash
    assert (await certificate(cluster)).serial_number == old.serial_number


async def test_an_address_that_is_taken_meanwhile(cluster: Cluster) -> None:
    """Then there is a new address, with a certificate that names it, and every node is told; an event says so."""
    before = await cluster.ready()
    cluster.operator.stop()
    await cluster.delete(kinds.SERVICE, "team")
    (taken, *_) = before.status.cluster_ips
    spec = {"clusterIP": taken, "ports": [{"port": 80}], "selector": {"app": "thief"}}
    await cluster.add(kinds.SERVICE, "thief", spec=spec)
    cluster.operator.start()

    async def has_moved() -> bool:
        return taken not in (await cluster.registry()).status.cluster_ips

    await cluster.until(has_moved, what="the registry has another address")
    after = await cluster.until_ready()
    (address, *_) = after.status.cluster_ips
    assert address in names_of(await certificate(cluster))
    assert f"{address}:5000" in (await entry(cluster))["hosts"]
    assert f"{taken}:5000" not in (await entry(cluster))["hosts"]
    assert after.status.entry_hash != before.status.entry_hash
    assert await cluster.until_event("AddressChanged") == (
        f"the Service was deleted and its address {taken} is taken: it is now {address}, and every node is told"
    )


async def test_a_load_balancer_is_in_the_certificate(cluster: Cluster) -> None:
    """What a provider gives the Service, an address or a name, is named by the certificate."""
    await cluster.ready({"service": {"type": "LoadBalancer"}})
    ingress = [{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}]
    status = {"status": {"loadBalancer": {"ingress": ingress}}}
    await cluster.kube.merge(kinds.SERVICE, cluster.namespace, "team", status, subresource="status")

    async def is_named() -> bool:
        return {"192.0.2.7", "lb.example.com"} <= names_of(await certificate(cluster))

    await cluster.until(is_named, what="the certificate names the load balancer")
    await cluster.until_ready()
