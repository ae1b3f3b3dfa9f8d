"""Record what each worker of a training takes for its own work: one file, standard library only, free to be copied.

Where all workers wait for the slowest one, their steps last equally long, and the straggler can't be seen. A round's
own work is its duration less what the worker waited for others in it:

    recorder = Recorder("times")  # a file for each rank
    for batch in recorder.steps(loader):
        gradient = compute(batch)
        with recorder.waiting():
            all_reduce(gradient)

``stragglersim trace convert times --out times.parquet`` makes a trace of the files.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter, time
from types import TracebackType
from typing import Any, TypeVar

RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")  # where launchers say it
COLUMNS = "round,worker,duration_s,waited_s,started_unix_s"

Batch = TypeVar("Batch")
Function = TypeVar("Function", bound=Callable[..., Any])


class Recorder:
    """Write a CSV with a row for each round of one worker.

    Its columns are ``round`` and ``worker``, which count from 0, ``duration_s``: the seconds of own work, ``waited_s``:
    those of waiting for others, and ``started_unix_s``: by the clock of the machine. Each row is given to the operating
    system when its round ends, so that a process that is killed loses the open round only.

    A round that an exception ended is no measurement: nothing is written. It keeps its number, so that rounds of the
    same number are the same round on all ranks, as long as all begin as many.

    One recorder measures one round at a time, in the thread that began it: what other threads wait meanwhile keeps that
    thread from no work, and does not count.

    Parameters
    ----------
    folder
        Where the file ``rank-N.csv`` is written. It must have no such file yet: a run that is started again needs
        another folder, since its rounds would be taken for those of the first one.
    rank
        Number of this worker, from 0; None: what RANK, OMPI_COMM_WORLD_RANK, PMI_RANK or SLURM_PROCID says.

    Raises
    ------
    ValueError
        If the rank is not known, or no number.
    FileExistsError
        If the folder has a file of this rank already.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> recorder = Recorder(folder.name, rank=3)
    >>> for batch in recorder.steps(["first", "second"]):
    ...     with recorder.waiting():
    ...         pass
    >>> [line.split(",")[:2] for line in recorder.path.read_text().splitlines()]
    [['round', 'worker'], ['0', '3'], ['1', '3']]
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str], *, rank: int | None = None) -> None:
        self.rank = _rank() if rank is None else rank
        if not isinstance(self.rank, int) or self.rank < 0:
            raise ValueError(f"rank: must be a number of at least 0, got {self.rank!r}")
        self.path = Path(folder) / f"rank-{self.rank}.csv"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        except FileExistsError:
            raise FileExistsError(
                f"{self.path}: must not exist yet, got a file of an earlier run (give each run a folder of its own)"
            ) from None
        weakref.finalize(self, os.close, self._file)
        os.write(self._file, f"{COLUMNS}\n".encode())
        self._n_rounds = 0  # that have begun
        self._open: _Round | None = None
        self._wait = _Wait(self)

    def steps(self, loader: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches of a loader; from when one is asked for until the next one is, it is a round.

        So loading is own work. A loop that is left by ``break`` leaves its last round unfinished: nothing is written.
        """
        iterator = iter(loader)
        while True:
            with self.round() as one:
                try:
                    batch = next(iterator)
                except StopIteration:
                    one.never_was()
                    return
                yield batch

    def round(self) -> _Round:
        """A round, as a context: ``with recorder.round():``."""
        return _Round(self)

    def waiting(self) -> _Wait:
        """A time in which the worker waits for others, as a context; inside another one, it counts once.

        Outside of a round, and in threads other than the round's, it does not count.
        """
        return self._wait

    def wrap(self, collective: Function) -> Function:
        """Return a function whose calls are waits: ``all_reduce = recorder.wrap(all_reduce)``.

        Of a collective that only starts (``async_op=True``), what it is waited with is to be wrapped.
        """

        @functools.wraps(collective)
        def waits(*args: Any, **options: Any) -> Any:
            with self._wait:
                return collective(*args, **options)

        return waits  # type: ignore[return-value]  # takes and returns the same

    def ddp(self, model: Any) -> Any:
        """Let own work end when the last bucket of gradients of a ``DistributedDataParallel`` is ready; return it.

        The rest of the round, the optimizer's step included, is waiting. On a GPU, the host waits at the last bucket
        until the gradients are computed there. Call it once, before training, on a model without a communication hook.
        A round has one backward pass that synchronises; without one (``no_sync``) all of it is own work.
        """
        model.register_comm_hook(None, lambda group, bucket: self._reduce(group, bucket))  # torch forbids annotations
        return model

    def _reduce(self, group: Any, bucket: Any) -> Any:
        """Reduce a bucket of gradients as torch does, and note when the last one is ready."""
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        if bucket.is_last():
            if bucket.buffer().is_cuda:
                import torch

                torch.cuda.current_stream(bucket.buffer().device).synchronize()
            if self._open is not None:
                self._open.ends_own_work()
        return allreduce_hook(group, bucket)


class _Round:
    """An open round, or one to be opened."""

    __slots__ = (
        "_depth", "_is_none", "_own_until_s", "_recorder", "_start_s", "_thread", "_unix_s", "_wait_from_s",
        "_waited_s", "number",
    )  # fmt: skip
    number: int

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._waited_s = 0.0
        self._own_until_s: float | None = None  # from then on, all is waiting
        self._depth = 0  # of waits inside waits
        self._is_none = False

    def __enter__(self) -> _Round:
        recorder = self._recorder
        if recorder._open is not None:
            raise RuntimeError(f"round {recorder._open.number}: must end before another one begins, got it still open")
        recorder._open = self
        self.number = recorder._n_rounds
        recorder._n_rounds += 1
        self._thread = threading.get_ident()
        self._unix_s = time()
        self._start_s = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        now_s = perf_counter()
        recorder = self._recorder
        recorder._open = None
        if self._is_none:
            recorder._n_rounds -= 1
        elif kind is None:
            waited_s = self._waited_s
            if self._own_until_s is not None:
                waited_s += now_s - self._own_until_s
            own_s = now_s - self._start_s - waited_s
            line = f"{self.number},{recorder.rank},{own_s:.9f},{waited_s:.9f},{self._unix_s:.6f}\n"
            os.write(recorder._file, line.encode())

    def never_was(self) -> None:
        """Take the round back: there was no batch for it."""
        self._is_none = True

    def ends_own_work(self) -> None:
        """Take all of the round from now on for waiting; also called in other threads."""
        self._own_until_s = perf_counter()

    def begins_wait(self) -> None:
        if self._thread == threading.get_ident():
            self._depth += 1
            if self._depth == 1:
                self._wait_from_s = perf_counter()

    def ends_wait(self) -> None:
        if self._thread == threading.get_ident() and self._depth:
            self._depth -= 1
            if not self._depth and self._own_until_s is None:
                self._waited_s += perf_counter() - self._wait_from_s


class _Wait:
    """A wait of whatever round is open."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        if self._recorder._open is not None:
            self._recorder._open.begins_wait()

    def __exit__(self, *_: object) -> None:
        if self._recorder._open is not None:
            self._recorder._open.ends_wait()


def _rank() -> int:
    said = next(((name, os.environ[name]) for name in RANKS if os.environ.get(name)), None)
    if said is None:
        raise ValueError(f"rank: must be given, or stand in the environment as {', '.join(RANKS)}, got none")
    name, text = said
    if not text.isdecimal():
        raise ValueError(f"{name}: must be a number of at least 0, got {text!r}")
    return int(text)
