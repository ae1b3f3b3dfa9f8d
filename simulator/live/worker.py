"""A worker: it computes the lists that it is given, one after another, and sends what answers each report.

It keeps nothing that an order does not bring along, so that any process can take its place. Between two chunks, and
while it waits for an instant that was drawn for it, it listens: to be cancelled takes no longer than a chunk.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import zmq

from simulator.live.wire import VERSION, Array, Message, WireError, pack, unpack
from workloads.base import Rows, Workload

BEAT_S = 0.25  # between two signs of life
FINE_S = 0.002  # the last of a wait, which is slept: polls end at whole milliseconds


class Leave(Exception):  # noqa: N818 - a word of the master's
    """There is nothing more to do here."""


class Dropped(Exception):  # noqa: N818 - a word of the master's
    """The list that is being computed is not wanted any more."""


class Beats(threading.Thread):
    """Signs of life, with the share of the present list that is done: also while a long gradient is computed."""

    def __init__(self, context: zmq.Context[Any], address: str, header: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._context, self._address, self._header = context, address, header
        self.began_s, self.lasts_s = 0.0, np.inf  # of the list; an estimate, if no instant was drawn
        self.n_done, self.n_tasks = 0, 0
        self.gradient_began_s = np.inf  # if one is being computed

    def run(self) -> None:
        """Send them until the process ends."""
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self._address)
        while True:
            one_s = max(0.0, time.perf_counter() - self.gradient_began_s)
            socket.send_multipart(pack("beat", self._header | {"progress": self._progress(), "gradient_s": one_s}))
            time.sleep(BEAT_S)

    def _progress(self) -> float:
        if not self.n_tasks:
            return 0.0
        if self.lasts_s < np.inf:
            return float(np.clip((time.perf_counter() - self.began_s) / max(self.lasts_s, 1e-9), 0.0, 1.0))
        return self.n_done / self.n_tasks


class Worker:
    """One process.

    Parameters
    ----------
    address, token
        Of the run: where the master is, and what its messages are known by.
    number, generation
        Which worker it is, and how many have been it before.
    workload
        What it computes gradients of.
    silence_s
        Seconds without a word of the master after which it leaves.
    """

    def __init__(
        self, address: str, token: str, number: int, generation: int, workload: Workload, silence_s: float
    ) -> None:
        context = zmq.Context()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address)
        self._me = {"worker": number, "generation": generation, "token": token}
        self._token, self._workload, self._silence_s = token, workload, silence_s
        self._orders: deque[Message] = deque()
        self._cancelled = -1  # orders up to this one are not wanted any more
        self._heard_s = time.perf_counter()
        self._order: Message | None = None  # the latest, whose gradients are kept in case they are asked for
        self._gradients: dict[int, Array] = {}  # by place of the task in the order
        self._beats = Beats(context, address, self._me)

    def run(self) -> None:
        """Say hello, and work until the master says goodbye or is gone."""
        self._send("hello", {"version": VERSION, "pid": os.getpid(), "python": sys.version.split()[0]})
        self._beats.start()
        try:
            while True:
                while not self._orders:
                    self._listen(0.5)
                order = self._orders.popleft()
                try:
                    if order.header["id"] > self._cancelled:
                        self._do(order)
                except Dropped:
                    pass
        except Leave:
            return

    def _send(self, kind: str, header: dict[str, Any], arrays: list[Array] | None = None) -> None:
        self._socket.send_multipart(pack(kind, self._me | header, arrays or []))

    def _listen(self, wait_s: float) -> None:
        """Take in what has come; wait for it if there is nothing."""
        if self._socket.poll(int(1000 * wait_s)):
            self._heard_s = time.perf_counter()
            while self._socket.poll(0):
                self._take(self._socket.recv_multipart())
        elif time.perf_counter() - self._heard_s > self._silence_s:
            raise Leave

    def _take(self, frames: list[bytes]) -> None:
        try:
            message = unpack(frames)
        except WireError:
            return
        if message.header.get("token") != self._token or message.kind == "bye":
            raise Leave
        if message.kind == "order":
            self._orders.append(message)
            self._cancelled = max(self._cancelled, message.header["drops"])
        elif message.kind == "cancel":
            self._cancelled = max(self._cancelled, message.header["up_to"])
        elif message.kind == "upload":
            self._upload(message)

    def _is_dropped(self, order: Message) -> bool:
        return bool(order.header["id"] <= self._cancelled)

    def _do(self, order: Message) -> None:
        """Compute a list, report by report."""
        began_s = time.perf_counter()
        self._order, self._gradients = order, {}
        reports, due_s = order.header["reports"], order.header["due_s"]
        self._beats.began_s, self._beats.n_done = began_s, 0
        self._beats.lasts_s = np.inf if due_s is None else due_s[-1]
        self._beats.n_tasks = sum(map(len, reports))
        for place, tasks in enumerate(reports):
            messages = self._messages(order, tasks)
            if due_s is not None:
                self._wait(order, began_s + due_s[place])
            if not order.header["sends"][place]:
                messages = []
            work_s = time.perf_counter() - began_s
            self._send("report", {"id": order.header["id"], "report": place, "work_s": work_s}, messages)
        self._beats.n_tasks = 0

    def _wait(self, order: Message, until_s: float) -> None:
        """Let time pass that was drawn for the work, or be told that it is not wanted any more."""
        while True:
            left_s = until_s - time.perf_counter()
            if left_s <= FINE_S:
                time.sleep(max(0.0, left_s))
                return
            self._listen(min(left_s - FINE_S, 0.5))
            self._check(order)

    def _check(self, order: Message) -> None:
        if self._is_dropped(order):
            self._beats.n_tasks = 0
            raise Dropped

    def _messages(self, order: Message, tasks: list[dict[str, Any]]) -> list[Array]:
        """What answers a report: a combination of gradients for each task, or what several steps come to."""
        messages: list[Array] = []
        there: Array | None = None  # after some steps of its own
        for task in tasks:
            parameters = order.arrays[task["parameters"]]
            rows = self._rows(order, task)
            if task["step"] is None:
                coefficients, parts = order.arrays[task["coefficients"]], []
                for place, chunk in enumerate(rows):
                    parts.append(self._gradient(parameters, chunk))
                    self._gradients[task["place"] + place] = parts[-1]
                    self._listen(0.0)
                    self._check(order)
                messages.append(self._sent(order, _combined(coefficients, np.array(parts))))
            else:
                there = parameters if there is None else there
                rate, n_rows = order.header["learning_rate"], task["n_rows"]
                there = there - rate * self._gradient(there, rows[0]) / max(1, n_rows)
                if task["step"] == len(tasks) - 1:
                    messages.append(self._sent(order, (parameters - there) / rate * tasks[0]["n_rows"]))
                self._listen(0.0)
                self._check(order)
            self._beats.n_done += 1
        return messages

    @staticmethod
    def _sent(order: Message, message: Array) -> Array:
        return message.astype(order.header["precision"])

    @staticmethod
    def _rows(order: Message, task: dict[str, Any]) -> list[Rows]:
        """Rows of each chunk: a slice, or an array of the order."""
        return [slice(*rows) if isinstance(rows, list) else order.arrays[rows] for rows in task["rows"]]

    def _gradient(self, parameters: Array, rows: Rows) -> Array:
        self._beats.gradient_began_s = time.perf_counter()
        gradient = np.asarray(self._workload.gradient(parameters, rows), dtype=np.float64)
        self._beats.gradient_began_s = np.inf
        return gradient

    def _upload(self, message: Message) -> None:
        """Send a combination of what has been finished, and stop."""
        order = next((each for each in (self._order, *self._orders) if each and self._matches(each, message)), None)
        if order is None:
            return
        self._cancelled = max(self._cancelled, order.header["id"])
        gradients = []
        for place in message.header["places"]:
            if self._order is not order or place not in self._gradients:  # of a worker whose place this one has taken
                task = [each for tasks in order.header["reports"] for each in tasks][place]
                found = self._gradient(order.arrays[task["parameters"]], self._rows(order, task)[0])
            else:
                found = self._gradients[place]
            gradients.append(found)
        upload = self._sent(order, _combined(message.arrays[0], np.array(gradients)))
        self._send("uploaded", {"id": order.header["id"]}, [upload])

    @staticmethod
    def _matches(order: Message, message: Message) -> bool:
        return bool(order.header["id"] == message.header["id"])


def _combined(coefficients: Array, gradients: Array) -> Array:
    """Combine gradients, shape ``(n_chunks, dimension)``, or the parts of them for which there are coefficients."""
    if coefficients.ndim == 1:
        return np.asarray(coefficients @ gradients)
    padded = np.pad(gradients, ((0, 0), (0, -gradients.shape[1] % coefficients.shape[1])))
    return np.asarray(np.einsum("cb,cbd->d", coefficients, padded.reshape(*coefficients.shape, -1)))


def die_with_parent() -> None:
    """Ask the system to end this process when the one that made it ends, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
