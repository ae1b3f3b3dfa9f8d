"""Executors of tasks: this process, processes of this machine, or a dask cluster.

An executor only decides where and when a task runs. It asks for the next task when there is room for one, so that
whoever makes the tasks can learn from those that are done.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar, get_args

from simulator.choices import ExecutorName
from simulator.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
MOST_DEATHS = 3  # processes that a task may take down with it before it is given up
AHEAD = 2  # tasks handed out for each process of a cluster, so that none is idle while a result is being written
NO_MORE = b""  # in place of a task
HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()
STOPPING = {signal.SIGINT, signal.SIGTERM} | ({signal.SIGHUP} if hasattr(signal, "SIGHUP") else set())
IGNORE_STOPS = """import signal
for name in ("SIGINT", "SIGHUP"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)"""  # in a cluster's processes, which it ends by SIGTERM


class Lost(NamedTuple):
    """Stand-in for a result: the task's process died, again and again."""

    reason: str


class ExecutorError(UserError):
    """An executor that is not available, in one sentence."""


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
    if name not in get_args(ExecutorName):
        raise ExecutorError(f"executor: must be one of {', '.join(get_args(ExecutorName))}, got {name!r}")
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_processes = processes or n_cores
    makers: dict[ExecutorName, Callable[[], Executor]] = {
        "serial": Serial,
        "processes": lambda: Processes(n_processes),
        "dask": lambda: Dask(n_processes, address),
    }
    return makers[name]()


class Serial:
    """One task after the other, in this process."""

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        while (task := next_task()) is not None:
            yield task, function(task)


@dataclass
class _Tried:
    """A task, and how many processes died of it."""

    task: Any
    deaths: int = 0


class _Worker:
    """A process, the pipe to it that nobody else holds, and what it is at. A closed pipe ends it, however that came."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = _context()
        self.pipe, its_end = context.Pipe()
        self._process = context.Process(target=_work, args=(its_end, function))
        self._process.start()
        its_end.close()
        self.tried: _Tried | None = None

    def send(self, tried: _Tried) -> None:
        content = pickle.dumps(tried.task)
        self.tried = tried
        with contextlib.suppress(OSError):  # it has died: to be found when its result is wanted
            self.pipe.send_bytes(content)

    def dismiss(self) -> None:
        """Let it end in its own way; it has no task."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(NO_MORE)
        self._process.join()

    def end(self) -> None:
        """End it at once."""
        self.pipe.close()
        self._process.kill()
        self._process.join()


@dataclass(frozen=True)
class Processes:
    """Processes of this machine. One that dies is replaced, and its task is done again.

    Each has a pipe of its own and no lock is shared, so that none waits for one that died, whatever that was doing.
    """

    n_processes: int

    def map_unordered(
        self, function: Callable[[Task], Result], next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Lost], None, None]:
        workers: list[_Worker] = []
        again: deque[_Tried] = deque()
        try:
            while busy := self._hand_out(workers, again, function, next_task):
                for pipe in wait(list(busy)):
                    worker, tried = busy[pipe]
                    try:
                        content = worker.pipe.recv_bytes()
                    except (EOFError, OSError):  # an OSError if it died within its result
                        workers.remove(worker)
                        worker.end()
                        tried.deaths += 1
                        if tried.deaths < MOST_DEATHS:
                            again.append(tried)
                        else:
                            yield tried.task, Lost(f"its process died {MOST_DEATHS} times (was memory short?)")
                        continue
                    worker.tried = None
                    result, error = pickle.loads(content)
                    if error is not None:
                        raise error
                    self._hand_out(workers, again, function, next_task)  # none is idle while this result is written
                    yield tried.task, result
            for worker in workers:
                worker.dismiss()
        finally:
            for worker in workers:
                worker.end()

    def _hand_out(
        self,
        workers: list[_Worker],
        again: deque[_Tried],
        function: Callable[[Task], Result],
        next_task: Callable[[], Task | None],
    ) -> dict[Any, tuple[_Worker, _Tried]]:
        """Give every process a task, as long as there are any; return those that have one, by their pipes."""
        while (worker := next((one for one in workers if one.tried is None), None)) or len(workers) < self.n_processes:
            tried = again.popleft() if again else _Tried(next_task())
            if tried.task is None:
                break
            if worker is None:
                worker = _Worker(function)
                workers.append(worker)
            worker.send(tried)
        return {worker.pipe: (worker, worker.tried) for worker in workers if worker.tried is not None}


def _context() -> Any:
    """Return the context of fresh processes, none of which meets what stops the process that starts them.

    Ctrl-C, the end of a terminal and some ends of a service go to every process of a group.
    """
    try:
        os.getcwd()  # which new processes are told
    except FileNotFoundError:
        got = "one that has been deleted (cd to another)"
        raise ExecutorError(f"--executor processes: must be started in a folder that exists, got {got}") from None
    if not HAS_FORKSERVER:
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver  # not on every system

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simulator.execution.tasks"])
    with _unstopped():
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _unstopped() -> Iterator[None]:
    """Keep STOPPING from what is started in the block, and from the tracker of what processes share."""
    from multiprocessing import resource_tracker

    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # which new processes inherit
    try:
        resource_tracker.ensure_running()  # it unblocks some where it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Run one task after the other in a new process, until there is no more or nobody waits for it."""
    for number in STOPPING:  # where they are not blocked: they are for the one that has started this
        signal.signal(number, signal.SIG_IGN)
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, tasks), daemon=True).start()
    while content := tasks.get():
        try:
            outcome = pickle.dumps((function(pickle.loads(content)), None))
        except BaseException as error:
            error.add_note(traceback.format_exc())  # what is sent has lost its own
            outcome = pickle.dumps((None, error))
        pipe.send_bytes(outcome)


def _listen(pipe: Connection, tasks: SimpleQueue[bytes]) -> None:
    """Pass on what comes; end this process at once when the other end is closed, whatever it is at."""
    try:
        while True:
            tasks.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


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
            needs = "the package distributed, which is not installed (pip install 'stragglersim[cluster]')"
            raise ExecutorError(f"--executor dask: needs {needs}") from None
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
                if HAS_FORKSERVER:
                    with _unstopped():
                        pass  # its processes are ended by SIGTERM
                cluster = LocalCluster(
                    n_workers=self.n_processes,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # any port that is free, for this machine alone
                    silence_logs=logging.CRITICAL,
                    preload=[IGNORE_STOPS],
                )
                where = stack.enter_context(cluster)
            try:
                if self.address is not None:  # a client that is half made is a noisy one
                    parse_host_port(parse_address(self.address)[1])
                client = Client(where, set_as_default=False)
            except (OSError, ValueError) as error:
                got = f"{self.address} ({' '.join(str(error).split())})"
                what = "that of a dask scheduler, e.g. tcp://host:8786"
                raise ExecutorError(f"--address: must be {what}, got {got}") from None
            yield stack.enter_context(client)
