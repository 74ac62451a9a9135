"""The workers of a sweep: processes of this machine, or those of a Dask scheduler that runs elsewhere."""

from __future__ import annotations

import logging
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hsds_lib.reports.sweep_share import SweepError

if TYPE_CHECKING:
    from distributed import Client

CONNECT = 5
"""Seconds within which a scheduler must answer."""
FIRST_WORKER = 30
"""Seconds within which its first worker must be there."""
_WORKER_MEMORY = 2 * 2**30  # bytes that a run at preset tiny or lesson may need, with its kernel


def default_workers(runs: int) -> int:
    """How many local workers suit this machine: one for each core, 2 GiB for each, not more than there are runs.

    Args:
        runs: how many runs there are to do.

    Returns:
        At least 1.

    Example:
        >>> default_workers(1)
        1
    """
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return max(1, min(CPU_COUNT, MEMORY_LIMIT // _WORKER_MEMORY, runs))


@contextmanager
def local_workers(count: int) -> Iterator[Client]:
    """Start worker processes on this machine, with one thread each, and end them after the block.

    Args:
        count: how many.

    Yields:
        A client of theirs.

    Example:
        >>> with local_workers(1) as client:
        ...     sum(client.nthreads().values())
        1
    """
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory(prefix="hsds-sweep-") as folder,
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            # The memory is taken by the kernel, a process of its own that Dask does not see: a limit would only hit
            # the worker. A kernel that the system ends for want of memory is a failed run with that sentence.
            memory_limit=0,
            local_directory=folder,
            silence_logs=logging.CRITICAL,
            # One death of a worker is told at once; who retries is the sweep.
            scheduler_kwargs={"allowed_failures": 0},
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(_deaf_to_interrupts())
        yield client


@contextmanager
def remote_workers(address: str, out: str, token: str) -> Iterator[Client]:
    """Connect to a scheduler, and make sure that its workers can take part.

    Args:
        address: such as ``tcp://192.168.1.5:8786``.
        out: the folder of the sweep, as a full path.
        token: as ``share_folder`` gave it.

    Yields:
        A client.

    Raises:
        SweepError: no scheduler answers, it has no worker, or a worker runs another library or sees another folder.

    Example:
        >>> with remote_workers("tcp://127.0.0.1:9", "sweeps/first", "0"):
        ...     pass
        Traceback (most recent call last):
        hsds_lib.reports.sweep_share.SweepError: no scheduler answers at tcp://127.0.0.1:9; ...
    """
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said by the sweep
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions; they are compared below
            client = Client(address, timeout=CONNECT)
    except (OSError, ValueError, TypeError):
        raise SweepError(
            f"no scheduler answers at {address}; start one with `dask scheduler` and give the address that it prints, "
            "or leave --scheduler out to use this machine"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            raise SweepError(
                f"the scheduler at {address} has no workers; start some with `dask worker {address} --nthreads 1`"
            ) from None
        check_workers(client, out, token)
        yield client


def check_workers(client: Client, out: str, token: str) -> None:
    """Refuse workers that would run something else, or write somewhere else.

    Args:
        client: connected to at least one worker.
        out: the folder of the sweep, as a full path.
        token: as ``share_folder`` gave it.

    Raises:
        SweepError: one sentence about the first worker that does not fit.

    Example:
        >>> with local_workers(1) as client:
        ...     check_workers(client, "/no/such/folder", "0")
        Traceback (most recent call last):
        hsds_lib.reports.sweep_share.SweepError: the worker ... does not see the folder /no/such/folder; ...
    """
    mine = _facts_maker()(out, token)
    for worker, found in sorted(client.run(_facts_maker(), out, token, on_error="return").items()):
        if not isinstance(found, dict):
            raise SweepError(f"the worker {worker} cannot load hsds_lib ({found}); install the course on its machine")
        for name in ("Python", "distributed", "hsds_lib"):
            if found[name] != mine[name]:
                raise SweepError(
                    f"the worker {worker} has {name} {found[name]}, but here it is {mine[name]}; "
                    "install the same on all workers"
                )
        if found["source"] != mine["source"]:
            raise SweepError(
                f"the worker {worker} has hsds_lib {found['hsds_lib']} with other source files than here; "
                "bring all workers to the same commit and start them again"
            )
        if not found["folder"]:
            raise SweepError(
                f"the worker {worker} does not see the folder {out}; put --out on a disk that all workers share, "
                "under the same path"
            )


def _facts_maker() -> Any:
    """A function that needs nothing of this module, so that it runs where the library is missing or another one."""

    def facts(out: str, token: str) -> dict[str, Any]:
        import platform

        import distributed

        import hsds_lib

        found: dict[str, Any] = {"Python": ".".join(platform.python_version_tuple()[:2])}
        found |= {"distributed": distributed.__version__, "hsds_lib": hsds_lib.__version__}
        try:
            from hsds_lib.reports.sweep_share import library_hash, sees_folder
        except ImportError:  # from before there were sweeps
            return found | {"source": "", "folder": True}
        return found | {"source": library_hash(), "folder": sees_folder(out, token)}

    return facts


def _deaf_to_interrupts() -> Any:
    """A plugin by which Ctrl-C, which a terminal sends to all processes, is met by the sweep alone."""
    from distributed import WorkerPlugin

    class DeafToInterrupts(WorkerPlugin):
        name = "hsds-interrupts"

        def setup(self, worker: Any) -> None:
            # A function, not SIG_IGN, which the kernels would inherit.
            signal.signal(signal.SIGINT, lambda *_: None)

    return DeafToInterrupts()
