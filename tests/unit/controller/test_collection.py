"""Where a collection of garbage stands, by what is in the cluster, and that it always ends with a writable registry."""

import copy
from datetime import timedelta
from functools import reduce
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.collection import GarbageCollectionStatus
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry, RegistryStatus
from private_registry.controller.data.collection import LATE, MARGIN, QUIESCE, Run, look, told
from private_registry.controller.registries.drift import stamped
from private_registry.controller.registries.observe import Observed
from private_registry.data.images import Reference
from private_registry.data.in_use import InUse
from private_registry.kube.writes import Apply, Create, Delete, Merge
from private_registry.registry.jobs import collection_job, in_use_config_map
from private_registry.registry.sweep import sweep_job
from tests.unit.controller.builders import NOW, a_claim, a_deployment, a_pod, a_registry, at

Object = dict[str, Any]
Status = GarbageCollectionStatus

IMAGE = "operator:1"
DEADLINE = 3600.0
UNTAGGED: Object = {"garbageCollection": {"deleteUntagged": True}}
NIGHTLY: Object = {"garbageCollection": {"schedule": "0 3 * * *"}}


def asking(
    value: str = "now", *, dry_run: str = "", spec: Object | None = None, status: Status | None = None
) -> PrivateRegistry:
    """A registry whose owner asks for a run."""
    before = RegistryStatus(garbage_collection=status or Status())
    registry = a_registry(spec, status=before)
    return registry.model_copy(update={"collect": value, "collect_dry_run": dry_run})


def a_job(
    since: float = 10, *, suspended: bool = True, dry_run: bool = False, asked: str = "now", spec: Object | None = None
) -> Object:
    """The Job as the API server gives it, made so many seconds ago."""
    job = collection_job(a_registry(spec), image=IMAGE, asked=asked, dry_run=dry_run, node="worker")
    job["metadata"] |= {"uid": "job", "creationTimestamp": at(since), "resourceVersion": "1"}
    job["spec"]["suspend"] = suspended
    return job


def a_job_pod(phase: str, message: str = "", *, job: str = "job") -> Object:
    pod = a_pod()
    pod["metadata"]["labels"] |= {names.COMPONENT: "collection", "batch.kubernetes.io/controller-uid": job}
    ended = {"terminated": {"exitCode": int(phase == "Failed"), "message": message, "finishedAt": at(0)}}
    state = ended if phase in ("Succeeded", "Failed") else {"running": {}}
    pod["status"] = {"phase": phase, "containerStatuses": [{"state": state}]}
    return pod


def serving(*, read_only: bool, leaving: bool = False) -> Object:
    """A pod of the registry itself."""
    pod = a_pod()
    pod["metadata"]["annotations"] = {names.READ_ONLY: "true"} if read_only else {}
    pod["spec"]["nodeName"] = "worker"
    if leaving:
        pod["metadata"]["deletionTimestamp"] = at(0)
    return pod


def seen(*pods: Object, job: Object | None = None, read_only: bool = False, claim: Object | None = None) -> Observed:
    deployment = copy.deepcopy(a_deployment())
    if read_only:
        about = deployment["spec"]["template"]["metadata"]
        about["annotations"] = {**(about.get("annotations") or {}), names.READ_ONLY: "true"}
    objects = {("Deployment", "team"): deployment, ("PersistentVolumeClaim", "team-data"): claim or a_claim()}
    if job is not None:
        objects["Job", "team-collection"] = job
    return Observed(objects, pods=pods or (serving(read_only=read_only),))


def run(registry: PrivateRegistry, observed: Observed, *, image: str = IMAGE, after: float = 0) -> Run:
    return look(registry, observed, image, NOW + timedelta(seconds=after))


def conditions(kind: str, **fields: str) -> Object:
    return {"conditions": [{"type": kind, "status": "True", **fields}]}


class TestBeginning:
    def test_nothing_is_done_unless_it_is_asked_for(self) -> None:
        """A registry that says nothing of it is left alone, and never looked at for it."""
        assert run(a_registry(), seen()) == Run()

    def test_it_begins_with_a_job_that_waits(self) -> None:
        """Suspended, so that it cannot run before nobody writes; there, so that nobody begins to write."""
        [write] = run(asking(), seen()).writes
        assert isinstance(write, Create)
        assert write.obj["spec"]["suspend"] is True
        assert write.obj["metadata"]["annotations"] == {names.COLLECT: "now"}

    def test_what_was_seen_to_is_not_asked_for_again(self) -> None:
        """The annotation stays where it is; another value asks again."""
        assert run(asking(status=Status(asked="now")), seen()).writes == ()
        assert run(asking("again", status=Status(asked="now")), seen()).writes != ()

    def test_a_long_value_is_known_again(self) -> None:
        """Whatever people write into an annotation, it asks for one run."""
        value = "x" * 300
        [write] = run(asking(value), seen()).writes
        assert isinstance(write, Create)
        asked = write.obj["metadata"]["annotations"][names.COLLECT]
        assert run(asking(value, status=Status(asked=asked)), seen()).writes == ()

    def test_a_rollout_is_waited_for(self) -> None:
        """What is on its way to be replaced is not made read-only first."""
        observed = seen()
        observed.objects["Deployment", "team"]["status"]["updatedReplicas"] = 0
        assert run(asking(), observed).writes == ()

    def test_a_sweep_is_waited_for(self) -> None:
        """It deletes tags, which a registry that takes no writes would refuse."""
        sweep = sweep_job(a_registry(), image=IMAGE, url="http://10.96.0.9:5000", server_name="", has_ca=False)
        waiting = run(asking(), seen().with_written(sweep))
        assert (waiting.writes, waiting.next_look) == ((), 2)
        assert run(asking(), seen().with_written(sweep | {"status": conditions("Complete")})).writes

    def test_a_dry_run_waits_for_nobody(self) -> None:
        """It changes nothing, where the registry's pod is, with a volume that it could not write to."""
        found = run(asking("", dry_run="what if"), seen())
        [write] = found.writes
        assert isinstance(write, Create)
        pod = write.obj["spec"]["template"]["spec"]
        assert pod["containers"][0]["volumeMounts"][0]["readOnly"] is True
        assert "worker" in str(pod["affinity"])
        let_go = run(asking("", dry_run="what if"), seen(job=a_job(dry_run=True)))
        assert let_go.cause is None
        [write] = let_go.writes
        assert isinstance(write, Merge)
        assert write.change == {"spec": {"suspend": False, "template": {}}}
        assert run(asking("", dry_run="what if"), seen(job=a_job(dry_run=True, suspended=False))) == Run()

    def test_without_the_operators_image_it_says_so(self) -> None:
        """An operator that runs outside of a pod has to be told."""
        [problem] = run(asking(), seen(), image="").problems
        assert problem.reason is Reason.COLLECTION_REFUSED
        assert "--image" in problem.message

    def test_a_volume_for_one_pod_takes_a_word_of_the_owner(self) -> None:
        """Without it nothing begins; with it, there is no pod meanwhile."""
        claim = a_claim()
        claim["spec"]["accessModes"] = ["ReadWriteOncePod"]
        [problem] = run(asking(), seen(claim=claim)).problems
        assert "allowOutage" in problem.message
        meant = asking(spec={"garbageCollection": {"allowOutage": True}})
        assert run(meant, seen(claim=claim)).writes != ()
        under_way = run(meant, seen(claim=claim, job=a_job()))
        assert under_way.halts
        assert under_way.writes == (), "its pod is still there"
        stopped = seen(serving(read_only=True), claim=claim, job=a_job())
        stopped.objects["Deployment", "team"]["spec"]["replicas"] = 0
        stopped.objects["Deployment", "team"]["status"] = {"observedGeneration": 9}
        assert run(meant, stopped).writes == ()
        [write] = run(meant, Observed(stopped.objects)).writes
        assert isinstance(write, Merge)


class TestUnderWay:
    def test_it_is_let_go_when_the_last_writer_is_gone(self) -> None:
        """Not while a pod is there that takes writes, be it on its way out; then where the one is that is left."""
        job, reader = a_job(), serving(read_only=True)
        for pods in ([serving(read_only=False)], [reader, serving(read_only=False, leaving=True)]):
            waiting = run(asking(), seen(*pods, job=job, read_only=True))
            assert waiting.writes == ()
            assert waiting.cause
            assert waiting.cause.reason is Reason.COLLECTING
        assert run(asking(), seen(reader, job=job, read_only=False)).writes == (), "a writer could come"
        [write] = run(asking(), seen(reader, job=job, read_only=True)).writes
        assert isinstance(write, Merge)
        assert write.change["spec"]["suspend"] is False
        assert "worker" in str(write.change["spec"]["template"])

    def test_pods_that_have_ended_write_nothing(self) -> None:
        """An evicted pod of long ago holds up nobody."""
        evicted = serving(read_only=False)
        evicted["status"]["phase"] = "Failed"
        assert run(asking(), seen(serving(read_only=True), evicted, job=a_job(), read_only=True)).writes

    @pytest.mark.parametrize(
        ("suspended", "limit"), [(True, QUIESCE), (False, QUIESCE + DEADLINE + MARGIN)], ids=["waiting", "running"]
    )
    def test_it_has_an_end_whatever_happens(self, suspended: bool, limit: float) -> None:
        """Up to then nobody writes; from then on everybody may, and what is left of the Job is stopped."""
        held = run(asking(), seen(job=a_job(limit - 1, suspended=suspended)))
        assert held.cause
        assert held.next_look == 1
        late = run(asking(), seen(job=a_job(limit, suspended=suspended)))
        assert late.cause is None
        [write] = late.writes
        assert isinstance(write, Merge)
        assert write.change["spec"] == {"suspend": True}
        assert names.GIVEN_UP in write.change["metadata"]["annotations"]

    def test_the_condition_says_until_when(self) -> None:
        """Whoever waits with a push is told the latest moment."""
        held = run(asking(), seen(job=a_job(0)))
        assert held.cause
        latest = NOW + timedelta(seconds=QUIESCE + DEADLINE + MARGIN)
        assert held.cause.message.endswith(f"or at {latest:%Y-%m-%dT%H:%M:%SZ}")


class TestUntagged:
    """What no tag leads to goes only by a list of what the cluster uses."""

    USED = InUse(NOW, frozenset([Reference("app", digest="sha256:1")]))

    def observed(self, *more: Object, dry_run: bool = False) -> Observed:
        found = seen(serving(read_only=True), job=a_job(spec=UNTAGGED, dry_run=dry_run), read_only=True)
        return reduce(Observed.with_written, more, found)

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_it_begins_once_it_is_told(self, dry_run: bool) -> None:
        """By a list that was made for this run, when all else was ready; pushes wait for as long."""
        registry, observed = asking(spec=UNTAGGED), self.observed(dry_run=dry_run)
        waiting = run(registry, observed)
        assert (waiting.untold, waiting.writes) == (observed.objects["Job", "team-collection"], ())
        assert bool(waiting.cause) is not dry_run
        write = told(registry, observed, waiting.untold or {}, self.USED)
        assert isinstance(write, Create)
        [let_go] = run(registry, observed.with_written(write.obj)).writes
        assert isinstance(let_go, Merge)
        assert let_go.change["spec"]["suspend"] is False

    def test_a_list_of_another_run_is_replaced(self) -> None:
        """What came into use since is not in it."""
        registry = asking(spec=UNTAGGED)
        before = stamped(in_use_config_map(registry, "", "another"))
        observed = self.observed(before)
        assert run(registry, observed).untold
        assert isinstance(told(registry, observed, a_job(spec=UNTAGGED), self.USED), Apply)

    def test_somebodys_config_map_ends_it(self) -> None:
        """It stays as it is and is named, and pushes are taken again."""
        registry = asking(spec=UNTAGGED)
        foreign = in_use_config_map(registry, "", "job")
        foreign["metadata"] = {"name": "team-in-use", "annotations": {}}
        write = told(registry, self.observed(foreign), a_job(spec=UNTAGGED), self.USED)
        assert isinstance(write, Merge)
        assert "team-in-use" in write.change["metadata"]["annotations"][names.GIVEN_UP]

    def test_too_many_images_end_it(self) -> None:
        """What has no place in the list would be deleted."""
        many = frozenset(Reference("app", digest=f"sha256:{number:064x}") for number in range(20_000))
        write = told(asking(spec=UNTAGGED), self.observed(), a_job(spec=UNTAGGED), InUse(NOW, many))
        assert isinstance(write, Merge)
        assert "20000 images" in write.change["metadata"]["annotations"][names.GIVEN_UP]

    def test_the_list_goes_when_it_is_over(self) -> None:
        """Before anything else comes."""
        registry = asking(spec=UNTAGGED)
        list_of_it = stamped(in_use_config_map(registry, "", "job"))
        job = a_job(spec=UNTAGGED, suspended=False)
        observed = seen(a_job_pod("Succeeded", "{}"), job=job).with_written(list_of_it)
        assert run(registry, observed).writes == (Delete(list_of_it),)


class TestEnd:
    DONE = '{"blobs": 3, "bytes": 4096, "manifests": 1, "repositories": 2}'

    def test_what_it_did_is_told(self) -> None:
        """By what its pod left behind, as soon as that has ended."""
        found = run(asking(), seen(a_job_pod("Succeeded", self.DONE), job=a_job(90, suspended=False)))
        assert found.cause is None
        assert found.status == Status(
            asked="now",
            last_run=at(90),
            result="Succeeded",
            duration_seconds=90,
            blobs=3,
            bytes=4096,
            manifests=1,
            repositories=2,
        )

    def test_it_is_told_once(self) -> None:
        """The Job stays as a record; the same record is the same status, and no write."""
        observed = seen(a_job_pod("Succeeded", self.DONE), job=a_job(90, suspended=False))
        told = run(asking(), observed).status
        assert run(asking(status=told), observed) == Run(told)
        without_pod = seen(job={**observed.objects["Job", "team-collection"], "status": conditions("Complete")})
        assert run(asking(status=told), without_pod) == Run(told), "its pod may be cleared away"

    @pytest.mark.parametrize(
        ("pod", "job", "message"),
        [
            (a_job_pod("Failed", '{"error": "the manifest is torn"}'), {}, "the manifest is torn"),
            (a_job_pod("Failed", "exec: no such file"), {}, "exec: no such file"),
            (a_job_pod("Failed"), {}, "it ended with 1"),
            (
                None,
                {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}},
                "D",
            ),
            (None, {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}, "its pod is gone"),
        ],
        ids=["said", "logged", "silent", "late", "gone"],
    )
    def test_why_it_failed(self, pod: Object | None, job: Object, message: str) -> None:
        """In its own words, or the kubelet's, or the Job's; and pushes are taken again."""
        pods = (serving(read_only=True), *([pod] if pod else []))
        found = run(asking(), seen(*pods, job=a_job(90, suspended=False) | job))
        assert found.cause is None
        assert found.status.result == "Failed"
        assert found.status.message.startswith(message)

    def test_one_that_is_given_up_says_so(self) -> None:
        """What its pod says afterwards does not count: it was too late."""
        job = a_job(90, suspended=True)
        job["metadata"]["annotations"][names.GIVEN_UP] = "it took too long"
        found = run(asking(), seen(a_job_pod("Running"), job=job))
        assert (found.cause, found.status.result, found.status.message) == (None, "Failed", "it took too long")

    def test_nothing_is_over_while_its_pod_runs(self) -> None:
        """The Job may be said to have failed while its pod still deletes."""
        job = a_job(90, suspended=False) | {"status": conditions("Failed")}
        assert run(asking(), seen(a_job_pod("Running"), job=job)).cause

    def test_pods_of_another_run_do_not_count(self) -> None:
        """Those of the last Job may be there for a while when the next one is."""
        observed = seen(a_job_pod("Succeeded", self.DONE, job="another"), job=a_job(suspended=False))
        assert run(asking(), observed).cause

    def test_the_next_one_takes_its_place(self) -> None:
        """Once what it did is in the status."""
        observed = seen(a_job_pod("Succeeded", self.DONE), job=a_job(90, suspended=False))
        again = asking("again")
        assert run(again, observed).writes == (), "not before"
        told = run(again, observed).status
        [write] = run(asking("again", status=told), observed).writes
        assert isinstance(write, Delete)

    def test_somebodys_job_is_no_run(self) -> None:
        """It stays, is named when a run is due, and makes nothing read-only."""
        job = a_job()
        job["metadata"]["labels"] = {}
        found = run(asking(), seen(job=job))
        assert (found.writes, found.cause) == ((), None)
        assert [each.reason for each in found.problems] == [Reason.NAME_TAKEN]
        assert run(a_registry(), seen(job=job)).problems == ()


class TestSchedule:
    def test_the_next_run_is_told_and_waited_for(self) -> None:
        """A schedule that is new is not behind: its first run is in the future."""
        found = run(asking("", spec=NIGHTLY), seen())
        assert (found.status.next_run, found.writes) == ("2026-01-04T03:00:00Z", ())
        assert found.next_look == 15 * 3600

    def test_it_runs_when_its_time_has_come(self) -> None:
        """And what follows is worked out when it is over."""
        waiting = run(asking("", spec=NIGHTLY), seen()).status
        [write] = run(asking("", spec=NIGHTLY, status=waiting), seen(), after=15 * 3600).writes
        assert isinstance(write, Create)
        done = seen(a_job_pod("Succeeded", "{}"), job=a_job(-15 * 3600, suspended=False, asked=""))
        found = run(asking("", spec=NIGHTLY, status=waiting), done, after=15 * 3600 + 60)
        assert (found.status.result, found.status.next_run) == ("Succeeded", "2026-01-05T03:00:00Z")
        assert found.writes == ()

    def test_one_that_was_missed_by_much_is_left_out(self) -> None:
        """An operator that was away for the night does not refuse pushes at noon."""
        waiting = run(asking("", spec=NIGHTLY), seen()).status
        late = run(asking("", spec=NIGHTLY, status=waiting), seen(), after=15 * 3600 + LATE)
        assert (late.writes, late.status.next_run) == ((), "2026-01-05T03:00:00Z")

    def test_another_schedule_is_another_time(self) -> None:
        """And another time zone, too; without a schedule there is no next run."""
        waiting = run(asking("", spec=NIGHTLY), seen()).status
        there = {"garbageCollection": {"schedule": "0 3 * * *", "timeZone": "Asia/Tokyo"}}
        assert run(asking("", spec=there, status=waiting), seen()).status.next_run == "2026-01-03T18:00:00Z"
        assert run(asking("", status=waiting), seen()).status == Status()

    @pytest.mark.parametrize(
        "spec", [{"schedule": "0 3 31 2 *"}, {"schedule": "0 3 * * *", "timeZone": "Europe/Atlantis"}]
    )
    def test_one_that_makes_no_sense_is_named(self, spec: Object) -> None:
        """What admission cannot know of: a day that never comes, a place that is not there."""
        [problem] = run(asking("", spec={"garbageCollection": spec}), seen()).problems
        assert problem.reason is Reason.SPEC_INVALID
        assert problem.message.startswith("spec.garbageCollection: ")
