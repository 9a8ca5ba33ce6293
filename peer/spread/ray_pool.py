"""Independent jobs, worked off by a Ray cluster: what `worker_processes` are on one machine. An edge: Ray."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from peer.errors import HyperpushError
from peer.spread.ray_cluster import cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from peer.spread.ray_cluster import Cluster

P = ParamSpec("P")
T = TypeVar("T")


class RayPool:
    """`peer.worker_processes.Workers`: as many at once as the cluster has CPUs for."""

    def __init__(self, cluster: Cluster, cpus: float) -> None:
        errors = cluster.ray.exceptions
        self.lost = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError)
        self.jobs = max(1, int(cluster.cpus // cpus))
        cluster.require(1, cpus, None, "job")
        self._perform = cluster.ray.remote(num_cpus=cpus)(_perform)

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        """What it gives, some time. A job whose process has ended is begun anew, as Ray has it."""
        future: Future[T] = Future()

        def settle(done: Future[T]) -> None:
            error = done.exception()
            cause = getattr(error, "cause", None)
            if isinstance(cause, HyperpushError):  # else with the traceback of there
                error = cause
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        answer: Future[T] = self._perform.remote(partial(function, *arguments, **options)).future()
        answer.add_done_callback(settle)
        return future


def _perform(job: Callable[[], Any]) -> Any:
    return job()


@contextlib.contextmanager
def ray_workers(address: str | None, cpus: float, jobs: int) -> Iterator[RayPool]:
    """Of the cluster at this address, or of one of this machine with room for so many jobs."""
    with cluster(address, jobs * cpus) as found:
        yield RayPool(found, cpus)
