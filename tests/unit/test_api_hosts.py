"""Hosts in front of an image: what is one, what is not, and who may have it."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from private_registry.api.hosts import Host, InvalidHostError, Rules, parse_host

LABEL = "a" * 63
LONGEST = f"{LABEL}.{LABEL}.{LABEL}.{'a' * 61}"

RANGES = (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))


class TestReading:
    """One spelling for each host, and nothing else."""

    @pytest.mark.parametrize(
        ("text", "name", "port"),
        [
            ("team.registries.svc:5000", "team.registries.svc", 5000),
            ("registry.example.com", "registry.example.com", None),
            ("registry:5000", "registry", 5000),
            ("a-b.c--d.e:1", "a-b.c--d.e", 1),
            ("1a.2b:65535", "1a.2b", 65535),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example", 443),
            ("10.96.12.34:5000", "10.96.12.34", 5000),
            ("[fd00::34]:5000", "fd00::34", 5000),
            ("[::1]", "::1", None),
            (f"{LONGEST}:65535", LONGEST, 65535),
        ],
    )
    def test_a_host(self, text: str, name: str, port: int | None) -> None:
        """What is read is written back as it was."""
        assert parse_host(text) == Host(name, port)
        assert str(parse_host(text)) == text

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="empty"),
            pytest.param("registry", id="one label, which would be a repository"),
            pytest.param("Registry.example.com", id="upper case"),
            pytest.param("registry.example.com.", id="trailing dot"),
            pytest.param(".example.com", id="leading dot"),
            pytest.param("a..b", id="empty label"),
            pytest.param("..", id="parent directory"),
            pytest.param("../../etc/containerd", id="path upwards"),
            pytest.param("/etc/passwd", id="absolute path"),
            pytest.param("a/b", id="path"),
            pytest.param("a.b/c:5000", id="path before the port"),
            pytest.param("a.b\\c", id="backslash"),
            pytest.param("-a.b", id="leading hyphen"),
            pytest.param("a-.b", id="trailing hyphen"),
            pytest.param("a_b.c", id="underscore"),
            pytest.param("*.example.com", id="wildcard"),
            pytest.param("user@example.com", id="user"),
            pytest.param("https://example.com", id="scheme"),
            pytest.param("example.com?x=1", id="query"),
            pytest.param("example.com#x", id="fragment"),
            pytest.param("example.com%2f", id="percent"),
            pytest.param('a.b"', id="double quote"),
            pytest.param("a.b'", id="single quote"),
            pytest.param("[a.b]", id="brackets around a name"),
            pytest.param("a.b]", id="bracket"),
            pytest.param("{a.b}", id="brace"),
            pytest.param("$(id).b", id="shell"),
            pytest.param(" a.b", id="leading blank"),
            pytest.param("a.b ", id="trailing blank"),
            pytest.param("a b.c", id="blank within"),
            pytest.param("a.b\n", id="trailing newline"),
            pytest.param("a.b:5000\n", id="newline after the port"),
            pytest.param("a.b\n[host]", id="newline and more"),
            pytest.param("a.b\r", id="carriage return"),
            pytest.param("a.b\t", id="tab"),
            pytest.param("a.b\x00", id="NUL"),
            pytest.param("a.b\u2028c", id="line separator"),
            pytest.param("a.b\u200b", id="zero-width blank"),
            pytest.param("\u202egro.elpmaxe", id="right-to-left override"),
            pytest.param("bücher.example", id="IDN in Unicode"),
            pytest.param("\N{CYRILLIC SMALL LETTER IE}xample.com", id="Cyrillic look-alike"),
            pytest.param("\N{FULLWIDTH LATIN SMALL LETTER E}xample.com", id="full-width letter"),
            pytest.param("a.b:", id="empty port"),
            pytest.param("a.b:0", id="port 0"),
            pytest.param("a.b:05000", id="leading zero"),
            pytest.param("a.b:65536", id="port too high"),
            pytest.param("a.b:100000", id="port of six digits"),
            pytest.param("a.b:-1", id="negative port"),
            pytest.param("a.b:+1", id="signed port"),
            pytest.param("a.b:5_000", id="underscore in the port"),
            pytest.param("a.b:http", id="named port"),
            pytest.param("a.b:\N{ARABIC-INDIC DIGIT FIVE}000", id="port in Arabic digits"),
            pytest.param("a.b:5000:5000", id="two ports"),
            pytest.param("123:5000", id="number"),
            pytest.param("127.1:5000", id="short address"),
            pytest.param("010.96.0.1:5000", id="octal address"),
            pytest.param("256.0.0.1:5000", id="address out of range"),
            pytest.param("1.2.3.4.5:5000", id="five numbers"),
            pytest.param("fd00::34:5000", id="IPv6 without brackets"),
            pytest.param("[fd00::34", id="open bracket"),
            pytest.param("[fd00::34]5000", id="no colon after the bracket"),
            pytest.param("[fd00::34]:", id="empty port after the bracket"),
            pytest.param("[fd00::34]:0", id="port 0 after the bracket"),
            pytest.param("[fd00::34]:5000\n", id="newline after an address"),
            pytest.param("[FD00::34]:5000", id="upper-case address"),
            pytest.param("[fd00:0:0::34]:5000", id="long address"),
            pytest.param("[fe80::1%eth0]:5000", id="zone"),
            pytest.param("[10.96.0.1]:5000", id="IPv4 in brackets"),
            pytest.param("[]:5000", id="empty brackets"),
            pytest.param("[[::1]]:5000", id="double brackets"),
            pytest.param(f"{'a' * 64}.b", id="label of 64"),
            pytest.param(f"{LONGEST}a", id="name of 254"),
            pytest.param(f"{LONGEST}a:5000", id="name of 254 and a port"),
            pytest.param("a." * 100_000, id="very long"),
        ],
    )
    def test_no_host(self, text: str) -> None:
        """Everything else is refused with one printable line, however hostile the text."""
        with pytest.raises(InvalidHostError) as refused:
            parse_host(text)
        message = str(refused.value)
        assert message.isprintable()
        assert len(message) < 1024

    def test_the_reason_is_said(self) -> None:
        """The sentence names what is wrong and how it would be right."""
        for text, sentence in {
            "registry": "'registry' needs a dot or a port: an image name would take it for a repository",
            "a.b:0": "'a.b:0' is no host name: lower-case DNS name or address, then optionally :port",
            "a.b:65536": "'a.b:65536': the port is 1 to 65535, without leading zero",
            "a" * 300: "a host of 300 characters: at most 253 and a port",
            "a.b\nc": r"'a.b\nc' is no host name: lower-case DNS name or address, then optionally :port",
        }.items():
            with pytest.raises(InvalidHostError) as refused:
                parse_host(text)
            assert str(refused.value) == sentence

    def test_an_address_is_known_as_one(self) -> None:
        """A host that is an address can be looked for in the ranges of the cluster."""
        assert parse_host("10.96.12.34:5000").address == IPv4Address("10.96.12.34")
        assert parse_host("[fd00::34]:5000").address == IPv6Address("fd00::34")
        assert parse_host("team.registries.svc:5000").address is None


class TestWhoMayHaveIt:
    """A registry has its own names; everything else is the administrator's to give."""

    def refusal(self, text: str, *allowed: str, ranges: bool = True, domain: str = "cluster.local") -> str | None:
        rules = Rules(cluster_domain=domain, service_ranges=RANGES if ranges else (), allowed_hosts=allowed)
        return rules.refusal(parse_host(text), "registries", "team")

    @pytest.mark.parametrize(
        "text",
        [
            "team.registries.svc:5000",
            "team.registries.svc.cluster.local:5000",
            "10.96.12.34:5000",
            "[fd00:10:96::34]:5000",
        ],
    )
    def test_its_own(self, text: str) -> None:
        """Nobody needs to be asked for the names of its Service and for addresses of Services."""
        assert self.refusal(text) is None

    @pytest.mark.parametrize(
        "text",
        [
            "other.registries.svc:5000",
            "team.other.svc:5000",
            "team.registries.svc:5001",
            "team.registries.svc",
            "team.registries:5000",
            "team:5000",
            "x.team.registries.svc:5000",
            "team.registries.svc.other.local:5000",
            "docker.io",
            "registry.example.com",
        ],
    )
    def test_not_its_own(self, text: str) -> None:
        """Neither another registry, nor another port, nor a name outside."""
        assert self.refusal(text) == f"{text} is neither a name of registries/team nor allowed by --allowed-hosts"

    def test_a_two_label_name_that_is_a_domain_of_the_internet(self) -> None:
        """A registry `registry` in a namespace `dev` does not redirect registry.dev for the whole cluster."""
        rules = Rules(service_ranges=RANGES)
        assert rules.refusal(parse_host("registry.dev:5000"), "dev", "registry") is not None

    def test_addresses_outside_the_service_range(self) -> None:
        """A pod's, a node's or an outside address, and another port, are never trusted as a name."""
        for text in ("10.97.0.1:5000", "192.0.2.1:5000", "[fd00::1]:5000", "10.96.12.34:443", "10.96.12.34"):
            assert self.refusal(text) == f"{text} is no address of the cluster's Services"

    def test_an_unknown_service_range(self) -> None:
        """Without the range no address is trusted, and the cure is named."""
        assert self.refusal("10.96.12.34:5000", ranges=False) == (
            "the address range of the cluster's Services is not known: set --service-cidr"
        )

    def test_an_ipv4_address_in_ipv6_clothes(self) -> None:
        """A mapped address is not one of the IPv4 range, whichever way it is spelled."""
        rules = Rules(service_ranges=RANGES)
        mapped = IPv6Address("::ffff:10.96.0.1")
        assert not rules.in_service_range(mapped)

    def test_what_the_administrator_allows(self) -> None:
        """Patterns are matched against host and port together, and the name that they give is anyone's to take."""
        assert self.refusal("registry.example.com", "registry.example.com") is None
        assert self.refusal("a.example.com:5000", "*.example.com:5000") is None
        assert self.refusal("a.example.com", "*.example.com:5000") is not None
        assert self.refusal("example.com:5000", "*.example.com:5000") is not None
        assert self.refusal("team.registries:5000", "*.registries:5000") is None

    @pytest.mark.parametrize(
        "text",
        [
            "other.registries.svc:5000",
            "other.registries.svc.cluster.local:5000",
            "node.cluster.local:5000",
            "192.0.2.1:5000",
            "[2001:db8::1]:5000",
        ],
    )
    def test_what_no_pattern_can_allow(self, text: str) -> None:
        """Names of Services stay with their Services and addresses with the Service range, even under `*`."""
        assert self.refusal(text, "*") is not None

    def test_another_cluster_domain(self) -> None:
        """Where the cluster is called otherwise, so are its registries."""
        assert self.refusal("team.registries.svc.corp.example:5000", domain="corp.example") is None
        assert self.refusal("team.registries.svc.cluster.local:5000", domain="corp.example") is not None
        assert self.refusal("x.corp.example:5000", "*", domain="corp.example") is not None
