"""A real API server takes every object that a registry is made of, and gives back what was asked for."""

import pytest

from private_registry.controller.registries.drift import drifted, stamped
from private_registry.kube.client import Kube
from tests.registries import SCENARIOS, a_registry, objects


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_what_is_asked_for_is_what_there_is(admin: Kube, scenario: str) -> None:
    """No object of ours looks changed to us after the server has filled in what we left out: steady means silent."""
    for obj in objects(a_registry(SCENARIOS[scenario])):
        desired = stamped(obj)
        live = await admin.create(desired, dry_run=True)
        assert not drifted(desired, live), f"{obj['kind']}: asked for {desired}, there is {live}"
