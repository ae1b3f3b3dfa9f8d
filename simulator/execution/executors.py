"""Where tasks run: in this process, in processes of this machine, or on a dask cluster.

An executor only decides where and when a task runs. It asks for the next task when there is room for one, so that
whoever makes the tasks can learn from those that are done.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol, TypeVar

from simulator.choices import ExecutorName
from simulator.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
MOST_DEATHS = 3  # processes that a task may take down with it before it is given up
AHEAD = 2  # tasks handed out for each process, so that none is idle while a result is being written


class Lost(NamedTuple):
    """In place of a result: the task's process died, again and again."""

    reason: str


class ExecutorError(UserError):
    """An executor that can't be had, in one sentence."""


class Executor(Protocol):
    """Runs tasks, in any order."""

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        """Yield each task with its result as soon as it is there; closing the iterator stops what is running.

        Parameters
        ----------
        function
            Of a module, so that other processes find it; what it raises is raised here.
        next_task
            Asked whenever there is room; None: there is none now. After each result it is asked again.
        """


def executor_of(name: ExecutorName, processes: int | None = None, address: str | None = None) -> Executor:
    """The executor of a name.

    Parameters
    ----------
    name
        ``serial``, ``processes`` or ``dask``.
    processes
        How many; None: one for each core that this process may use.
    address
        Of a dask scheduler; None: a cluster of ``processes`` on this machine.

    Raises
    ------
    ExecutorError
        If the options contradict each other.

    Examples
    --------
    >>> left = [3, 2, 1]
    >>> list(executor_of("serial").map_unordered(abs, lambda: left.pop() if left else None))
    [(1, 1), (2, 2), (3, 3)]
    """
    if processes is not None and processes < 1:
        raise ExecutorError(f"--processes: must be at least 1, got {processes}")
    if address is not None and name != "dask":
        raise ExecutorError(f"--address: must go with --executor dask, got --executor {name}")
    n_processes = processes or _n_cores()
    if name == "processes":
        return Processes(n_processes)
    return Dask(n_processes, address) if name == "dask" else Serial()


def _n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Serial:
    """One task after the other, in this process."""

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        while (task := next_task()) is not None:
            yield task, function(task)


@dataclass
class _Running:
    """A task in a pool, and how many processes died while it was there."""

    task: Any
    deaths: int = 0


@dataclass(frozen=True)
class Processes:
    """Processes of this machine. One that dies is replaced, and its task is done again.

    A pool can't tell which of its processes died. So the tasks that were there run alone once more: the one that takes
    its process down again is known then.
    """

    n_processes: int

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        suspects: deque[_Running] = deque()
        while True:
            running: dict[Future[Result], _Running] = {}
            try:
                with _pool(self.n_processes) as pool:
                    while self._fill(pool, running, suspects, function, next_task):
                        done, _ = wait(running, return_when=FIRST_COMPLETED)
                        for future in sorted(done, key=_is_broken):
                            result = future.result()
                            yield running.pop(future).task, result
                    return
            except BrokenProcessPool:
                for one in running.values():
                    one.deaths += 1
                    if one.deaths < MOST_DEATHS:
                        suspects.append(one)
                    else:
                        yield one.task, Lost(f"its process died {MOST_DEATHS} times (was memory short?)")

    def _fill(
        self,
        pool: ProcessPoolExecutor,
        running: dict[Future[Result], _Running],
        suspects: deque[_Running],
        function: Callable[[Task], Result],
        next_task: Callable[[], Task | None],
    ) -> bool:
        """Hand out tasks while there is room; return whether any is running."""
        while len(running) < AHEAD * self.n_processes:
            if running and (suspects or any(one.deaths for one in running.values())):
                break  # a suspect runs alone
            one = suspects.popleft() if suspects else _Running(next_task())
            if one.task is None:
                break
            try:
                running[pool.submit(function, one.task)] = one
            except BrokenProcessPool:  # not this one's fault
                suspects.append(one)
                raise
        return bool(running)


def _is_broken(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


@contextlib.contextmanager
def _pool(n_processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end at once when this block is left by an exception, or when this process dies."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["simulator.execution.tasks"])
    watched, held = context.Pipe(duplex=False)  # its end, which nobody else holds, closes with this process
    pool = ProcessPoolExecutor(n_processes, context, initializer=_begin, initargs=(watched,))
    try:
        yield pool
    except BaseException:
        held.close()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        held.close()
        watched.close()


def _begin(watched: Connection) -> None:
    """In a new process: leave Ctrl-C to the one that has started it, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            watched.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class Dask:
    """A dask cluster: the one at an address, or one of this machine. Dask itself survives workers that die."""

    n_processes: int
    address: str | None = None

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        try:
            from distributed import KilledWorker, as_completed
        except ImportError:
            raise ExecutorError(
                "--executor dask: needs the package distributed, which is not installed "
                "(pip install 'stragglersim[cluster]')"
            ) from None
        with self._client() as client:
            running: dict[Any, Any] = {}
            completed = as_completed(loop=client.loop)
            while True:
                room = AHEAD * max(1, sum(client.nthreads().values()))
                while len(running) < room and (task := next_task()) is not None:
                    future = client.submit(function, task, pure=False)
                    running[future] = task
                    completed.add(future)
                if not running:
                    return
                future = next(completed)
                task = running.pop(future)
                if isinstance(future.exception(), KilledWorker):
                    yield task, Lost("its process died again and again (was memory short?)")
                else:
                    yield task, future.result()

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        import logging

        from distributed import Client, LocalCluster
        from distributed.comm.addressing import parse_address, parse_host_port

        with contextlib.ExitStack() as stack:
            where = self.address
            if where is None:
                cluster = LocalCluster(
                    n_workers=self.n_processes,
                    threads_per_worker=1,
                    dashboard_address=":0",  # any port that is free
                    silence_logs=logging.CRITICAL,
                    preload=["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"],  # Ctrl-C is for us
                )
                where = stack.enter_context(cluster)
            try:
                if self.address is not None:  # a client that is half made is a noisy one
                    parse_host_port(parse_address(self.address)[1])
                client = Client(where, set_as_default=False)
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise ExecutorError(
                    f"--address: must be that of a dask scheduler, e.g. tcp://host:8786, got {self.address} ({reason})"
                ) from None
            yield stack.enter_context(client)
