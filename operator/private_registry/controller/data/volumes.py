"""How full registries' volumes are, asked of the container beside each registry.

Nobody waits for an answer that does not come: without one, what was known stays.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
from yarl import URL

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller import metrics
from private_registry.controller.health.rollout import is_ready, registry_pods
from private_registry.data.space import AnswerInvalidError, Space, is_close, parse
from private_registry.registry.deployment import SPACE_CONTAINER

logger = logging.getLogger(__name__)

EVERY = 30.0
"""Seconds between two questions about one volume."""
STARTS = 1.0
"""Seconds until a container in which nobody listens yet is asked again, by whoever looks: it starts with the registry,
and what it says is told together with that.
"""
DEADLINE = 2.0
"""Seconds, for an answer."""
LIMIT = 4096
"""Bytes of an answer that are read; one is a hundred."""


class Volumes:
    """The last answer about each registry's volume, asked again when it is old."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[float, Space | None]] = {}
        """By key of a registry: until when it is not asked again, and what came."""

    async def ask(self, registry: PrivateRegistry, pods: Iterable[dict[str, Any]]) -> Space | None:
        """How full its volume is; None where nobody says."""
        before = self._answers.get(registry.key)
        if before and self._clock() < before[0]:
            return before[1]
        if not (address := _address(pods)):
            return None
        space, good_for = await _ask(address)
        self._answers[registry.key] = (self._clock() + good_for, space)
        if space:
            metrics.say_space(registry.key, space.total, space.free)
        return space

    def next_look(self, registry: PrivateRegistry, space: Space | None) -> float:
        """Seconds until the volume is to be looked at again: soon where that matters, or where nobody has answered."""
        waited_for = space is None and registry.key in self._answers
        return EVERY if waited_for or is_close(space, registry.spec.storage.reserve) else math.inf

    def forget(self, key: str) -> None:
        """Of a registry that is gone."""
        if self._answers.pop(key, None):
            metrics.forget_space(key)


def _address(pods: Iterable[dict[str, Any]]) -> str:
    """Of a pod that serves and can tell; of several, whose volume is the same, any."""
    for pod in registry_pods(tuple(pods)):
        tells = any(container["name"] == SPACE_CONTAINER for container in pod["spec"]["containers"])
        if tells and is_ready(pod) and (address := (pod.get("status") or {}).get("podIP")):
            return str(address)
    return ""


async def _ask(address: str) -> tuple[Space | None, float]:
    """The answer, and for how many seconds it is good."""
    url = URL.build(scheme="http", host=address, port=names.SPACE_PORT, path="/")
    try:
        async with asyncio.timeout(DEADLINE), aiohttp.ClientSession() as session:
            async with session.get(url, allow_redirects=False) as response:
                answer = b""
                async for piece in response.content.iter_chunked(LIMIT):
                    answer += piece
                    if len(answer) > LIMIT:
                        raise AnswerInvalidError(f"more than {LIMIT} bytes")
                if response.status != 200:
                    raise AnswerInvalidError(f"status {response.status}")
            return parse(answer), EVERY
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        logger.info("nobody says how full the volume is", extra={"url": str(url), "error": str(error) or "no answer"})
        return None, STARTS if isinstance(error, aiohttp.ClientConnectorError) else EVERY
