"""Rounds on real workers: the master of the simulator, fed with what comes, when it comes.

What the simulator knows ahead, a real master does not: `ActingRound` never asks for more than has come, so that it
drives both. With injected times, workers wait until the instants that `ActingWorkers` derives from the models, as in
the simulator; without, they take as long as they take.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemes.base.lists import Lists
from schemes.base.scheme import Scheme, Session
from schemes.base.work import Phase, Work
from simulator.engine.acting_workers import ActingWorkers, Given
from simulator.engine.events import RunPlan
from simulator.engine.mail import Message
from simulator.engine.network import Traffic
from simulator.engine.worker_times import RoundTimes
from simulator.errors import LiveError
from simulator.live.hub import Heard, Hub, number_of
from simulator.live.orders import Orders
from simulator.live.values import LiveRecord
from simulator.parameters import BoolArray, FloatArray


class Arrival(NamedTuple):
    """A report as the master heard it."""

    of_round: int
    worker: int
    report: int
    heard_s: float  # by the master's clock, since the run began
    work_s: float  # own work on its list up to this report, by the worker's clock


class Order(NamedTuple):
    """A list that a worker has and has not reported yet, or not all of it."""

    id: int
    of_round: int
    first_report: int
    frames: list[bytes]
    lacking: set[int]  # places of reports that have not come


class LiveMail:
    """What has come and the master has not looked at yet; and what still may come."""

    def __init__(self) -> None:
        self._queue: list[Message] = []
        self._n_told = 0
        self._start_s, self._index = 0.0, 0
        self.n_outstanding = 0  # reports that may still come and count
        self._uploads, self._gradients = 0, 0.0

    def open(self, index: int, start_s: float) -> None:
        """Begin a round."""
        self._index, self._start_s = index, start_s
        self._uploads, self._gradients = 0, 0.0

    def put(self, of_round: int, worker: int, report: int, at_s: float, gradients: float) -> None:
        """Take in a report, heard at an instant of the run."""
        now_s = at_s - self._start_s
        self._n_told += 1
        message = Message(at_s, self._n_told, True, of_round, worker, report, now_s, now_s, at_s, gradients)
        heapq.heappush(self._queue, message)
        self._uploads, self._gradients = self._uploads + (gradients > 0), self._gradients + gradients

    def next_s(self) -> float:
        """Return when the next message was heard, in seconds after the round's start; inf: none has come."""
        return self._queue[0].at_s - self._start_s if self._queue else np.inf

    @property
    def is_empty(self) -> bool:
        """True if nothing has come or may come."""
        return not self._queue and not self.n_outstanding

    def take(self, until_s: float) -> Iterator[Message]:
        """Take what has come by then."""
        while self.next_s() <= until_s:
            yield heapq.heappop(self._queue)

    def send(self, given: Given) -> None:
        """Do nothing: workers send what they send."""

    def drop(self, workers: Collection[int], now_s: float) -> None:
        """Do nothing: who drops a list is told, and what comes of it nevertheless is no longer expected."""

    def lose(self, workers: Collection[int]) -> None:
        """Do nothing: a process that ends is told by the hub."""

    def coming(self, workers: Collection[int]) -> Counter[int]:
        """Say how many reports of some workers have come and were not looked at."""
        return Counter(each.worker for each in self._queue if each.worker in workers and each.of_round == self._index)

    def drop_all(self) -> None:
        """Lose what has come."""
        self._queue.clear()

    def close(self, gradient_bytes: float) -> Traffic:
        """Say what came during the round."""
        return Traffic(self._uploads, self._gradients * gradient_bytes, 0.0)


class LiveWorkers(ActingWorkers):
    """Workers that are processes: orders go out, and reports come in.

    Parameters
    ----------
    is_injected
        Whether they wait until the instants that the models of the plan give.
    """

    def __init__(self, plan: RunPlan, hub: Hub, record: LiveRecord, mail: LiveMail, *, is_injected: bool) -> None:
        super().__init__(
            plan.scheme.n_workers, plan.times, plan.speeds if is_injected else None, plan.leftover, plan.again
        )
        self._hub, self._record, self._mail, self._is_injected = hub, record, mail, is_injected
        self._scheme: Scheme = plan.scheme
        self._hears_late = plan.scheme.hears_late or plan.scheme.late_ends_rounds
        self._orders = Orders(plan.scheme, record)
        self._lists = Lists()
        self._open: dict[int, dict[int, Order]] = defaultdict(dict)  # by worker and number
        self._by_round: dict[tuple[int, int], Order] = {}  # the one with which a worker began a round
        self._unwanted: dict[int, int] = {}  # up to which order workers are to drop all; their next one will say so
        self.arrivals: list[Arrival] = []
        self.late_s: dict[tuple[int, int], float] = {}  # own work of lists that ended in a later round
        self.progresses: list[FloatArray] = []  # that the session was told
        self.uploads: dict[int, FloatArray] = {}

    def prepare(self, index: int, start_s: float, work: Work, session: Session) -> tuple[Work, list[tuple[int, Order]]]:
        """Make the orders of a round, which is to start about now."""
        if work.is_divisible:
            raise LiveError(
                f"{type(self._scheme).__name__}: must be work that real workers can do, got work of which "
                "each worker does a share that is known in hindsight only (leave this scheme out)"
            )
        self._session = session
        work, finish_s = super().dispatch(index, start_s, work)
        self._lists.open_round(index, work, session)
        oldest = min((order.of_round for orders in self._open.values() for order in orders.values()), default=index)
        self._lists.forget_before(min(oldest, index - self._scheme.delay_rounds - 2))
        self._measured_s = np.where(np.isnan(work.loads), np.nan, np.inf)
        self._sends = work.gradients
        orders = []
        for worker in np.flatnonzero(work.busy).tolist():
            n_reports = int(work.last_report[worker]) + 1
            due_s = finish_s[worker, :n_reports] - self._busy_until_s[worker]  # since it has done what it had before
            orders.append((worker, self._order(worker, 0, n_reports, due_s.tolist())))
        self.cancel(())  # of those with nothing to do next
        return work, orders

    def _order(self, worker: int, first_report: int, n_reports: int, due_s: Sequence[float]) -> Order:
        """Make an order, which is not sent yet."""
        index, self._hub.n_orders = self.index, self._hub.n_orders + 1
        places = range(first_report, first_report + n_reports)
        tasks = [self._lists.of(index, worker, report) for report in places]
        sends = [
            self._sends is None or report >= self._sends.shape[1] or self._sends[worker, report] > 0
            for report in places
        ]
        header, arrays = self._orders.made(worker, index, tasks)
        header |= {
            "id": self._hub.n_orders,
            "drops": self._unwanted.pop(worker, -1),
            "due_s": list(due_s) if self._is_injected else None,
            "sends": list(map(bool, sends)),
        }
        frames = self._hub.packed("order", header, arrays)
        return Order(self._hub.n_orders, index, first_report, frames, set(range(n_reports)))

    def send(self, worker: int, order: Order) -> None:
        """Send an order."""
        self._open[worker][order.id] = order
        self._mail.n_outstanding += len(order.lacking)
        if not order.first_report:
            self._by_round[order.of_round, worker] = order
        self._hub.progress[worker] = 0.0
        self._hub.forward(worker, order.frames)

    def begin(self, worker: int, now_s: float, begin_s: float, loads: Sequence[float]) -> Given:
        self._free_s[worker] = -np.inf  # whoever was heard is idle, whatever the plan says
        given = super().begin(worker, now_s, begin_s, loads)
        self._lists.act(Phase({worker: loads}), self._session)
        due_s = [each_s - now_s for each_s in given.finish_s]
        self.send(worker, self._order(worker, given.first_report, len(loads), due_s))
        return given

    def drop(self, workers: Collection[int], now_s: float) -> None:
        super().drop(workers, now_s)
        self.cancel(workers)

    def drop_all(self) -> None:
        """Let everybody drop all, as soon as there is something to be said to them."""
        self._give_up([*self._open])

    def cancel(self, workers: Collection[int]) -> None:
        """Let workers drop all that they have, and those that are to, at once."""
        self._give_up(workers)
        for worker, up_to in self._unwanted.items():
            self._hub.send(worker, "cancel", {"up_to": up_to})
        self._unwanted.clear()

    def _give_up(self, workers: Collection[int]) -> None:
        for worker in workers:
            if orders := self._open.pop(worker, {}):
                self._unwanted[worker] = max(orders)
                self._mail.n_outstanding -= sum(len(order.lacking) for order in orders.values())

    def progress(self, now_s: float) -> FloatArray:
        """Return the share of its list that each worker has done, as it told last, ``(n_workers,)``; NaN: idle."""
        n_workers = len(self._free_s)
        told = [
            self._hub.progress.get(worker, 0.0) if self._open.get(worker) else np.nan for worker in range(n_workers)
        ]
        self.progresses.append(np.array(told))
        return self.progresses[-1]

    def hear(self, heard: Heard, clock_s: float) -> None:
        """Take in what a worker has said; ``clock_s`` is when the run began."""
        if heard.kind == "reborn":
            for order in self._open.get(heard.worker, {}).values():
                self._hub.forward(heard.worker, order.frames)
        elif heard.kind == "gone":
            self._mail.n_outstanding -= sum(len(order.lacking) for order in self._open.pop(heard.worker, {}).values())
        elif heard.kind == "uploaded":
            asked, arrays = self._by_round.get((self.index, heard.worker)), heard.arrays
            if asked is not None and asked.id == heard.header.get("id"):  # else it was asked in an earlier round
                self.uploads[heard.worker] = arrays[0] if arrays else np.zeros(0)
        else:
            self._report(heard, clock_s)

    def _report(self, heard: Heard, clock_s: float) -> None:
        worker, place = heard.worker, heard.header.get("report")
        order = self._open.get(worker, {}).get(heard.header.get("id", -1))
        if order is None or place not in order.lacking:  # not wanted any more, or sent again by one in its place
            return
        order.lacking.discard(place)
        self._mail.n_outstanding -= 1
        report, at_s = order.first_report + place, heard.at_s - clock_s
        is_own = order.of_round == self.index
        work_s = number_of(heard.header, "work_s", worker)
        if is_own and report < self._measured_s.shape[1]:
            self._measured_s[worker, report] = work_s
        if not order.lacking:
            del self._open[worker][order.id]
        if not is_own and not order.lacking and not order.first_report:
            self.late_s[order.of_round, worker] = work_s
        if not is_own and not self._hears_late:
            return
        self.arrivals.append(Arrival(order.of_round, worker, report, at_s, work_s))
        self._keep(order, worker, report, heard.arrays)
        share = self._share(worker, report) if heard.arrays else 0.0
        self._mail.put(order.of_round, worker, report, at_s, share)

    def _share(self, worker: int, report: int) -> float:
        """Share of a gradient that a message of a report is."""
        sends = self._sends
        return 1.0 if sends is None or report >= sends.shape[1] else min(1.0, float(sends[worker, report]))

    def _keep(self, order: Order, worker: int, report: int, arrays: Sequence[Any]) -> None:
        """Keep the messages of a report."""
        tasks = self._lists.of(order.of_round, worker, report)
        dimension = self._record.dimension
        if arrays:  # of parts of gradients, if messages are smaller
            dimension = -(-dimension // round(1 / self._share(worker, report)))
        if wrong := [array.shape for array in arrays if array.shape != (dimension,)]:
            said = f"must send gradients of {dimension} numbers, got an array of shape {wrong[0]}"
            raise LiveError(f"worker {worker}: {said} (is gradient of the workload right?)")
        if arrays and len(arrays) != (1 if any(task.step for task in tasks) else len(tasks)):
            raise LiveError(f"worker {worker}: must send a gradient for each of {len(tasks)} tasks, got {len(arrays)}")
        self._orders.keep(order.of_round, worker, tasks, [array.astype(np.float64) for array in arrays])

    def ask(self, uploads: Mapping[int, Any]) -> None:
        """Ask some workers for what a codec says that they are to upload."""
        self.uploads = {}
        for worker, upload in uploads.items():
            own = [chunk for task in self._session.tasks(worker) for chunk in task.chunks]
            places = [own.index(chunk) for chunk in upload.chunks]
            header = {"id": self._by_round[self.index, worker].id, "places": places}
            self._hub.send(worker, "upload", header, [upload.coefficients])

    def close(self, index: int, stop_s: float, next_s: float, missing: BoolArray) -> FloatArray:
        done = super().close(index, stop_s, next_s, missing)
        if self._is_injected:
            return done
        came = np.where(np.isfinite(self._measured_s), self._work.loads, 0.0).max(axis=1)
        for given in self.given:
            came[given.worker] += given.loads[-1]
        return np.asarray(came)

    def forget(self, index: int) -> None:
        """Forget the orders of a round that is over."""
        for key in [key for key in self._by_round if key[0] <= index]:
            del self._by_round[key]

    @property
    def measured_s(self) -> FloatArray:
        """Own work at each report, by the workers' clocks, shape ``(n_workers, n_reports)``; inf: did not come."""
        return self._measured_s


def no_times(n_workers: int) -> Iterator[RoundTimes]:
    """Worker times of whoever is not slowed down: nothing is known of them beforehand."""
    while True:
        yield RoundTimes(np.zeros(n_workers), np.zeros(n_workers), np.ones(n_workers), None)
