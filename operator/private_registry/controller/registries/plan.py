"""What to write next for one registry. Pure: what there is and what was asked for in, writes and problems out.

A plan holds only the writes that are possible now: a certificate needs the Service's addresses, so the first plan of a
new registry makes the Service and a later one the certificate. The loop plans anew after each round of writes until a
plan is empty. Killed between any two of them, the next start plans from what there is.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.data import claims, collection
from private_registry.controller.facts import Blocker, Facts
from private_registry.controller.health import rollout
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.health.rollout import Rollout
from private_registry.controller.registries import certificate, credentials
from private_registry.controller.registries.certificate import Serving
from private_registry.controller.registries.credentials import Users
from private_registry.controller.registries.drift import contains, drifted, is_left_behind, is_ours, stamped
from private_registry.controller.registries.observe import (
    CREDENTIALS,
    Observed,
    cluster_ips,
    earlier_files,
    has_pull_port,
    load_balancer_hosts,
    mounted_files,
    signs_uploads,
)
from private_registry.controller.registries.taken import names_taken
from private_registry.data import readonly
from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.kube.writes import Apply, Create, Delete, Write
from private_registry.registry.certificates import ca_config_map, certificate_secret
from private_registry.registry.claim import with_class_of
from private_registry.registry.configuration import configuration
from private_registry.registry.deployment import deployment
from private_registry.registry.image_proof import COMPONENT as IMAGE_PROOF
from private_registry.registry.image_proof import image_proof_pod
from private_registry.registry.metadata import asked_hash
from private_registry.registry.service import service
from private_registry.trust import entry as trust
from private_registry.trust import publish

Object = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    writes: tuple[Write, ...] = ()
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    """What is waited for before the next write can be planned; empty: nothing."""
    serving: Serving | None = None
    entry: trust.Entry | None = None
    users: Users | None = None
    """None where nobody is asked for credentials."""
    rollout: Rollout = rollout.ABSENT
    queued_behind: Blocker | None = None
    read_only: tuple[readonly.Cause, ...] = ()
    """Why it takes no writes; empty: it does."""
    run: collection.Run = field(default_factory=collection.Run)
    """Of the collection of garbage."""


def plan(registry: PrivateRegistry, seen: Observed, facts: Facts) -> Plan:
    """The next writes for a registry that is not being deleted."""
    run = collection.look(registry, seen, facts.settings.image, facts.now)
    causes = readonly.causes(registry, [*([run.cause] if run.cause else []), *facts.read_only])
    registry = credentials.staged(registry, seen, followed=facts.followed)
    registry = registry.model_copy(update={"read_only": bool(causes), "halted": run.halts})
    if taken := names_taken(registry, seen):
        return Plan(problems=taken, rollout=_rollout(registry, seen, facts))
    draft = _Draft(registry, seen, facts)
    draft.service()
    draft.configuration()
    draft.claim()
    if addresses := cluster_ips(seen.get(kinds.SERVICE, registry.name)):
        draft.certificate(addresses)
        draft.entry(addresses)
        draft.credentials(addresses)
        draft.deployment()
    else:
        draft.waiting = "the Service's address"
    draft.leftovers()
    done = draft.done()
    return replace(
        done,
        writes=(*done.writes, *run.writes),
        problems=(*done.problems, *run.problems),
        read_only=causes,
        run=run,
    )


class _Draft:
    """The plan while it is being made: one step per kind of child, in the order of creation."""

    def __init__(self, registry: PrivateRegistry, seen: Observed, facts: Facts) -> None:
        self._registry = registry
        self._seen = seen
        self._facts = facts
        self._rollout = _rollout(registry, seen, facts)
        self._writes: list[Write] = []
        self._problems: list[Problem] = []
        self._serving: Serving | None = None
        self._entry: trust.Entry | None = None
        self._users: Users | None = None
        self._signs = ""
        self._queued_behind: Blocker | None = None
        self._storage_usable = True
        published = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
        self._told, self._told_hash = _told(published)
        self._pods_are_as_asked = False
        """Whether the Deployment asks for the very pods that the spec asks for: nothing holds a change of them up."""
        self.waiting = ""

    def done(self) -> Plan:
        return Plan(
            writes=tuple(self._writes),
            problems=tuple(self._problems),
            waiting=self.waiting,
            serving=self._serving,
            entry=self._entry,
            users=self._users,
            rollout=self._rollout,
            queued_behind=self._queued_behind,
        )

    def service(self) -> None:
        live = self._seen.get(kinds.SERVICE, self._registry.name)
        known = self._registry.status.cluster_ips
        # The port stays until nobody is sent there any more: see leftovers().
        pulls = self._registry.doors.pulls or has_pull_port(live)
        if live is None and known:
            # Deleted by someone: it comes back with the addresses that the nodes know. They are no part of what is
            # compared from then on: the server keeps them by itself.
            again = service(self._registry, pulls=pulls, cluster_ips=known)
            self._writes.append(
                Create({**again, "metadata": stamped(service(self._registry, pulls=pulls))["metadata"]})
            )
        else:
            self._want(service(self._registry, pulls=pulls), live)

    def configuration(self) -> None:
        live = self._seen.get(kinds.SECRET, names.configuration(self._registry.name))
        self._signs = signs_uploads(live) or self._facts.chance.token()
        desired = configuration(self._registry, self._signs, earlier_files(self._registry, self._seen))
        # What an earlier pod mounts, and what somebody put there, is no reason to write: see leftovers().
        if live is None or not contains(live, desired):
            self._want(desired, live)

    def claim(self) -> None:
        decision = claims.decide(self._registry, self._seen, self._facts.claim_user)
        self._storage_usable, self.waiting = decision.usable, decision.waiting
        self._problems += decision.problems
        if decision.desired is not None:
            live, desired = self._seen.get(kinds.CLAIM, self._registry.claim_name), stamped(decision.desired)
            # The class is no part of what is compared: it is the server's choice, and stays.
            self._want_as_stamped(with_class_of(desired, live) if live else desired, live)

    def certificate(self, addresses: tuple[str, ...]) -> None:
        registry, seen, facts = self._registry, self._seen, self._facts
        live = seen.get(kinds.SECRET, names.certificate_secret(registry.name))
        hosts = certificate.host_names(registry, facts.settings.rules)
        before = certificate.kept(live, hosts, addresses, facts.now)
        deployment = seen.get(kinds.DEPLOYMENT, registry.name)
        handover = certificate.Handover(
            before,
            told=self._told.ca_bundle if self._told else None,
            confirmed=facts.confirmation.settled and facts.confirmation.entry_hash == self._told_hash,
            rolled_out=lambda fingerprint: rollout.serves_only(deployment, seen.pods, fingerprint),
        )
        match registry.spec.tls.mode:
            case "Disabled":
                return
            case "Managed":
                if (authority := facts.authority) is None:
                    self.waiting = "the operator's CA"
                    return
                public = load_balancer_hosts(seen.get(kinds.SERVICE, registry.name))
                every = (*hosts, *addresses, *public, "localhost", "127.0.0.1", "::1")
                known = facts.ca_bundle
                make = partial(certificate.managed, live, authority, known, every, facts.now, facts.chance)
                self._serving = handover.next(authority.cert_pem, known, make)
            case "Secret":
                secret = seen.get(kinds.SECRET, registry.spec.tls.secret_name or "")
                found = certificate.brought(registry, secret, hosts, addresses, facts.now)
                if isinstance(found, Problem):
                    self._problems.append(found)
                    if before is None:
                        return
                    found = before
                self._serving = handover.next(ca := found.ca_bundle, ca, partial(replace, found))
        self._tell_of_certificate(live)

    def _tell_of_certificate(self, live: Object | None) -> None:
        """What everybody is to trust, and only then the certificate itself."""
        if (serving := self._serving) is None:
            return
        registry, confirmation = self._registry, self._facts.confirmation
        if serving.ca_bundle:
            name = names.ca_config_map(registry.name)
            self._want(ca_config_map(registry, serving.ca_bundle), self._seen.get(kinds.CONFIG_MAP, name))
        self._want(certificate_secret(registry, serving.certificate), live)
        if serving.held_back or self._facts.succession:
            if confirmation.waited:
                self.waiting = f"nodes to have the next CA: {', '.join(confirmation.waited[:10])}"
            elif serving.held_back:
                self.waiting = "everybody to have heard of the next CA"

    def credentials(self, addresses: tuple[str, ...]) -> None:
        registry, seen, facts = self._registry, self._seen, self._facts
        if problem := credentials.unacknowledged(registry):
            self._problems.append(problem)
        if not registry.authenticates:
            return
        accepted, now, chance = facts.accepted, facts.now, facts.chance
        self._users = users = credentials.decide(registry, seen, accepted=accepted, now=now, chance=chance)
        self._problems += users.problems
        own = facts.settings.rules.own_names(registry.namespace, registry.name)
        hosts = [*map(str, own), *registry.hosts_in_pods, *(self._entry.hosts if self._entry else ())]
        for secret in credentials.secrets(registry, users, addresses, hosts):
            self._want(secret, seen.get(kinds.SECRET, secret["metadata"]["name"]))

    def deployment(self) -> None:
        registry, live = self._registry, self._seen.get(kinds.DEPLOYMENT, self._registry.name)
        if not self._storage_usable or (registry.certificate_secret and self._serving is None):
            return
        desired = deployment(
            registry,
            image=registry.spec.image or self._facts.settings.registry_image,
            certificate_hash=self._serving.fingerprint if self._serving else "",
            strategy=self._rollout.strategy,
            space_image=self._facts.settings.image,
        )
        annotations = desired["metadata"]["annotations"]
        before = (live["metadata"].get("annotations") or {}) if live else {}
        annotations[names.ROLLED_OUT_FOR] = before.get(names.ROLLED_OUT_FOR, "spec")
        annotations[names.ASKED] = self._asked()
        if registry.stage:
            annotations[names.STAGED] = "true"
        if live and before.get(names.TEMPLATE) != annotations[names.TEMPLATE]:
            is_upgrade = before.get(names.ASKED, annotations[names.ASKED]) == annotations[names.ASKED]
            is_second = names.STAGED in before  # of two rollouts: its turn is that of the first
            if self._rollout.busy:
                self.waiting = "the rollout before the next one"
                return
            if is_upgrade and not is_second and (blocker := self._facts.upgrade_blocker):
                self._queued_behind = blocker
                return
            if not is_second or not is_upgrade:
                annotations[names.ROLLED_OUT_FOR] = "upgrade" if is_upgrade else "spec"
        self._pods_are_as_asked = True
        if registry.stage:
            self.waiting = credentials.awaited(registry)
        self._want(desired, live)
        if self._rollout.prove_on:
            image = desired["spec"]["template"]["spec"]["containers"][0]["image"]
            pod = image_proof_pod(registry, image=image, node_name=self._rollout.prove_on)
            if not any(each["metadata"]["name"] == pod["metadata"]["name"] for each in self._seen.pods):
                self._writes.append(Create(pod))

    def _asked(self) -> str:
        """Hash of all that the pods depend on and that no operator decides."""
        service = self._seen.get(kinds.SERVICE, self._registry.name)
        brought = self._serving.fingerprint if self._serving and self._registry.spec.tls.mode == "Secret" else ""
        pulls = ["pull user"] if self._registry.has_pull_user else []
        writes = ["read-only"] if self._registry.read_only else []
        return asked_hash(
            self._registry, brought, *cluster_ips(service), *load_balancer_hosts(service), *pulls, *writes
        )

    def entry(self, addresses: tuple[str, ...]) -> None:
        registry, facts = self._registry, self._facts
        live = self._seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
        if not registry.spec.node_trust.enabled:
            if live and is_left_behind(live, registry.name):
                self._writes.append(Delete(live))
            return
        tls = self._serving
        if registry.certificate_secret and tls is None:
            return
        entry = None
        try:
            built = publish.build(
                registry,
                cluster_ips=addresses,
                ca_bundle=tls.ca_bundle if tls else "",
                rules=facts.settings.rules,
                server_name=tls.server_name if tls else "",
                covered=tls.covers if tls and registry.spec.tls.mode == "Secret" else None,
                taken_hosts=facts.taken_hosts,
            )
            if tls and self._told and self._told.scheme == "https" and live and is_ours(live, registry.uid):
                entry = publish.extended(self._told, tls.ca_bundle)  # of a CA to come they are told in any case
        except trust.EntryInvalidError as error:
            self._problems.append(Problem(Reason.HOST_INVALID, f"no node can trust it: {error}", Concern.NODES))
            return
        self._problems += [
            Problem(refusal.reason, f"spec.nodeTrust.additionalHosts: {refusal.message}", Concern.NODES)
            for refusal in built.refusals
            if refusal.host in registry.spec.node_trust.additional_hosts
        ]
        self._entry = built.entry
        # Nodes are told once the registry serves. One that was published before comes back whatever its registry
        # does: the nodes still have it, and an agent must not take its absence for a deletion.
        if facts.serves or (live is None and registry.was_published):
            entry = built.entry
        if entry is not None:
            fingerprint, namespace = tls.fingerprint if tls else "", facts.settings.agents_namespace
            config_map = publish.config_map
            self._want(config_map(entry, registry, namespace, live=live, serves_with=fingerprint, now=facts.now), live)

    def leftovers(self) -> None:
        """What an earlier spec or rollout needed. Nothing goes before the rollout that replaces it is complete."""
        if self._rollout.state != "complete" or self._writes or not self._pods_are_as_asked:
            return
        registry, uid = self._registry, self._registry.uid
        if earlier := earlier_files(registry, self._seen):
            kept = {key: earlier[key] for key in earlier.keys() & mounted_files(self._seen)}
            live = self._seen.get(kinds.SECRET, names.configuration(registry.name))
            self._want(configuration(registry, self._signs, kept), live)
        unused: list[tuple[Kind, str]] = []
        if registry.certificate_secret is None:
            unused.append((kinds.SECRET, names.certificate_secret(registry.name)))
        if registry.certificate_secret is None or (self._serving and not self._serving.ca_bundle):
            unused.append((kinds.CONFIG_MAP, names.ca_config_map(registry.name)))
        if not registry.authenticates:
            unused += [(kinds.SECRET, secret(registry.name)) for secret in CREDENTIALS]
        if not (registry.has_pull_user or registry.doors.pulls_ask):
            unused.append((kinds.SECRET, names.pull_secret(registry.name)))
        if not registry.doors.pulls and has_pull_port(live := self._seen.get(kinds.SERVICE, registry.name)):
            self._want(service(registry), live)
        self._writes += [Delete(obj) for key in unused if (obj := self._seen.get(*key)) and is_ours(obj, uid)]
        self._writes += [
            Delete(pod)
            for pod in self._seen.pods
            if is_ours(pod, uid)
            and pod["metadata"]["labels"].get(names.COMPONENT) == IMAGE_PROOF
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def _want(self, desired: Object, live: Object | None) -> None:
        self._want_as_stamped(stamped(desired), live)

    def _want_as_stamped(self, desired: Object, live: Object | None) -> None:
        if live is None:
            self._writes.append(Create(desired))
        elif drifted(desired, live):
            self._writes.append(Apply(desired, live))


def _told(published: Object | None) -> tuple[trust.Entry | None, str]:
    """The entry that nodes have, as far as it can be read, and its hash."""
    try:
        return (trust.parse(published), trust.hash_of(trust.data_of(published))) if published else (None, "")
    except trust.EntryInvalidError:
        return None, ""


def _rollout(registry: PrivateRegistry, seen: Observed, facts: Facts) -> Rollout:
    return rollout.of(registry, seen.get(kinds.DEPLOYMENT, registry.name), seen.pods, facts.now)


def plan_deletion(registry: PrivateRegistry, seen: Observed) -> tuple[Delete, ...]:
    """The deletes once no node trusts the registry any more: everything of ours, the claim by its policy."""
    kept = {kinds.CLAIM.kind} if registry.spec.storage.reclaim_policy == "Retain" else set()
    ours = [obj for obj in seen.objects.values() if is_ours(obj, registry.uid) and obj["kind"] not in kept]
    return tuple(Delete(obj) for obj in ours if not obj["metadata"].get("deletionTimestamp"))
