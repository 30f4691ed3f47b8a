"""What the operator counts about itself, in the names that controllers have for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_RECONCILES = Counter("private_registry_reconcile", "Reconciles, by loop and result", ["loop", "result"])
_SECONDS = Histogram("private_registry_reconcile_seconds", "Time of one reconcile", ["loop"], buckets=_BUCKETS)
WRITES = Counter("private_registry_writes", "Mutating requests to the API server", ["verb", "kind"])
LEADER = Gauge("private_registry_leader", "1 while this operator leads")
REGISTRIES = Gauge("private_registry_registries", "Registries, by whether they are ready", ["ready"])

_TOTAL = Gauge("private_registry_storage_total_bytes", "Size of a registry's volume", ["namespace", "name"])
_FREE = Gauge("private_registry_storage_free_bytes", "What a registry can still write", ["namespace", "name"])


def say_space(key: str, total: int, free: int) -> None:
    """How full the volume of the registry of this key is, in bytes."""
    _TOTAL.labels(*key.split("/")).set(total)
    _FREE.labels(*key.split("/")).set(free)


def forget_space(key: str) -> None:
    """The registry is gone."""
    for gauge in (_TOTAL, _FREE):
        gauge.remove(*key.split("/"))


@contextmanager
def reconcile(loop: str) -> Iterator[None]:
    """Time one reconcile of a loop and count how it ended."""
    with _SECONDS.labels(loop).time():
        try:
            yield
        except Exception:
            _RECONCILES.labels(loop, "error").inc()
            raise
    _RECONCILES.labels(loop, "success").inc()
