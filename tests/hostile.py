"""Hostile input: what a tenant may write into a PrivateRegistry, and a forger into the agents' namespace.

The same from run to run, by its seed: every name with every port and every fragment in every place, then mutations
by chance. Nothing here knows how the product decides.
"""

import itertools
import json
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

from tests.certificates import an_authority

SEED = 20261126
"""Say it in every message: with it the input can be made again."""

OWN = "team.registries.svc:5000"
ADDRESS = "127.96.12.34"
ALLOWED = "a.registry.example.com"
VICTIM = "registries/victim"
VICTIMS_ADDRESS = "127.96.0.99"

FRAGMENTS = (
    *('"', "'", "`", "\\", '"""', "'''", "#", ";", "$(id)", "${HOME}", "%", "%0a", "%2e%2e", "%00", "&", "|", "<", ">"),
    *("[", "]", "[[", "]]", "{", "}", "(", ")", "*", "?", "!", "~", "^", ",", "=", "+", "@", "_", "-", "--", ".", ".."),
    *("/", "//", "/..", "../", "../../../../etc/cron.d/x", "/etc/passwd", "\\..\\", ":", "::", " ", "  ", "\t", "\v"),
    *(
        "\0",
        "\n",
        "\r",
        "\r\n",
        "\x1b[2J",
        "\x7f",
        "\x1c",
        "\x85",
        "\xa0",
        "\xad",
        "\u2028",
        "\u2029",
        "\u200b",
        "\u3000",
    ),
    *("\u202e", "\u2066", "\u05d0", "\ufeff", "\ud800", "\udfff", "\U0001f4a9", "\u0430", "\u0131", "\u212a", "\u3002"),
    *("\uff0e", "\uff0f", "\uff1a", "\u0661", "\uff15", "\u00b2", "\u2460", "\u2024", "e\u0301", "\xdf", "\u017f"),
    *("\n[host]\n", '"\nserver = "https://evil.example.com', "\n127.0.0.1 docker.io", " docker.io", "\tdocker.io #"),
    *('"\n[[registry]]\nprefix = "docker.io', '"]}', '", "docker.io', "\n-----BEGIN CERTIFICATE-----", "%eth0", "%\n"),
)
NAMES = (
    *("team.registries.svc", "team.registries.svc.cluster.local", "victim.registries.svc", "team.other.svc", "svc"),
    *("kubernetes.default.svc", "team.registries", "registry.dev", "docker.io", "registry-1.docker.io", "quay.io"),
    *(
        "registry.k8s.io",
        "ghcr.io",
        "localhost",
        "a.localhost",
        "cluster.local",
        "x.cluster.local",
        "svc.cluster.local",
    ),
    *(
        "_default",
        "_backup",
        "docker.io_443_",
        "team.registries.svc_5000_",
        "127.96.12.34_5000_",
        "..",
        ".",
        "...",
        "~",
    ),
    *("TEAM.registries.svc", "Team.Registries.Svc", "team.registries.svc.", ".team.registries.svc", "team..svc"),
    *(ALLOWED, "A.registry.example.com", "registry.example.com", "x.a.registry.example.com", ".registry.example.com"),
    *(
        "127.96.12.34",
        "127.96.0.99",
        "127.95.255.255",
        "127.97.0.0",
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "1.1.1.1",
    ),
    *(
        "0127.96.12.34",
        "127.96.014.34",
        "0x0a.96.12.34",
        "0xa600c22",
        "174066722",
        "127.96.3106",
        "127.96.12.34.",
        "127.96",
    ),
    *("[fd00:96::a]", "[FD00:96::A]", "[fd00:96:0::a]", "[fd00:97::a]", "[::1]", "[::]", "[::ffff:127.96.12.34]", "[]"),
    *(
        "[::ffff:a60:c22]",
        "[fd00:96::a%eth0]",
        "[fd00:96::a%\n]",
        "fd00:96::a",
        "[fd00:96::a",
        "fd00:96::a]",
        "[[::1]]",
    ),
    *("xn--bcher-kva.example", "b\xfccher.example", "xn--", "xn--a.registry.example.com", "a_b.registry.example.com"),
    *("a" * 63 + ".svc", "a" * 64 + ".svc", ".".join(["a" * 63] * 4), ".".join(["a" * 49] * 5), "a" * 300, "a." * 127),
    *("", " ", "\0", "*", "*.registry.example.com", "-a.b", "a-.b", "1a.2b", "1.2.3.4.5", "nan", "inf", "null", "true"),
)
PORTS = (
    *(
        "",
        ":",
        ":0",
        ":1",
        ":80",
        ":443",
        ":5000",
        ":5001",
        ":65535",
        ":65536",
        ":99999",
        ":100000",
        ":05000",
        ":+5000",
    ),
    *(":-1", ":5_000", ":5000.0", ":5e3", ":0x1388", ": 5000", ":5000 ", ":5000/", ":5000/x", ":5000:5000", ":http"),
    *(":\uff15\uff10\uff10\uff10", ":\u0665\u0660\u0660\u0660", ":\xb25000", ":5000\n", ":5000\0", ":5000%", "_5000_"),
)


@cache
def hosts() -> tuple[str, ...]:
    """At least 10,000 texts that want to be hosts, good ones among them."""
    rng = Random(SEED)
    made = dict.fromkeys(f"{name}{port}" for name in NAMES for port in PORTS)
    for good, fragment in itertools.product((OWN, f"{ADDRESS}:5000", ALLOWED, "[fd00:96::a]:5000"), FRAGMENTS):
        for at in {0, 1, len(good) // 2, good.rfind(":"), len(good)}:
            made[good[:at] + fragment + good[at:]] = None
    while len(made) < 10_500:
        parts = [rng.choice((NAMES, PORTS, FRAGMENTS)) for _ in range(rng.randint(1, 4))]
        made["".join(rng.choice(part) for part in parts)] = None
        name = rng.choice(NAMES) + rng.choice(PORTS)
        at = rng.randrange(len(name) + 1)
        made[name[:at] + chr(rng.choice((rng.randrange(0x250), rng.randrange(0x11000)))) + name[at:]] = None
    return tuple(made)


def certificates() -> str:
    """A CA, as the operator publishes it."""
    return an_authority().cert_pem


def bundles(good: str) -> Iterator[str]:
    """CA bundles made of a good one."""
    key = an_authority().key_pem
    yield from (good, good * 2, "", good.strip(), good.replace("\n", "\r\n"), good.replace("\n", "\r"), good * 200)
    yield from (key, good + key, key + good, good + "issuer=evil\n" + good, good.lower(), good.replace("CERT", "cert"))
    yield from (good.replace("CERTIFICATE", word) for word in ("PRIVATE KEY", "X509 CRL", "TRUSTED CERTIFICATE", ""))
    head, body, tail = good.split("\n", 1)[0], good.split("\n")[1:-2], good.split("\n")[-2]
    yield from (f"{head}\n{tail}\n", f"{head}\n\n{tail}\n", f"{head} {tail}\n", head, f"{head}\n" * 2000, tail * 99)
    for fragment in FRAGMENTS:
        yield fragment
        yield fragment + good
        yield good + fragment
        yield good + fragment + good
        yield "\n".join([head, body[0] + fragment, *body[1:], tail, ""])
        yield "\n".join([head + fragment, *body, tail, ""])
        yield "\n".join([head, *body, *[fragment * (20_000 // len(fragment))], tail, ""])


def words() -> Iterator[str]:
    """Texts that want to be names of objects, label values, addresses or paths."""
    yield from NAMES
    yield from FRAGMENTS
    for good, fragment in itertools.product(
        ("team", "registries/team", ADDRESS, "fd00:96::a", "fd00:96::a%x"), FRAGMENTS
    ):
        for at in {0, 2, len(good)}:
            yield good[:at] + fragment + good[at:]


def values() -> Iterator[Any]:
    """What JSON can say where something else is expected."""
    yield from (None, True, False, 0, 1, -1, 1.0, 5000.0, 5e3, 65536, 2**64, 10**400, float("nan"), float("inf"))
    yield from ("", "1", "5000", [], {}, [None], [[]], {"": ""}, [True], ["x"] * 5000, "x" * 60_000, {"x": {"y": []}})


class Forger:
    """Trust entries of one registry that the operator would never write: the good one, spoilt."""

    def __init__(self, name: str = "team") -> None:
        self.name = name
        self.own = f"{name}.registries.svc:5000"
        self.ca = certificates()
        self.good: dict[str, Any] = {
            "formatVersion": 1,
            "registry": f"registries/{name}",
            "hosts": [self.own, f"{name}.registries.svc.cluster.local:5000", f"{ADDRESS}:5000"],
            "addresses": [ADDRESS],
            "port": 5000,
            "scheme": "https",
            "caBundle": self.ca,
            "serverName": "",
            "nodeSelector": {},
        }

    def data(self, **changes: Any) -> str:
        """The entry with these fields changed, spelled as the operator spells."""
        return json.dumps({**self.good, **changes}, sort_keys=True, separators=(",", ":"))

    def config_map(self, data: str) -> dict[str, Any]:
        return {"metadata": {"name": f"entry.registries.{self.name}"}, "data": {"entry.json": data}}

    def all(self) -> Iterator[str]:
        """Each host, bundle, word and value in each place it may want to go to."""
        rng = Random(SEED)
        plain = {"scheme": "http", "caBundle": ""}
        for host in hosts():
            how = rng.choice(
                ({}, plain, {"serverName": f"{self.name}.registries.svc"}, {"serverName": host.rpartition(":")[0]})
            )
            yield self.data(hosts=[self.own, host], **how)
        for bundle in bundles(self.ca):
            yield self.data(caBundle=bundle)
        for word in words():
            yield self.data(addresses=[word])
            yield self.data(addresses=[ADDRESS, word], hosts=[self.own, f"{word}:5000", f"[{word}]:5000"])
            yield self.data(addresses=[word], hosts=[self.own], scheme="http", caBundle="")
            yield self.data(serverName=word, hosts=[self.own, f"{word}:5000"])
            yield self.data(registry=word)
            yield self.data(scheme=word)
            yield self.data(nodeSelector={word: word})
            yield self.data(**{word: word})
        for field, value in itertools.product(self.good, values()):
            yield self.data(**{field: value})
            yield self.data(**{field: [value]})
            yield self.data(**{field: {"x": value}})
        yield from self.texts()

    def texts(self) -> Iterator[str]:
        """What is no entry before any of its fields is looked at, or says a thing twice."""
        good = self.data()
        yield from ("", " ", "{", "[]", "null", "1", '"x"', "\0", "\ufeff" + good, good + good, good + "\n", " " + good)
        yield from (
            good[:-1],
            good + " " * 70_000,
            "[" * 60_000,
            '{"a":' * 10_000,
            good.replace('"', "'"),
            f"// x\n{good}",
        )
        yield f'{good[:-1]},"hosts":["docker.io"]}}'
        yield f'{{"hosts":["docker.io"],{good[1:]}'
        yield f'{good[:-1]},"formatVersion":2}}'
        yield good.replace('"formatVersion":1', '"formatVersion":2,"formatVersion":1')
        yield good.replace(".registries.svc", ".\\u0072egistries.svc")
        yield json.dumps(json.loads(good), indent=1)
        yield json.dumps({**self.good, "nodeSelector": {"\xe9": "\xe9"}}, ensure_ascii=False)
        for field in self.good:
            rest = {key: value for key, value in self.good.items() if key != field}
            yield json.dumps(rest)
            yield json.dumps({**rest, field.upper(): self.good[field]})
            for depth in (1, 7, 500, 990, *range(1_485, 1_500)):  # the last ones are parsed by Python 3.12, just so
                yield f'{json.dumps(rest)[:-1]},"{field}":{"[" * depth}{"]" * depth}}}'
