"""The network between workers and master: how long a response is on its way, and what was sent in vain."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import ConfigDict, Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from schemes.base.work import Heard, Work
from simulator.engine.places import NO_PLACES, ListPlaces
from simulator.parameters import BoolArray, FloatArray, IntArray, NonNegative, TakesNumpy

Rate = Annotated[float, Field(gt=0)]
OneOrEach = Discriminator(lambda value: "each" if isinstance(value, list) else "one")
RATES = ("worker_bytes_per_s", "ingress_bytes_per_s", "downlink_bytes_per_s", "egress_bytes_per_s")


@dataclass(frozen=True, kw_only=True, repr=False)
class Network(TakesNumpy):
    """What messages cost; by default nothing.

    A message leaves a worker at the worker's own rate, one after another; ``latency_s`` later it queues at the master's
    ingress, which all workers share: first come first served, one message at a time. It counts when it has passed
    the ingress. A report without a gradient takes the latency only.

    The master sends the parameters, which are as large as a gradient, with each list: through its outgoing link, one
    list after another, then through the worker's own downlink.

    Raises
    ------
    ValueError
        If there are rates and messages have no size.

    Examples
    --------
    >>> Network(latency_s=0.01, ingress_bytes_per_s=1.25e9, gradient_bytes=4e8).is_free
    False
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)

    latency_s: NonNegative = 0.0
    """seconds that any message takes, whatever its size"""
    worker_bytes_per_s: Annotated[
        Annotated[Rate | None, Tag("one")] | Annotated[list[Rate], Tag("each")], Field(discriminator=OneOrEach)
    ] = None
    """rate at which a worker sends, or a list with a rate for each worker; without it, sending takes no time"""
    ingress_bytes_per_s: Rate | None = None
    """rate at which the master receives, from all workers together; without it, receiving takes no time"""
    downlink_bytes_per_s: Rate | None = None
    """rate at which a worker receives parameters; without it, receiving takes no time"""
    egress_bytes_per_s: Rate | None = None
    """rate at which the master sends parameters, to all workers together; without it, sending takes no time"""
    gradient_bytes: NonNegative = 0.0
    """size of one gradient, and of the parameters"""

    def __post_init__(self) -> None:
        for name in RATES:
            if getattr(self, name) is not None and not self.gradient_bytes:
                raise ValueError(f"gradient_bytes must be given with {name}, got {self.gradient_bytes:g}")

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"Network({', '.join(given)})"

    @property
    def is_free(self) -> bool:
        """True if whatever is sent arrives at once."""
        return not self.latency_s and all(getattr(self, name) is None for name in RATES)

    @property
    def takes_orders(self) -> bool:
        """True if what workers are given to do takes time to reach them."""
        return self.downlink_bytes_per_s is not None or self.egress_bytes_per_s is not None

    def uplinks(self, n_workers: int) -> FloatArray | None:
        """Rates at which workers send, shape ``(n_workers,)``; None: at once."""
        rate = self.worker_bytes_per_s
        return None if rate is None else np.broadcast_to(np.array(rate, dtype=np.float64), n_workers)


class Traffic(NamedTuple):
    """Messages that the workers sent during a round."""

    uploads: int = 0  # messages with gradients whose sending began
    bytes_up: float = 0.0  # of these
    upload_s: float = 0.0  # how long what the round's end hung on was on its way


class Messages(NamedTuple):
    """Reports with their gradients, an entry each; times are seconds after the start of the open round."""

    rounds: IntArray  # whose list they belong to
    workers: IntArray
    reports: IntArray
    gradients: FloatArray  # how many it carries
    due_s: FloatArray  # when the work is done
    begins_s: FloatArray  # when sending begins
    reaches_s: FloatArray  # when it queues at the ingress
    arrives_s: FloatArray
    counted: BoolArray  # among the uploads of an earlier round

    def only(self, which: BoolArray) -> Self:
        """Some of them."""
        return type(self)._make(field[which] for field in self)


NO_MESSAGES = Messages._make(np.zeros(0, dtype=kind) for kind in ("int64",) * 3 + ("float64",) * 5 + ("bool",))


class Arrivals:
    """The reports of one round, and late ones of earlier rounds, in the order of their arrival.

    ``places`` count in that order, from 0. Where messages are delayed, one may overtake another of its worker.
    """

    def __init__(
        self, work: Work, arrives_s: FloatArray, late: Messages = NO_MESSAGES, *, may_overtake: bool = False
    ) -> None:
        self._work = work
        times_s = np.concatenate([late.arrives_s, arrives_s.ravel()]) if len(late.workers) else arrives_s.ravel()
        order = np.argsort(times_s, kind="stable")  # NaN and inf go last
        order = order[: np.count_nonzero(times_s < np.inf)]
        n_late, n_reports_each = len(late.workers), arrives_s.shape[1]
        self.workers, self.reports = order, np.zeros_like(order)
        if n_late or n_reports_each > 1:
            self.workers, self.reports = np.divmod(order - n_late, n_reports_each)
        # a late response stands as worker -1, -2, ...: its place in `late`, counted from the end
        self.workers = np.where(order < n_late, order - n_late, self.workers) if n_late else self.workers
        self.late = late
        self._arrive_s = times_s[order]
        self.times_s: list[float] = self._arrive_s.tolist()
        self.n_arrived = 0
        own = np.flatnonzero(order >= n_late)
        self.first_own = int(own[0]) if len(own) else len(order)
        # where all have come; if some never do, a place that is never reached
        self.all_own = int(own.max(initial=-1)) + 1 if len(own) == work.n_reports else len(order) + 1
        # places of the reports that complete a worker's list
        if may_overtake:
            last, workers = np.full(len(work.busy), -1), self.workers[own]
            last[workers] = own  # the last one stays
            has_all = np.bincount(workers, minlength=len(last)) == np.count_nonzero(work.reporting, axis=1)
            self._completing = np.sort(last[has_all & work.busy])
        else:
            is_last = self.reports[own] == work.last_report[self.workers[own]] if n_reports_each > 1 else slice(None)
            self._completing = own[is_last]

    @property
    def last_own_s(self) -> float:
        """When the last of the round's own reports arrives; 0 if none does."""
        own = np.flatnonzero(self.workers >= 0)
        return self.times_s[own[-1]] if len(own) else 0.0

    def finisher(self, rank: int) -> int | None:
        """Place of the report with which the rank-th worker finishes; None if so many never do."""
        return int(self._completing[rank - 1]) if rank <= len(self._completing) else None

    def first_finish_s(self) -> float:
        """Return when the first worker had reported everything; NaN if none has."""
        place = self.finisher(1)
        return self.times_s[place] if place is not None and place < self.n_arrived else np.nan

    def missing(self) -> BoolArray:
        """Return a mask of the workers that have not reported everything."""
        missing = self._work.busy.copy()
        finished = self._completing[: np.searchsorted(self._completing, self.n_arrived)]
        missing[self.workers[finished]] = False
        return missing

    def heard(self) -> Heard:
        """Return the reports of this round that have arrived."""
        n = self.n_arrived
        heard = Heard(self.workers[:n], self.reports[:n], self._arrive_s[:n])
        return heard if self.late is NO_MESSAGES else Heard._make(field[heard.workers >= 0] for field in heard)

    def late_workers(self) -> list[int]:
        """Return the workers of the late reports that have arrived."""
        if self.late is NO_MESSAGES:
            return []
        workers = self.workers[: self.n_arrived]
        return list(self.late.workers[workers[workers < 0]].tolist())

    def n_received(self) -> IntArray:
        """Count the reports that have arrived from each worker, shape ``(n_workers,)``."""
        workers = self.workers[: self.n_arrived]
        return np.bincount(workers[workers >= 0], minlength=len(self._work.busy))


class Uplink:
    """The links and the ingress during a run: what is on its way, also from earlier rounds if late responses are heard.

    Once it is known when tasks are done, so is when their results arrive: a queue that is served in order needs no
    events of its own.
    """

    def __init__(self, network: Network, n_workers: int, *, hears_late: bool) -> None:
        self._network = network
        self._hears_late = hears_late
        self._is_plain = True  # a report arrives when it is due, or is lost
        self._late = NO_MESSAGES
        self._rates = network.uplinks(n_workers)
        self._link_free_s = np.full(n_workers, -np.inf)
        self._ingress_free_s = -np.inf
        self._asked: tuple[FloatArray, FloatArray] | None = None  # when it begins, and gradients

    def known(self) -> Iterator[tuple[int, int, int]]:
        """Round, worker and report of late responses that have come by the start of the next round."""
        late = self._late
        arrived = late.arrives_s <= 0
        if arrived.any():
            through = arrived & (late.gradients > 0)
            self._ingress_free_s = max(self._ingress_free_s, late.arrives_s[through].max(initial=-np.inf))
            self._late = late.only(~arrived)
            order = np.argsort(late.arrives_s[arrived], kind="stable")
            known = late.only(arrived)
            for field in zip(known.rounds[order], known.workers[order], known.reports[order], strict=True):
                yield int(field[0]), int(field[1]), int(field[2])

    def open(self, index: int, work: Work, due_s: FloatArray, places: ListPlaces = NO_PLACES) -> Arrivals:
        """Send the reports of a round when they are due, or are delayed beyond that; say what arrives, and when."""
        self._index, self._work, self._places = index, work, places
        self._is_plain = self._network.is_free and not (self._hears_late or places.delay)
        if self._is_plain:
            self._arrivals = Arrivals(work, due_s)
            return self._arrivals
        workers, reports = np.nonzero(due_s < np.inf)
        gradients = work.gradients if work.gradients is not None else np.ones_like(due_s)
        delays_s = places.delays_s(gradients)
        ready_s = due_s if delays_s is None else due_s + delays_s
        begins_s, leaves_s = self._leave(ready_s, gradients)
        reaches_s = np.where(gradients > 0, leaves_s, ready_s) + self._network.latency_s
        at = workers, reports
        rounds, counted = np.full(len(workers), index), np.zeros(len(workers), dtype=np.bool_)
        own = Messages(rounds, *at, gradients[at], due_s[at], begins_s[at], reaches_s[at], reaches_s[at], counted)
        n_late = len(self._late.workers)
        both = Messages._make(np.concatenate(pair) for pair in zip(self._late, own, strict=True))
        both = both._replace(arrives_s=self._pass_ingress(both.reaches_s, both.gradients))
        self._messages, self._late = both, both.only(np.arange(len(both.workers)) < n_late)
        arrives_s = np.where(np.isnan(due_s), np.nan, np.inf)
        arrives_s[at] = both.arrives_s[n_late:]
        self._arrivals = Arrivals(work, arrives_s, self._late, may_overtake=places.delay)
        return self._arrivals

    def _leave(self, ready_s: FloatArray, gradients: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return when each message begins to leave its worker, and when it has left; shapes of ``ready_s``."""
        if self._rates is None:
            return ready_s, ready_s
        begins_s, leaves_s = ready_s.copy(), ready_s.copy()
        free_s = self._link_free_s.copy()
        for each in np.argsort(ready_s, axis=1, kind="stable").T:  # each worker's next one
            at = np.arange(len(each)), each
            sends = np.flatnonzero((gradients[at] > 0) & (ready_s[at] < np.inf))
            at = sends, each[sends]
            begins_s[at] = np.maximum(ready_s[at], free_s[sends])
            seconds = gradients[at] * self._network.gradient_bytes / self._rates[sends]
            free_s[sends] = leaves_s[at] = begins_s[at] + seconds
        self._link_free_s = free_s
        return begins_s, leaves_s

    def _pass_ingress(self, reaches_s: FloatArray, gradients: FloatArray) -> FloatArray:
        """Return when each message has come through the ingress, shape of ``reaches_s``."""
        rate = self._network.ingress_bytes_per_s
        arrives_s = reaches_s.copy()
        if rate is None:
            return arrives_s
        queue = np.flatnonzero(gradients > 0)
        queue = queue[np.argsort(reaches_s[queue], kind="stable")]
        sizes = gradients[queue] * self._network.gradient_bytes
        free_s = begin_s = self._ingress_free_s
        n_bytes = 0.0  # since the ingress was idle last, so that each time is one product
        through = []
        for reach_s, size in zip(reaches_s[queue].tolist(), sizes.tolist(), strict=True):
            if reach_s > free_s:
                begin_s, n_bytes = reach_s, 0.0
            n_bytes += size
            free_s = begin_s + n_bytes / rate
            through.append(free_s)
        arrives_s[queue] = through
        return arrives_s

    def ask(self, word_s: float, gradients: FloatArray) -> float:
        """Let workers upload something when the master's word has reached them; return when all of it has arrived."""
        workers = np.flatnonzero(gradients > 0)
        size = gradients[workers]
        begins_s = np.full(len(workers), word_s + self._network.latency_s)
        begins_s += self._places.upload_delays_s(gradients, self._work.last_report + 1)[workers]
        seconds = size * self._network.gradient_bytes / self._rates[workers] if self._rates is not None else 0.0
        reaches_s = begins_s + seconds + self._network.latency_s
        self._asked = begins_s, size
        return float(self._pass_ingress(reaches_s, size).max(initial=word_s))

    def close(self, stop_s: float, duration_s: float, overhead_s: float) -> Traffic:
        """End the round: what is on its way is lost, unless late responses are heard."""
        if self._asked is not None:
            begins_s, asked = self._asked
            self._asked = None
            return self._traffic(asked[begins_s <= duration_s], duration_s - stop_s)
        arrivals = self._arrivals
        if self._is_plain:
            if self._work.gradients is None:
                return Traffic(arrivals.n_arrived, arrivals.n_arrived * self._network.gradient_bytes, 0.0)
            heard = slice(arrivals.n_arrived)
            return self._traffic(self._work.gradients[arrivals.workers[heard], arrivals.reports[heard]], 0.0)
        messages = self._messages
        has_gradient = messages.gradients > 0
        # while the master is busy, workers that are heard late go on
        until_s = duration_s + overhead_s if self._hears_late else duration_s
        sent = has_gradient & (messages.begins_s <= until_s) & ~messages.counted
        arrived = messages.arrives_s <= duration_s
        last = np.flatnonzero(arrived & has_gradient & (messages.rounds == self._index))
        upload_s = 0.0
        if len(last):
            which = last[np.lexsort((last, messages.reaches_s[last], messages.arrives_s[last]))[-1]]
            upload_s = float(messages.arrives_s[which] - messages.due_s[which])
        if self._hears_late:
            self._carry_over(messages._replace(counted=messages.counted | sent), arrived, duration_s + overhead_s)
        else:
            self._link_free_s.fill(-np.inf)
        return self._traffic(messages.gradients[sent], upload_s)

    def _carry_over(self, messages: Messages, arrived: BoolArray, next_s: float) -> None:
        """Keep what is on its way, in seconds after the start of the next round."""
        through = arrived & (messages.gradients > 0)
        self._ingress_free_s = max(self._ingress_free_s, messages.arrives_s[through].max(initial=-np.inf)) - next_s
        self._link_free_s = self._link_free_s - next_s
        late = messages.only(~arrived)
        later = {name: getattr(late, name) - next_s for name in late._fields if name.endswith("_s")}
        self._late = late._replace(**later)

    def _traffic(self, gradients: FloatArray, upload_s: float) -> Traffic:
        sent = gradients[gradients > 0]
        return Traffic(len(sent), float(sent.sum()) * self._network.gradient_bytes, upload_s)
