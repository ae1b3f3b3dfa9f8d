"""Messages on their way to the master, while lists are given out at any time: a queue on the clock of the run."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemes.base.work import Work
from simulator.engine.network import Network, Traffic
from simulator.parameters import FloatArray

if TYPE_CHECKING:
    from simulator.engine.acting_workers import Given
    from simulator.engine.places import ListPlaces


class Message(NamedTuple):
    """A report on its way; the first of two comes first in the queue."""

    at_s: float  # on the clock of the run: when it queues at the ingress, and later when it has come through
    order: int  # in which messages were told of
    is_through: bool
    of_round: int  # whose list it belongs to
    worker: int
    report: int
    arrives_s: float  # in seconds after the start of its own round, without the rounding of the clock
    due_s: float  # when the work is done, after the start of its own round
    begins_s: float  # when sending begins, on the clock of the run
    gradients: float


class Mail:
    """The links and the ingress, message by message.

    Once a message queues at the ingress it is known when it has come through: what is given out later queues behind it.
    """

    def __init__(self, network: Network, n_workers: int) -> None:
        self._network = network
        rates = network.uplinks(n_workers)
        self._rates: list[float] | None = None if rates is None else rates.tolist()
        self._is_plain = network.is_free
        self._queue: list[Message] = []
        self._n_told = 0
        self._link_free_s: dict[int, float] = {}
        self._ingress_free_s = self._ingress_begin_s = -np.inf
        self._ingress_bytes = 0.0  # since the ingress was idle last, so that each time is one product
        self._begun: list[tuple[float, int, int, float]] = []  # of messages with gradients: when sending begins
        self._start_s, self._index = 0.0, 0
        self._uploads, self._gradients, self._upload_s = 0, 0.0, 0.0

    def open(self, index: int, start_s: float) -> None:
        """Begin a round."""
        self._start_s, self._index = start_s, index
        self._uploads, self._gradients, self._upload_s = 0, 0.0, 0.0

    def send_all(self, work: Work, due_s: FloatArray, places: ListPlaces) -> None:
        """Tell when the reports of the round are due: shape ``(n_workers, n_reports)``; NaN and inf never come."""
        workers, reports = np.nonzero(due_s < np.inf)
        if not len(workers):
            return
        each = np.ones_like(due_s) if work.gradients is None else work.gradients
        delays_s = places.delays_s(each)
        if delays_s is None:
            delays_s = np.zeros_like(due_s)
        else:  # one may overtake another of its worker
            in_order = np.lexsort(((due_s + delays_s)[workers, reports], workers))
            workers, reports = workers[in_order], reports[in_order]
        at = workers, reports
        numbers = (array[at].tolist() for array in (due_s, each, delays_s))
        fields = workers.tolist(), reports.tolist(), *numbers
        new = [self._message(*each) for each in zip(*fields, strict=True)]
        if 8 * len(new) < len(self._queue):
            for message in new:
                heapq.heappush(self._queue, message)
        else:
            self._queue += new
            heapq.heapify(self._queue)

    def send(self, given: Given) -> None:
        """Tell when the reports of a list are due that was given out while the round goes on."""
        due: Iterable[tuple[float, float, int]] = zip(
            given.due_s, given.delays_s or itertools.repeat(0.0), itertools.count(given.first_report)
        )
        for due_s, delay_s, report in sorted(due, key=lambda each: each[0] + each[1]) if given.delays_s else due:
            if due_s < np.inf:
                heapq.heappush(self._queue, self._message(given.worker, report, due_s, 1.0, delay_s))

    def _message(self, worker: int, report: int, due_s: float, gradients: float, delay_s: float) -> Message:
        """Let a message leave its worker, when its work is done and its delay is over."""
        ready_s = due_s + delay_s
        order, self._n_told = self._n_told, self._n_told + 1
        if self._is_plain:
            at_s = self._start_s + ready_s
            return Message(at_s, order, True, self._index, worker, report, ready_s, due_s, at_s, gradients)
        begins_s = leaves_s = ready_s
        if self._rates is not None and gradients > 0:
            begins_s = max(ready_s, self._link_free_s.get(worker, -np.inf) - self._start_s)
            leaves_s = begins_s + gradients * self._network.gradient_bytes / self._rates[worker]
            self._link_free_s[worker] = self._start_s + leaves_s
        reaches_s = leaves_s + self._network.latency_s
        is_through = self._network.ingress_bytes_per_s is None or not gradients
        begins_s += self._start_s
        if gradients:
            heapq.heappush(self._begun, (begins_s, order, worker, gradients))
        at_s = self._start_s + reaches_s
        return Message(at_s, order, is_through, self._index, worker, report, reaches_s, due_s, begins_s, gradients)

    def next_s(self) -> float:
        """Return when the next message arrives, in seconds after the round's start; inf: none is on its way."""
        while self._queue:
            message = self._queue[0]
            if message.is_through:
                return message.arrives_s if message.of_round == self._index else message.at_s - self._start_s
            heapq.heapreplace(self._queue, self._passed(message))
        return np.inf

    @property
    def is_empty(self) -> bool:
        """True if nothing is on its way."""
        return self.next_s() == np.inf

    def _passed(self, message: Message) -> Message:
        """Let a message through the ingress, which serves one after another in the order in which they reach it."""
        rate = self._network.ingress_bytes_per_s
        assert rate is not None
        if message.at_s > self._ingress_free_s:
            self._ingress_begin_s, self._ingress_bytes = message.at_s, 0.0
        self._ingress_bytes += message.gradients * self._network.gradient_bytes
        through_s = self._ingress_free_s = self._ingress_begin_s + self._ingress_bytes / rate
        arrives_s = message.arrives_s + (through_s - message.at_s)
        return message._replace(at_s=through_s, is_through=True, arrives_s=arrives_s)

    def take(self, until_s: float) -> Iterator[Message]:
        """Take what has arrived by then, in seconds after the start of the open round."""
        while self.next_s() <= until_s:
            message = heapq.heappop(self._queue)
            if message.gradients and self._is_plain:
                self._uploads, self._gradients = self._uploads + 1, self._gradients + message.gradients
            if message.of_round == self._index and message.gradients:
                self._upload_s = message.arrives_s - message.due_s
            yield message

    def drop(self, workers: Collection[int], now_s: float) -> None:
        """Let workers send no more of what they have been given up to now."""
        clock_s = self._start_s + now_s
        self._queue = [each for each in self._queue if each.worker not in workers or each.begins_s <= clock_s]
        heapq.heapify(self._queue)
        self._begun = [each for each in self._begun if each[2] not in workers or each[0] <= clock_s]
        heapq.heapify(self._begun)
        for worker in workers:
            if self._rates is None:
                break
            sent = [each for each in self._queue if each.worker == worker]
            size, rate = self._network.gradient_bytes, self._rates[worker]
            self._link_free_s[worker] = max((m.begins_s + m.gradients * size / rate for m in sent), default=-np.inf)

    def lose(self, workers: Collection[int]) -> None:
        """Lose what is on its way from some workers."""
        self._queue = [each for each in self._queue if each.worker not in workers]
        heapq.heapify(self._queue)

    def coming(self, workers: Collection[int]) -> Counter[int]:
        """Count what is on its way from some workers, of this round."""
        return Counter(each.worker for each in self._queue if each.worker in workers and each.of_round == self._index)

    def drop_all(self) -> None:
        """Lose all that is on its way."""
        self._queue.clear()
        self._begun.clear()
        self._link_free_s.clear()
        self._ingress_free_s = -np.inf

    def close(self, until_s: float) -> Traffic:
        """Say what was sent during the round, up to then."""
        while self._begun and self._begun[0][0] <= self._start_s + until_s:
            self._uploads, self._gradients = self._uploads + 1, self._gradients + heapq.heappop(self._begun)[3]
        return Traffic(self._uploads, self._gradients * self._network.gradient_bytes, self._upload_s)
