"""Has a CRI runtime prove its trust: by every name of a registry it is asked for an image that cannot exist."""

import asyncio
import secrets
from collections.abc import Iterable

from private_registry.agent.cri.client import Cri
from private_registry.trust import proof
from private_registry.trust.node_files import HostDirectory
from private_registry.trust.reasons import TRUSTED, Verdict


async def prove_by_cri(
    cri: Cri, directories: Iterable[HostDirectory], *, setting: str = "the hosts.toml", hint: str = ""
) -> Verdict:
    """The verdict on the first name that is not trusted; TRUSTED when all are."""

    async def prove(directory: HostDirectory) -> Verdict:
        tag = secrets.token_hex(8)
        answer = await cri.pull(f"{directory.host}/{proof.REPOSITORY}:{tag}")
        details = answer.details.replace(f":{tag}", "")
        where = {"server": directory.server, "mirror": directory.mirror}
        return proof.classify(answer.code, details, **where, setting=setting, hint=hint)

    return worst(await asyncio.gather(*map(prove, directories)))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The first that is not trusted; when all are, the first with something to say; else TRUSTED."""
    found = sorted(verdicts, key=lambda verdict: (verdict.trusted, not verdict.message))
    return found[0] if found else TRUSTED
