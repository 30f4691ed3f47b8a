"""What registries ask of a node, one after another."""

from tests.unit.test_trust_node_files import BROUGHT, CA, IPV6, PLAIN, an_entry

TEAM, HOST = "registries/team", "team.registries.svc:5000"
_NEW = {"addresses": ("10.96.56.78",), "hosts": (HOST, "10.96.56.78:5000")}
_BOTH = {"addresses": ("10.96.56.78", "fd00:96::a"), "hosts": (HOST, "10.96.56.78:5000", "[fd00:96::a]:5000")}
_OTHER = {"registry": "registries/other", "hosts": ("other.registries.svc:5000",), "addresses": ("10.96.0.7",)}
_THIRD = {**IPV6, "registry": "registries/third", "hosts": ("third.registries.svc:5000", "[fd00:96::a]:5000")}

FIRST = (an_entry(hosts=(HOST,)),)
"""With TLS."""
SECOND = (an_entry(hosts=(HOST,), addresses=("10.96.56.78",), **PLAIN),)
"""The same one without TLS, and elsewhere."""
CYCLE = (FIRST, SECOND, ())
"""It comes, changes and goes."""

TEN = (
    (an_entry(),),
    (an_entry(ca_bundle=2 * CA),),
    (an_entry(ca_bundle=2 * CA, **_NEW),),
    (an_entry(**{**_NEW, "hosts": (*_NEW["hosts"], "a.registry.example.com")}),),
    (an_entry(**BROUGHT),),
    (an_entry(**PLAIN, **_NEW), an_entry(**_OTHER)),
    (an_entry(**PLAIN, **_NEW), an_entry(**_OTHER, **PLAIN), an_entry(**_THIRD)),
    (an_entry(ca_bundle="", **_NEW), an_entry(**_OTHER, **PLAIN), an_entry(**_THIRD, **PLAIN)),
    (an_entry(**_BOTH), an_entry(**_OTHER, server_name="other.registries.svc")),
    (an_entry(**_BOTH, port=5002), an_entry(**_OTHER)),
)
"""Of a CA, an address, a name; with TLS, without, by name, with the node's roots; one registry, two, and three."""
