"""Where the cluster's images come from: published, or built here. The choice and its reason."""

import urllib.error
import urllib.request
from typing import Literal

Source = Literal["published", "built"]
REGISTRY = "https://registry-1.docker.io/v2/"


def choose(wished: str, unreachable: str | None) -> tuple[Source, str]:
    """Return the source and why. `wished` is `$SOURCE` or empty, `unreachable` why image registries cannot be used.

    Raises ValueError for a source that there is not.
    """
    if wished == "published":
        return "published", "SOURCE=published"
    if wished == "built":
        return "built", "SOURCE=built"
    if wished:
        raise ValueError(f"SOURCE={wished}: it is `published` or `built`")
    if unreachable:
        return "built", unreachable
    return "published", f"{REGISTRY} answers"


def unreachable() -> str | None:
    """Ask the registry that the published images are in, and return why it cannot be used, or None."""
    try:
        with urllib.request.urlopen(REGISTRY, timeout=5) as answer:
            headers, status = answer.headers, answer.status
    except urllib.error.HTTPError as refusal:  # it asks for a token, which is what it should do
        with refusal:
            headers, status = refusal.headers, refusal.code
    except OSError as error:
        return f"{REGISTRY} cannot be reached ({getattr(error, 'reason', error)})"
    if status not in (200, 401) or headers.get("Docker-Distribution-Api-Version") != "registry/2.0":
        return f"{REGISTRY} is not answered by a registry (HTTP {status})"
    return None
