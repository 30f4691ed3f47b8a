"""What the operator asks a registry itself, through its Service: whether it serves, deletes and can write."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health import rollout
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.observe import Observed, cluster_ips
from private_registry.controller.registries.plan import Plan
from private_registry.distribution import Answer, Registry, RegistryError
from private_registry.kube import kinds
from private_registry.registry.credentials import Credential
from private_registry.trust import entry as trust

NO_POD = Answer(yes=False, message="the registry's pod is not ready yet")


@dataclass(frozen=True)
class Serves:
    """The answer to /v2/, and whether it came in the way that the planned entry tells the nodes."""

    answer: Answer = NO_POD
    as_planned: bool = False


async def serves(registry: PrivateRegistry, seen: Observed, plan: Plan) -> Serves:
    """Ask as planned; until a rollout has changed the way (the certificate, say), as the nodes were told before."""
    if not rollout.is_available(seen.get(kinds.DEPLOYMENT, registry.name)):
        return Serves()
    planned = _planned(registry, seen, plan)
    answer = await _answer(registry, planned) if planned else NO_POD
    if answer.yes:
        return Serves(answer, as_planned=True)
    told = _told(registry, seen)
    if told and told != planned and (of_old := await told.serves()).yes:
        return Serves(of_old)
    return Serves(answer)


async def _answer(registry: PrivateRegistry, planned: Registry) -> Answer:
    """Of all ports that it is to have; one that is to ask nobody for credentials must not."""
    answer = await planned.serves() if registry.authenticates else await planned.is_open()
    return await replace(planned, port=registry.pull_port).serves() if answer.yes and registry.has_pulls else answer


async def accepted(registry: PrivateRegistry, seen: Observed, plan: Plan) -> frozenset[str]:
    """Which of the credentials that others are to be told of the registry knows, by their user names."""
    target = _planned(registry, seen, plan)
    if target is None or plan.users is None:
        return frozenset()
    wanted = [(plan.users.following, (names.PORT,)), (plan.users.following_pull, registry.ports_to_pull_from)]
    known = [user.username for user, ports in wanted if user and await _knows(target, user, ports)]
    return frozenset(known)


async def _knows(target: Registry, user: Credential, ports: Iterable[int]) -> bool:
    try:
        return all([await replace(_as(target, user), port=port).accepts() for port in ports])
    except RegistryError:
        return False


async def properties(registry: PrivateRegistry, seen: Observed, plan: Plan) -> tuple[Problem, ...]:
    """What is wrong with a registry that serves: deletion is not as asked, or it cannot write. Raises RegistryError."""
    target = _planned(registry, seen, plan)
    if target is None:
        raise RegistryError("no address yet")
    if plan.users:
        target = _as(target, plan.users.own)
        if not await target.accepts():
            raise RegistryError(f"the registry does not know the user {plan.users.own.username} yet")
    problems = []
    wanted = registry.spec.storage.delete_enabled
    if await target.deletion_enabled() != wanted:
        problems.append(
            Problem(
                Reason.DELETE_NOT_AS_ASKED,
                f"spec.storage.deleteEnabled is {str(wanted).lower()}, but the registry "
                f"{'refuses' if wanted else 'takes'} a DELETE: does the image {registry.spec.image} read "
                "REGISTRY_STORAGE_DELETE_ENABLED?",
            )
        )
    elif not wanted and await target.tag_deletion_enabled():
        problems.append(
            Problem(
                Reason.DELETE_NOT_AS_ASKED,
                "spec.storage.deleteEnabled is false, but the registry deletes tags all the same (CVE-2026-41888): "
                "give it an image of distribution 3.1.1 or newer",
            )
        )
    if not (written := await target.writable()).yes:
        problems.append(
            Problem(
                Reason.NOT_WRITABLE,
                f"the registry cannot write to the claim {registry.claim_name}: {written.message}; its pod runs as "
                "user and group 65532: make the volume writable for that group, or use a volume that honours fsGroup",
                Concern.STORAGE,
            )
        )
    return tuple(problems)


def _planned(registry: PrivateRegistry, seen: Observed, plan: Plan) -> Registry | None:
    addresses = cluster_ips(seen.get(kinds.SERVICE, registry.name))
    if not addresses:
        return None
    if registry.certificate_secret is None:
        return Registry(addresses[0], names.PORT, "http")
    if plan.serving is None:
        return None
    return Registry(addresses[0], names.PORT, "https", plan.serving.anchors, plan.serving.server_name)


def _as(target: Registry, user: Credential) -> Registry:
    return replace(target, login=(user.username, user.password))


def _told(registry: PrivateRegistry, seen: Observed) -> Registry | None:
    live = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
    if live is None:
        return None
    try:
        entry = trust.parse(live)
    except trust.EntryInvalidError:
        return None
    return Registry(entry.addresses[0], entry.port, entry.scheme, entry.ca_bundle, entry.server_name)
