"""What other namespaces are to have of a registry, and what is done for it in each."""

import copy
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import Copies, PrivateRegistry, RegistryStatus
from private_registry.controller.copies import shares
from private_registry.controller.copies.shares import Share
from private_registry.controller.health.problem import Problem
from private_registry.kube.writes import Apply, Create, Delete
from private_registry.registry.certificates import ca_config_map
from private_registry.registry.credentials import Credential, pull_secret
from tests.unit.controller.builders import a_body, a_registry

Object = dict[str, Any]

NAME = "registries.team.pull"
TEAM_A: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"team": "a"}}}


def asking(*, held: tuple[str, ...] = (), attached: tuple[str, ...] = (), **asked: Any) -> PrivateRegistry:
    """A registry that asks for pull secrets so."""
    spec = {"auth": {"anonymousPull": False, "pullSecret": asked}}
    copies = Copies(pull_secret_namespaces=held, service_accounts=attached)
    return a_registry(spec, status=RegistryStatus(copies=copies))


def beside(registry: PrivateRegistry, password: str = "a password") -> Object:
    return pull_secret(registry, Credential("pull-0", password), registry.hosts_in_pods)


def all_namespaces(*going: str, **labels: Object) -> dict[str, Object]:
    found: dict[str, Object] = {name: {"metadata": {"name": name, "labels": each}} for name, each in labels.items()}
    for name in going:
        found[name]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return found


ALL = all_namespaces(a={"team": "a"}, b={"team": "b"}, c={"team": "a"})


def share_of(registry: PrivateRegistry, **others: Any) -> Share:
    return shares.pull_secret(registry, beside(registry, **others), ALL)


class TestWhich:
    def test_by_name_and_by_label(self) -> None:
        """Those that exist; a name may be that of one to come."""
        assert share_of(asking(namespaces=["b", "to-come"])).namespaces == ("b",)
        assert share_of(asking(namespaces=["b"], **TEAM_A)).namespaces == ("a", "b", "c")
        assert share_of(asking()).namespaces == ()

    def test_one_that_goes_gets_nothing(self) -> None:
        """Nothing can be made in it any more, and what is in it goes with it."""
        registry = asking(**TEAM_A)
        going = all_namespaces("c", a={"team": "a"}, c={"team": "a"})
        assert shares.pull_secret(registry, beside(registry), going).namespaces == ("a",)

    def test_a_thousand_at_most(self) -> None:
        """The others are told of; those that have it keep it, whatever is added."""
        many = all_namespaces(**{f"n{number:04}": {"team": "a"} for number in range(1002)})
        registry = asking(held=("n1001",), **TEAM_A)
        share = shares.pull_secret(registry, beside(registry), many)
        assert len(share.namespaces) == shares.MOST
        assert "n1001" in share.namespaces
        assert share.problem
        assert share.problem.reason is Reason.TOO_MANY_NAMESPACES
        assert "1002 namespaces are selected" in share.problem.message

    def test_where_it_is_asked_for_no_longer_it_is_still_seen_to(self) -> None:
        """Until it has gone from there."""
        share = share_of(asking(held=("b", "gone"), namespaces=["a"]))
        assert share.namespaces == ("a",)
        assert share.everywhere == ("a", "b", "gone")

    def test_a_registry_that_goes_takes_it_from_everywhere(self) -> None:
        """Be the Secret beside it there or not."""
        registry = asking(held=("a",), namespaces=["a"]).model_copy(update={"deleting": True})
        for source in (None, beside(registry)):
            share = shares.pull_secret(registry, source, ALL)
            assert (share.namespaces, share.everywhere, share.waits) == ((), ("a",), False)


class TestWaiting:
    def test_for_a_credential_that_the_registry_accepts(self) -> None:
        """As long as there is none beside the registry, the copies stay as they are: what they hold may be good."""
        share = shares.pull_secret(asking(held=("b",), attached=("default",), namespaces=["a"]), None, ALL)
        assert share.waits
        assert share.everywhere == ("b",)
        assert share.all_accounts == ("default",)

    def test_until_nobody_needs_one(self) -> None:
        """As long as there is one beside the registry, its pods may ask for it."""
        spec = {"auth": {"mode": "Basic"}}
        registry = a_registry(spec, status=RegistryStatus(copies=Copies(pull_secret_namespaces=("a",))))
        assert shares.pull_secret(registry, beside(registry), ALL).waits
        assert not shares.pull_secret(registry, None, ALL).waits

    def test_another_ones_secret_is_none(self) -> None:
        """It is not given away because it has the name."""
        registry = asking(namespaces=["a"])
        foreign = beside(registry)
        foreign["metadata"]["labels"] = {}
        assert shares.pull_secret(registry, foreign, ALL).waits


class TestCa:
    def share(self, tls: Object, bundle: str | None = "a CA", **status: Any) -> Share:
        registry = a_registry({"tls": {**tls, "caDistribution": TEAM_A}}, status=RegistryStatus(**status))
        return shares.ca(registry, ca_config_map(registry, bundle) if bundle else None, ALL)

    def test_it_goes_where_it_is_asked_for(self) -> None:
        """As it is beside the registry."""
        share = self.share({})
        assert share.namespaces == ("a", "c")
        assert share.content == "a CA"

    def test_a_managed_one_is_waited_for(self) -> None:
        """There will be one."""
        assert self.share({}, None).waits

    def test_one_that_is_brought_may_have_none(self) -> None:
        """Copies of one that there was go, once the status says that there is none any more."""
        brought = {"mode": "Secret", "secretName": "own"}
        held = Copies(ca_namespaces=("a",))
        assert self.share(brought, None, ca_config_map_name="team-ca", copies=held).waits
        share = self.share(brought, None, copies=held)
        assert (share.waits, share.namespaces, share.everywhere) == (False, (), ("a",))


def decided(registry: PrivateRegistry, live: Object | None, namespace: str = "a", **others: Any) -> Any:
    return shares.decide(registry, share_of(registry, **others), namespace, live)


def a_copy(registry: PrivateRegistry) -> Object:
    """As the API server gives it."""
    made = decided(registry, None)
    assert isinstance(made, Create)
    return made.obj


class TestOneNamespace:
    def test_it_is_made_once(self) -> None:
        """It holds what a pod pulls with and no more, says whose it is, and is not written again."""
        registry = asking(namespaces=["a"])
        made = a_copy(registry)
        assert (made["metadata"]["namespace"], made["metadata"]["name"]) == ("a", NAME)
        assert made["type"] == "kubernetes.io/dockerconfigjson"
        assert made["data"].keys() == {".dockerconfigjson"}
        assert names.PART_OF not in made["metadata"]["labels"]
        assert decided(registry, made) is None

    def test_it_follows(self) -> None:
        """Another credential beside the registry is another one in each copy; an edited copy is put right."""
        registry = asking(namespaces=["a"])
        made = a_copy(registry)
        assert isinstance(decided(registry, made, password="another"), Apply)
        edited = copy.deepcopy(made)
        edited["data"][".dockerconfigjson"] = "AAAA"
        assert isinstance(decided(registry, edited), Apply)

    def test_it_goes(self) -> None:
        """Where it is asked for no more."""
        registry = asking(namespaces=["a"])
        made = a_copy(registry)
        assert decided(asking(namespaces=["b"]), made) == Delete(made)
        assert decided(asking(namespaces=["b"]), None) is None

    @pytest.mark.parametrize("label", [names.MANAGED_BY, names.INSTANCE, names.REGISTRY_NAMESPACE])
    def test_another_ones_object_is_never_touched(self, label: str) -> None:
        """Its name is taken, which is said; and it does not go when the registry goes."""
        registry = asking(namespaces=["a"])
        foreign = a_copy(registry)
        del foreign["metadata"]["labels"][label]
        problem = decided(registry, foreign)
        assert isinstance(problem, Problem)
        assert problem.reason is Reason.NAME_TAKEN
        assert f"Secret {NAME} in namespace a" in problem.message
        assert decided(asking(namespaces=["b"]), foreign) is None

    def test_that_of_an_earlier_registry_of_the_name_is_taken_over(self) -> None:
        """Its heir puts right what it holds."""
        registry = asking(namespaces=["a"])
        left = a_copy(registry)
        left["metadata"]["labels"][names.REGISTRY_UID] = "another"
        assert isinstance(decided(registry, left), Apply)


class TestServiceAccounts:
    def test_our_item_comes_and_goes_and_others_stay(self) -> None:
        """As they are, and in their order; nothing is written over a change of somebody else's, or without need."""
        mine = {"name": "mine"}
        account = {"metadata": {"resourceVersion": "7"}, "imagePullSecrets": [mine]}
        version = {"metadata": {"resourceVersion": "7"}}
        assert shares.attachment(account, NAME, wanted=False) is None
        both = {**version, "imagePullSecrets": [mine, {"name": NAME}]}
        assert shares.attachment(account, NAME, wanted=True) == both
        assert shares.attachment(both, NAME, wanted=True) is None
        assert shares.attachment(both, NAME, wanted=False) == account
        alone = {**version, "imagePullSecrets": [{"name": NAME}]}
        assert shares.attachment(alone, NAME, wanted=False) == {**version, "imagePullSecrets": None}
        assert shares.attachment(version, NAME, wanted=True) == alone

    def test_those_that_are_named_no_more_are_still_seen_to(self) -> None:
        """Until it has been taken from them."""
        share = share_of(asking(attached=("builder",), namespaces=["a"], serviceAccounts=["default"]))
        assert share.all_accounts == ("default", "builder")


def test_where_a_copy_may_be_is_noted_before_it_is_made() -> None:
    """All that is there or asked for; and a second look at the same has nothing new to note."""
    registry = asking(held=("b",), namespaces=["a"], serviceAccounts=["default"])
    before = registry.status.copies
    both = (share_of(registry), shares.ca(registry, None, ALL))
    noted = shares.noted(before, both)
    assert noted.pull_secret_namespaces == ("a", "b")
    assert noted.service_accounts == ("default",)
    assert shares.noted(noted, both) == noted


@pytest.mark.parametrize(
    ("spec", "copies", "concerned"),
    [
        ({}, Copies(), False),
        ({"auth": {"anonymousPull": False, "pullSecret": {}}}, Copies(), True),
        ({"tls": {"caDistribution": TEAM_A}}, Copies(), True),
        ({}, Copies(pull_secret_namespaces=("a",)), True),
        ({}, Copies(ca_namespaces=("a",)), True),
    ],
)
def test_whom_it_concerns(spec: Object, copies: Copies, concerned: bool) -> None:
    """Registries that ask for something elsewhere or have something there; all others are left alone."""
    assert shares.concerns(a_body(spec, status=RegistryStatus(copies=copies))) is concerned
