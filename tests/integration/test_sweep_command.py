"""The sweep as its Job starts it: `private-registry sweep`, over TLS, with a credential, and with ten thousand tags."""

import asyncio
import subprocess
from pathlib import Path

from private_registry.data.orders import parse_result
from tests.bench.registry import report
from tests.certificates import a_certificate
from tests.integration.layout import write_images
from tests.integration.registry_pod import RegistryPod
from tests.integration.sweeping import Sweeping, days_ago
from tests.integration.test_distribution_credentials import hashed
from tests.registries import a_registry


async def test_it_reads_where_anyone_may_and_deletes_with_a_credential(tmp_path: Path) -> None:
    """TLS is verified by the CA beside the credential; none of the two is an argument, or in what is said."""
    certificate = a_certificate(["127.0.0.1"])
    with RegistryPod(a_registry(), tmp_path / "pod", certificate=certificate, hashes={"me": hashed("mine")}) as pod:
        sweeping = Sweeping(pod.http, tmp_path / "sweep")
        for name, content in (("ca.crt", certificate.ca_pem), ("username", "me"), ("password", "mine")):
            (sweeping.directory / name).write_text(content)
        write_images(pod.volume, "app", {f"v{day}": (0, days_ago(10 - day)) for day in range(1, 4)}, owner=65532)
        sweeping.order("Enforce", minutes=-60)
        argv = sweeping.command(f"--pull-port={pod.pulls.port}")
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done
        assert await pod.pulls.tags("app") == ["v3"]
    assert "app:v1" in done.stdout
    assert "mine" not in done.stdout + done.stderr
    result = parse_result(sweeping.result_file.read_text())
    assert result
    assert (result.kept, result.would_delete, result.deleted) == (1, 0, 2)
    reads = [line for line in (tmp_path / "pod/log").read_text().splitlines() if '"http.request.method":"GET"' in line]
    assert reads == []


def test_a_sweep_that_fails_exits_so(tmp_path: Path) -> None:
    """The Job counts as failed then, too."""
    with RegistryPod(a_registry({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}), tmp_path / "pod") as pod:
        sweeping = Sweeping(pod.http, tmp_path / "sweep")
        assert subprocess.run(sweeping.command(), capture_output=True, timeout=60, check=False).returncode == 1


def test_ten_thousand_tags_are_little_work(tmp_path: Path) -> None:
    """All of them are in the list, in an order of pages that the registry gives, in bounded memory."""
    done = report.report(tmp_path)
    # The twenty tags of the five youngest images, and those of the image that one of them is used of.
    assert done.lines[1] == f"120 tags stay, {report.TAGS - 120} would go, 0 are gone"
    assert len([line for line in done.lines if line.startswith("team/app:")]) == report.TAGS
    assert done.memory <= report.MEMORY
