"""Hostile objects at a real API server: what it lets in is what the operator reads, and nothing else gets as far."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from private_registry.api.hosts import InvalidHostError, Rules, parse_host
from private_registry.api.registry import parse
from private_registry.kube.client import ApiError, Kube, Object
from tests.hostile import SEED, hosts, words
from tests.integration.admission.conftest import NAMESPACE
from tests.integration.admission.test_rules import registry

AT_ONCE = 16
EVERYTHING = Rules(allowed_hosts=("*",))


async def admitted(admin: Kube, objects: Iterable[Object]) -> list[Object | None]:
    """What the API server would have stored of each object; None where it refuses it."""
    gate = asyncio.Semaphore(AT_ONCE)
    others = list[ApiError]()

    async def one(obj: Object) -> Object | None:
        async with gate:
            try:
                return await admin.create(obj, dry_run=True)
            except ApiError as refusal:
                if refusal.status not in (400, 422):
                    others.append(refusal)
                return None

    answers = await asyncio.gather(*map(one, objects))
    assert others == [], f"seed {SEED}"
    return answers


def is_read_as_it_is(live: Object) -> bool:
    """Whether the operator sees in an object all that stands in it."""
    read = parse({**live, "metadata": {"uid": "dry-run", **live["metadata"]}})
    return (read.namespace, read.name) == (live["metadata"]["namespace"], live["metadata"]["name"]) and is_in(
        live["spec"], read.spec.model_dump(mode="json", by_alias=True)
    )


def is_in(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and is_in(part[key], whole[key]) for key in part)
    return bool(part == whole and type(part) is type(whole))


async def test_hosts_that_are_admitted_are_hosts_to_the_operator(admin: Kube) -> None:
    """Of every twentieth hostile host and every good one: admission, operator and agents are of one mind."""
    asked = [host for at, host in enumerate(hosts()) if at % 20 == 0 or is_one(host)]
    assert len(asked) > 600
    answers = await admitted(admin, (registry({"nodeTrust": {"additionalHosts": [host]}}) for host in asked))
    for host, live in zip(asked, answers, strict=True):
        assert (live is not None) == is_one(host), f"seed {SEED}: {host!r}"
        if live is not None:
            assert live["spec"]["nodeTrust"]["additionalHosts"] == [host]
            assert is_read_as_it_is(live), f"seed {SEED}: {host!r}"


def is_one(host: str) -> bool:
    """Whether an administrator could allow it."""
    try:
        return EVERYTHING.is_allowed(parse_host(host))
    except InvalidHostError:
        return False


PLACES: dict[str, Callable[[str], Object]] = {
    "secretName": lambda word: registry({"tls": {"mode": "Secret", "secretName": word}}),
    "claimName": lambda word: registry({"storage": {"claimName": word}}),
    "a key of nodeSelector": lambda word: registry({"nodeTrust": {"nodeSelector": {word: "x"}}}),
    "a value of nodeSelector": lambda word: registry({"nodeTrust": {"nodeSelector": {"pool": word}}}),
    "image": lambda word: registry({"image": word}),
    "imagePullSecrets": lambda word: registry({"scheduling": {"imagePullSecrets": [{"name": word}]}}),
    "name": lambda word: registry({}, word or "-"),
}


async def test_what_is_admitted_reads_the_same(admin: Kube) -> None:
    """Names, labels and images: what the API server stores, the operator reads, to the last character."""
    some = tuple(
        dict.fromkeys([*tuple(words())[::12], "team", "team-1", "a.b", "registries/team", "a" * 253, "a" * 254])
    )
    for place, made in PLACES.items():
        answers = await admitted(admin, [made(word) for word in some])
        for word, live in zip(some, answers, strict=True):
            assert live is None or live["metadata"]["namespace"] == NAMESPACE
            assert live is None or is_read_as_it_is(live), f"seed {SEED}: {place} {word!r}"
        taken = {word for word, live in zip(some, answers, strict=True) if live is not None}
        strange = [word for word in taken if not (word.isascii() and word.isprintable()) or ".." in word]
        assert strange == [], f"seed {SEED}: {place}"


async def test_a_field_that_is_none_is_not_stored(admin: Kube) -> None:
    """What the schema does not have is dropped before anybody of ours reads it."""
    some = [word for word in words() if word][::12]
    for word, live in zip(some, await admitted(admin, [registry({word: word}) for word in some]), strict=True):
        assert live is None or word not in live["spec"], f"seed {SEED}: {word!r}"
