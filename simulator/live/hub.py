"""The master's end of the line: who is there, what has come, and when it was heard."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import socket as sockets
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import zmq

from simulator.errors import LiveError
from simulator.live.wire import VERSION, Array, Message, WireError, pack, unpack

HELLO_S = 60.0  # to start all workers in
SILENCE_S = 10.0  # after which a worker that does not answer counts as gone, and a worker leaves
HANG_S = 120.0  # for one gradient of one chunk, after which a worker counts as gone, though its heart beats
PING_S = 1.0
FINE_S = 0.0015  # the last of a wait is spent looking: polls end at whole milliseconds
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Heard(NamedTuple):
    """Something that a worker has said."""

    kind: str  # "report", "uploaded", "reborn": another process is this worker now, "gone": none is any more
    worker: int
    at_s: float  # by the master's clock
    header: dict[str, Any]
    arrays: list[Array]


class Host(NamedTuple):
    """A place where workers run."""

    start: Callable[[Mapping[str, Any]], None]
    is_up: Callable[[], bool]  # false: what makes the workers has ended
    stop: Callable[[], None]  # and end those that do not leave
    last_words: Callable[[], str] = str  # of what went wrong there


class Hub:
    """All workers of a run.

    Parameters
    ----------
    n_workers
        How many there are to be.
    workload, folder
        What they compute gradients of, as a scenario says it, and what paths in it are relative to.
    hosts
        Where they run: by default as processes of this machine.
    address
        To which workers connect, an IP address of this machine.
    """

    def __init__(
        self,
        n_workers: int,
        workload: Mapping[str, Any],
        folder: Path,
        hosts: Sequence[Host] = (),
        address: str = "127.0.0.1",
    ) -> None:
        self._n_workers = n_workers
        self._token = secrets.token_hex(16)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 0)
        port = self._socket.bind_to_random_port(f"tcp://{address}")
        self._said = {
            "address": f"tcp://{address}:{port}",
            "token": self._token,
            "workload": workload,
            "folder": str(folder),
            "silence_s": SILENCE_S,
            "path": [path for path in sys.path if path],
        }
        self._hosts = list(hosts) or [local_host()]
        self._routes: dict[int, bytes] = {}
        self._generation: dict[int, int] = {}
        self._heard_s: dict[int, float] = {}
        self._gone: set[int] = set()
        self._waiting: deque[Heard] = deque()
        self._pinged_s = 0.0
        self.progress: dict[int, float] = {}  # share of its list that each worker has done, as it told last
        self.pids: dict[int, int] = {}  # processes, on the machines where they are
        self.n_refused = 0  # messages of strangers
        self.n_replaced: Counter[int] = Counter()  # processes that another one has taken the place of, by worker
        self._gradient_s: dict[int, float] = {}  # for how long each has been at the present one
        self.n_orders = 0  # given out, in all runs: an order's number is never used again

    def __enter__(self) -> Self:
        """Start all workers, and wait until each has said hello."""
        try:
            shares = [range(first, self._n_workers, len(self._hosts)) for first in range(len(self._hosts))]
            for host, share in zip(self._hosts, shares, strict=True):
                host.start(self._said | {"workers": list(share)})
            until_s = time.perf_counter() + HELLO_S
            while len(self._routes) < self._n_workers:
                self._poll(min(until_s, time.perf_counter() + PING_S))
                if time.perf_counter() > until_s:
                    late = sorted(set(range(self._n_workers)) - set(self._routes))
                    raise LiveError(
                        f"worker {late[0]}: must say hello within {HELLO_S:g} s, got nothing "
                        f"({len(late)} of {self._n_workers} workers have not; are there enough cores and memory?)"
                    )
                for host in self._hosts:
                    if not host.is_up():
                        raise LiveError(f"workers: must start, got {host.last_words() or 'an exit without a message'}")
            self._waiting.clear()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let all workers go; end those that do not."""
        for worker in list(self._routes):
            with contextlib.suppress(zmq.ZMQError):
                self.send(worker, "bye", {})
        for host in self._hosts:
            host.stop()
        self._context.destroy(linger=200)

    def last_words(self) -> str:
        """What workers have said of what went wrong."""
        return next((words for host in self._hosts if (words := host.last_words())), "")

    @staticmethod
    def now_s() -> float:
        """The master's clock."""
        return time.perf_counter()

    def send(self, worker: int, kind: str, header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
        """Send a message."""
        self.forward(worker, self.packed(kind, header, arrays))

    def packed(self, kind: str, header: Mapping[str, Any], arrays: Sequence[Array] = ()) -> list[bytes]:
        """A message that can be sent, to whom ever and more than once."""
        return pack(kind, {"token": self._token, **header}, arrays)

    def forward(self, worker: int, frames: list[bytes]) -> None:
        """Send what has been packed."""
        self._socket.send_multipart([self._routes[worker], *frames], copy=False)

    def receive(self, until_s: float) -> Heard | None:
        """Wait for the next message of a worker, until some instant of the clock; None: nothing has come."""
        while not self._waiting:
            if not self._poll(until_s) and time.perf_counter() >= until_s:
                return None
        return self._waiting.popleft()

    def _poll(self, until_s: float) -> bool:
        """Take one message in, if one comes."""
        now_s = time.perf_counter()
        if now_s > self._pinged_s + PING_S:
            self._ping(now_s)
        left_s = min(until_s - now_s, PING_S)
        # whole milliseconds first, then as often as possible
        if not self._socket.poll(max(0, int(1000 * (left_s - FINE_S))) if left_s > FINE_S else 0):
            return False
        route, *frames = self._socket.recv_multipart()
        at_s = time.perf_counter()
        try:
            message = unpack(frames)
        except WireError:
            self.n_refused += 1
            return True
        header = message.header
        worker, generation = header.get("worker"), header.get("generation")
        is_ours = header.get("token") == self._token and isinstance(generation, int)
        if not is_ours or not isinstance(worker, int) or not 0 <= worker < self._n_workers:
            self.n_refused += 1
            return True
        assert isinstance(generation, int)
        self._take(message, route, worker, generation, at_s)
        return True

    def _take(self, message: Message, route: bytes, worker: int, generation: int, at_s: float) -> None:
        header = message.header
        if generation < self._generation.get(worker, 0):
            return  # of a process that is gone
        self._heard_s[worker] = at_s
        if message.kind == "hello":
            if header.get("version") != VERSION:
                got = header.get("version")
                raise LiveError(
                    f"worker {worker}: must be of the same version as the master, {VERSION}, got {got} "
                    "(install the same stragglersim everywhere)"
                )
            is_new = worker in self._routes
            self.pids[worker] = int(header.get("pid", 0))
            self._routes[worker], self._generation[worker] = route, generation
            if is_new:
                self.n_replaced[worker] += 1
                self._waiting.append(Heard("reborn", worker, at_s, header, []))
        elif message.kind == "beat":
            self.progress[worker] = number_of(header, "progress", worker)
            self._gradient_s[worker] = number_of(header, "gradient_s", worker)
        elif message.kind in ("report", "uploaded", "gone"):
            self._gone |= {worker} if message.kind == "gone" else set()
            self._waiting.append(Heard(message.kind, worker, at_s, header, message.arrays))

    def _ping(self, now_s: float) -> None:
        """Show that the master lives, and see who has fallen silent."""
        self._pinged_s = now_s
        for host in self._hosts:
            if not host.is_up():
                words = host.last_words()
                raise LiveError(
                    f"workers: must keep running, got the end of what starts them{f' ({words})' if words else ''}"
                )
        for worker in self._routes:
            self.send(worker, "ping", {})
            if worker in self._gone:
                continue
            for past_s, limit_s, what in (
                (now_s - self._heard_s[worker], SILENCE_S, "nothing"),
                (self._gradient_s.get(worker, 0.0), HANG_S, "no end of one gradient"),
            ):
                if past_s > limit_s:
                    self._gone.add(worker)
                    self._waiting.append(Heard("gone", worker, now_s, {"got": f"{what} for {limit_s:g} s"}, []))
                    break


def number_of(header: Mapping[str, Any], name: str, worker: int) -> float:
    """A number that a worker must have said.

    Raises
    ------
    LiveError
        If it has not.
    """
    number = header.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise LiveError(f"worker {worker}: must send a number as {name}, got {number!r}")
    return float(number)


class _Local:
    """Workers as processes of this machine, which end with the master."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as there are workers

    def start(self, said: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator.live.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # what a workload prints is not ours to say
            stderr=self._words,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(said["path"])},
            start_new_session=True,  # Ctrl-C is the master's
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said).encode() + b"\n")
        self._process.stdin.flush()

    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(1.0)
            except subprocess.TimeoutExpired:
                process.kill()  # its children go with it
                process.wait(1.0)
        self._words.close()

    def last_words(self) -> str:
        self._words.seek(0)
        return (self._words.read().decode(errors="replace").strip().splitlines() or [""])[-1]


def local_host() -> Host:
    """This machine."""
    here = _Local()
    return Host(here.start, here.is_up, here.stop, here.last_words)


def address_towards(host: str, port: int) -> str:
    """The address of this machine that another one sees."""
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])
