"""The pod network of a cluster whose nodes share one network segment. Runs on each node, in its network namespace.

It tells containerd to connect pods point to point with addresses of the node's podCIDR, sends the podCIDR of every
other node to that node, and masquerades what leaves the pods' network. A cluster is of one family, IPv4 or IPv6.
"""

import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CONFIGURATION = Path("/etc/cni/net.d/10-podnet.conflist")
CHAIN = "PODNET"
PODS = os.environ["POD_SUBNET"]
FAMILY, TABLES, ANYWHERE = ("-6", "ip6tables", "::/0") if ":" in PODS else ("-4", "iptables", "0.0.0.0/0")


def nodes() -> Iterator[tuple[str, str, str]]:
    """Return (name, podCIDR, address) of every node that has them."""
    request = urllib.request.Request(
        f"https://{os.environ['CONTROL_PLANE_ENDPOINT']}/api/v1/nodes",
        headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"},
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        items = json.load(answer)["items"]
    for node in items:
        addresses = [each["address"] for each in node["status"].get("addresses", []) if each["type"] == "InternalIP"]
        if "podCIDR" in node["spec"] and addresses:
            yield node["metadata"]["name"], node["spec"]["podCIDR"], addresses[0]


def tables(*arguments: str) -> bool:
    """Return whether iptables, of this family, did it."""
    command = [TABLES, "--wait", "-t", "nat", *arguments]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def masquerade() -> None:
    """Masquerade what pods send to anything that is neither a pod nor this node."""
    tables("-N", CHAIN)
    tables("-F", CHAIN)
    tables("-A", CHAIN, "-d", PODS, "-j", "RETURN")
    tables("-A", CHAIN, "-m", "addrtype", "--dst-type", "LOCAL", "-j", "RETURN")
    tables("-A", CHAIN, "-j", "MASQUERADE")
    jump = ("POSTROUTING", "-s", PODS, "-j", CHAIN)
    if not tables("-C", *jump):
        tables("-A", *jump)


def configure(pod_cidr: str) -> None:
    """Write the CNI configuration, once: kubelet reports the node as ready when it is there."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",  # empty after a restart of the node, like its pods
        "ranges": [[{"subnet": pod_cidr}]],
        "routes": [{"dst": ANYWHERE}],
    }
    mtu = int(Path("/sys/class/net/eth0/mtu").read_text())
    plugins = [
        {"type": "ptp", "mtu": mtu, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    temporary = CONFIGURATION.with_name(".podnet")
    temporary.write_text(json.dumps({"cniVersion": "0.4.0", "name": "podnet", "plugins": plugins}))
    temporary.rename(CONFIGURATION)


def route(wanted: dict[str, str]) -> None:
    """Route each network of `wanted` via its gateway, and drop the routes of nodes that are gone."""
    for network, gateway in wanted.items():
        subprocess.run(["ip", FAMILY, "route", "replace", network, "via", gateway], check=True)
    shown = subprocess.run(["ip", FAMILY, "-json", "route", "show"], capture_output=True, text=True, check=True)
    for each in json.loads(shown.stdout):
        if "gateway" in each and each["dst"] != "default" and each["dst"] not in wanted:
            subprocess.run(["ip", FAMILY, "route", "delete", each["dst"]], check=True)


def main() -> None:
    """Follow the list of nodes for ever."""
    masquerade()
    while True:
        try:
            known = list(nodes())
        except OSError as error:
            print(f"cannot list nodes: {error}", flush=True)
        else:
            own = [cidr for name, cidr, _ in known if name == os.environ["NODE_NAME"]]
            if own and not CONFIGURATION.exists():
                configure(own[0])
            route({cidr: address for name, cidr, address in known if name != os.environ["NODE_NAME"]})
        time.sleep(2)


main()
