"""Base of the schemes: a description of who computes what, and the master's memory while a run lasts.

A scheme is written once and simulated by any engine. Three things have to be said: the work that every
worker gets in a round (:meth:`Session.open_round`), when the responses are enough (:meth:`Session.enough`) and
which jobs ended with the round (:meth:`Session.close_round`). A code without memory says less: see
:class:`LinearScheme`.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import ConfigDict

from schemes.base.work import Closing, Outcome, Phase, Task, Work
from simulator.choices import Leftover
from simulator.parameters import FloatArray, IntArray, TakesNumpy

if TYPE_CHECKING:
    from schemes.base.batch import Batch
    from schemes.base.codec import Codec, Precision
    from schemes.base.rule import Rule


class Session(ABC):
    """The master's memory during one run of a scheme."""

    n_rounds: int
    asks_for_uploads = False  # whether `uploads` has something to say
    acts = False  # whether `act` has something to say
    look_s = float("inf")  # when `act` is to be asked next at the latest, in seconds after the open round's start

    @abstractmethod
    def open_round(self, index: int) -> Work:
        """Decide what everybody computes in round ``index``; rounds come in order, each once."""

    @abstractmethod
    def receive(self, worker: int, report: int) -> None:
        """Note that a report has arrived in the open round. Called once per report: keep it cheap."""

    def receive_late(self, index: int, worker: int, report: int) -> None:  # noqa: B027 - most have no use for it
        """Note that a report of round ``index`` has arrived in a later one, or since that was closed.

        Only if the scheme :attr:`~Scheme.hears_late`.
        """

    def hear_absences(  # noqa: B027 - most have no use for it
        self, left: Collection[int], away: Collection[int], now_s: float
    ) -> None:
        """Note who has left and who is there, as far as the master has heard, before a round is opened (``now_s`` 0).

        Also while it goes on, if the session :attr:`acts` or late responses may end it. What is given to a worker that
        is away is lost.

        Parameters
        ----------
        left
            Workers that have left since the last time, also if others have joined in their place: what they had in
            hand is lost.
        away
            All in whose place nobody is.
        now_s
            Seconds after the round's start.
        """

    @abstractmethod
    def enough(self) -> bool:
        """True if the master may end the open round with what has arrived. O(1) or close to it.

        Once true, it stays true for the rest of the round, and it is true when nobody is missing.
        """

    def uploads(self, n_received: IntArray) -> FloatArray | None:
        """Return what workers are to upload now that the master has stopped the round, before it ends.

        Parameters
        ----------
        n_received
            How many reports of each worker have arrived, shape ``(n_workers,)``.

        Returns
        -------
        gradients
            How many (also fractions) each worker uploads, shape ``(n_workers,)``; None (default): responses came with
            the reports.
        """
        return None

    def act(self, now_s: float, progress: Callable[[], FloatArray]) -> Phase | None:
        """Act while the round goes on; asked when something has arrived that is not enough, and at `look_s`.

        Only if :attr:`acts`. A round of which all has arrived goes on if new work is given, and ends otherwise.

        Parameters
        ----------
        now_s
            Seconds after the round's start.
        progress
            Says which share of its list's time each worker has behind it, shape ``(n_workers,)``; NaN if it is idle.

        Returns
        -------
        phase
            New work; None (default): nothing is done.
        """
        return None

    @abstractmethod
    def close_round(self, closing: Closing) -> Sequence[Outcome]:
        """End the open round and return the jobs that ended with it, each job once in a run."""

    def leftover(self) -> Leftover | None:
        """Say what becomes of unfinished lists of this round and earlier ones, now that it has been closed.

        Only if the scheme :attr:`~Scheme.decides_leftover`. None (default): what the scenario's ``leftover`` says.
        """
        return None

    def used_workers(self) -> Collection[int] | None:
        """Return the workers of which a result was used in the round that has been closed, fresh or stale.

        None (default): of all of which one has come.
        """
        return None

    @abstractmethod
    def tasks(self, worker: int) -> Sequence[Task]:
        """Say what the worker's list in the open round consists of, in its order; idle: empty.

        Lists that were given out while the round goes on follow, with a task for each report. If the session
        :attr:`acts`, it says so also of the round that has just been closed.
        """


class Scheme(TakesNumpy, ABC):
    """A description of a coding scheme: frozen, comparable, safe to share between runs.

    Subclasses are ``pydantic.dataclasses.dataclass(frozen=True)``; the constructor's parameters are the keys in
    a scenario. A parameter that breaks a rule with others is refused in ``__post_init__`` by a ``ValueError``
    that reads "<parameter> must be ..., got ...".
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    n_workers: int

    @property
    def label(self) -> str:
        """A short name for tables and figures of a search, which compares schemes label by label."""
        return type(self).__name__

    @classmethod
    def settings(cls, n_workers: int, max_delay: int) -> Iterator[Self]:
        """Yield the legal settings with T of at most ``max_delay`` that a search tries, in its order; by default none.

        An override may take two keywords more, each with a default: ``max_window``, the longest window worth trying (a
        search gives the jobs of a run), and ``accepts``, what the master puts up with (:data:`Acceptance`).
        """
        return iter(())

    @classmethod
    @functools.cache
    def searched(cls) -> str | None:
        """Name the last of the parameters that must be given: settings that differ in it alone run side by side."""
        fields: Sequence[dataclasses.Field[Any]] = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
        needed = [field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING]
        return next((name for name in reversed(needed) if name not in ("n_workers", "seed")), None)

    def session_follows(self, form: str) -> bool:
        """True if no subclass has changed the session alone: its rule, or this other form of it, is as new."""
        mro = type(self).__mro__
        names = ("start", form, "rule", "allowance")
        places = (next((at for at, cls in enumerate(mro) if name in vars(cls)), len(mro)) for name in names)
        return next(places) >= min(places)

    @property
    def varied(self) -> str | None:
        """Name the parameter in which settings may differ that run side by side: that of a search, if it is a count."""
        name = self.searched()
        return name if name is not None and type(getattr(self, name)) is int else None

    def with_each(self, name: str, values: Iterable[Any]) -> Iterator[Self]:
        """Yield copies that differ in one parameter. Its values must be legal: nothing is checked or derived again."""
        new, cls, said = object.__new__, type(self), dict(vars(self))
        for value in values:
            said[name] = value
            copy = new(cls)
            copy.__dict__.update(said)
            yield copy

    @property
    def delay_rounds(self) -> int:
        """T: a job that starts in round t ends by the end of round t + T."""
        return 0

    @property
    @abstractmethod
    def load(self) -> float:
        """Largest share of one job's data that a worker processes in a round."""

    @property
    def mean_load(self) -> float:
        """Mean over workers of the largest share that each processes in a round; by default, all have the same."""
        return self.load

    @property
    @abstractmethod
    def tolerates(self) -> str:
        """The straggler patterns under which every job is decoded in time, in words."""

    @property
    def n_tasks(self) -> int:
        """Tasks of one job over all workers, told before any is made."""
        return self.n_workers

    @property
    def load_bound(self) -> float | None:
        """Smallest load of any scheme, with any finite T, that tolerates as much; None if not known."""
        return None

    @property
    def facts(self) -> dict[str, str]:
        """Facts worth knowing before a run, by name; `stragglersim explain` prints them."""
        return {}

    @property
    def needs_enough(self) -> str | None:
        """Reason why a rule that waits for nobody makes no sense for this scheme; None if it does."""
        return None

    @property
    def hears_late(self) -> bool:
        """True if responses of earlier rounds still count; the workers must finish what is left over then."""
        return False

    @property
    def late_ends_rounds(self) -> bool:
        """True if a round may end before its first own response, with responses of earlier rounds."""
        return False

    @property
    def begins_anew(self) -> bool:
        """True if workers are given work as soon as they have responded, while a round goes on."""
        return False

    @property
    def is_memoryless(self) -> bool:
        """True if no round depends on earlier ones: searches and advice then run each round of a trace once."""
        return False

    @property
    def decides_leftover(self) -> bool:
        """True if the session says, at the end of each round, whether unfinished lists go on."""
        return False

    @property
    def n_error_blocks(self) -> int:
        """Number of chunk blocks that the squared error adds up over: a response of zeros has this squared error."""
        return len(self.chunk_loads())

    @abstractmethod
    def chunk_loads(self) -> FloatArray:
        """Size of each chunk of a job's data; they add up to 1."""

    def batches(self, n_jobs: int, rows: Sequence[Self]) -> Sequence[Batch | Rule]:
        """Begin a run of each of some schemes, for arrays: a batch or a rule, or some that follow each other.

        They differ from this one, if at all, in the parameter that is :attr:`varied`. None (default): events are used.
        """
        return ()

    def grid(self, n_jobs: int, values: IntArray) -> Rule | None:
        """Begin a run of each of some settings at once, for a search; None (default): arrays or events are used.

        They differ from this one only in the parameter that is :attr:`varied`: it has these values. The master never
        gives up a round, and all workers with work must have equally much of it.
        """
        return None

    @abstractmethod
    def start(self, n_jobs: int, rng: np.random.Generator) -> Session:
        """Begin a run over ``n_jobs`` jobs. Every call with an equal ``rng`` begins an equal run."""

    def coefficients(self, worker: int, task: Task, index: int) -> FloatArray:
        """Coefficients of a task's chunks in the message that answers it, in the order of ``task.chunks``.

        Shape ``(n_chunks,)``; or ``(n_chunks, blocks)``, of the parts of their gradients, if the message is one part.
        ``index`` is the round in which the worker was given the task. By default, all 1 for what is not coded: sums.

        Raises
        ------
        ValueError
            For a coded task, if the scheme does not say.
        """
        if task.kind == "coded":
            raise ValueError(f"{type(self).__name__} must say the coefficients of its coded tasks to train with them")
        return np.ones(len(task.chunks))

    def codec(self, precision: Precision, rng: np.random.Generator) -> Codec | None:
        """Begin the numbers of a run; ``rng`` is for what a code draws for each job.

        None (default): each task's message is encoded with its :meth:`coefficients`, and least squares over all
        messages of a job decode it (:class:`~schemes.base.task_codec.TaskCodec`).
        """
        return None
