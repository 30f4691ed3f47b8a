"""Run in a pod of the operator's image: asks a registry for an image and offers it a blob, all the time.

    python3 - HOST REPOSITORY TAG CA_FILE STOP_FILE

Until there is a STOP_FILE. It prints the longest times, in seconds, for which no pull and no push was taken, and how
many of each were asked for.
"""

import asyncio
import json
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp

PAUSE = 0.05
"""Seconds between two questions."""
PATIENCE = aiohttp.ClientTimeout(total=1)
"""For an answer: who waits longer has none."""


async def longest_outage(ask: Callable[[], Awaitable[bool]], stop: str) -> tuple[float, int]:
    """The longest time from a question that was not answered to the next one that was; and the number of questions."""
    longest, asked = 0.0, 0
    since: float | None = None
    while not os.access(stop, os.F_OK):
        began, asked = time.monotonic(), asked + 1
        if await ask():
            # An answer that takes long is no outage: what counts is since when there was none.
            longest, since = max(longest, began - since if since else 0.0), None
        else:
            since = since or began
        await asyncio.sleep(PAUSE)
    return longest, asked


async def main(host: str, repository: str, tag: str, ca_file: str, stop_file: str) -> None:
    """Each question is a connection of its own, as those of different clients are."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file), force_close=True)
    base = f"https://{host}/v2/{repository}"
    kinds = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:

        async def answers(method: str, url: str, status: int) -> bool:
            try:
                async with session.request(method, url, headers=kinds) as answer:
                    await answer.read()
                    return answer.status == status
            except (aiohttp.ClientError, TimeoutError):
                return False

        pull, push = await asyncio.gather(
            longest_outage(lambda: answers("GET", f"{base}/manifests/{tag}", 200), stop_file),
            longest_outage(lambda: answers("POST", f"{base}/blobs/uploads/", 202), stop_file),
        )
    print(json.dumps({"pull": pull, "push": push}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
