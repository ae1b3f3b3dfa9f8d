"""Search for settings: which to try, and the whole way from a trace to the best, checked on events."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd

from schemes import HeterogeneousGradientCoding, Scheme
from schemes.base.patterns import Acceptance, Accepts
from simulator.engine.master_rules import FirstEnough, MasterRule, MuRule
from simulator.errors import OUTSIDE, SimulationError, place_in, told
from simulator.plugins.kinds import SCHEME_TABLE
from simulator.tuning import legal_settings
from simulator.tuning.actions import speeds_of
from simulator.tuning.evaluate import Progress, evaluate
from simulator.tuning.trace import AdjustedTrace, SearchError

DEFAULT_DELAY = 3  # four networks trained in turn, as in the first paper


@dataclass(frozen=True)
class Search:
    """Settings to try, and the rules to try them under.

    Raises
    ------
    SearchError
        If an entry is not one of those that there are.

    Examples
    --------
    >>> search = Search(max_delay=1, schemes=("uncoded", "multiplexed"), rules=(FirstEnough(),))
    >>> [group.first.label for group in search.groups(n_workers=4)]
    ['uncoded', 'M-SGC', 'repetition only', 'M-SGC-Rep', 'M-SGC', 'repetition only', 'M-SGC-Rep']
    """

    rules: tuple[MasterRule, ...]
    n_jobs: int = 80
    max_delay: int | None = None
    models: int | None = None
    schemes: tuple[str, ...] | None = None  # None: all that have settings
    accepts: tuple[str, ...] | None = None
    as_published: bool = False
    is_published_grid: bool = False
    is_coarse: bool = False

    def __post_init__(self) -> None:
        self.classes()  # raises
        if self.accepts is not None and (not self.accepts or not set(self.accepts) <= set(get_args(Accepts))):
            raise _not_some_of("--accepts", get_args(Accepts), self.accepts)
        if not self.rules:
            raise SearchError("--rules: must name at least one, got none")
        if self.accepts is not None and self.as_published:
            raise SearchError("--accepts: must be left out with --as-published, which has a rule of its own")
        if self.accepts is not None and self.is_published_grid and len(self.accepts) > 1:
            raise SearchError(f"--accepts: must be a single word with --grid published, got {', '.join(self.accepts)}")
        most = legal_settings.PUBLISHED_DELAY
        if self.is_published_grid and self.delay > most:
            raise SearchError(f"--max-delay: must be at most {most} with --grid published, got {self.delay}")
        if self.n_jobs < 1:
            raise SearchError(f"--jobs: must be at least 1, got {self.n_jobs}")
        if self.models is not None and self.models < 1:
            raise SearchError(f"--models: must be at least 1, got {self.models}")
        if self.max_delay is not None and self.max_delay < 0:
            raise SearchError(f"--max-delay: must be at least 0, got {self.max_delay}")
        if self.models is not None and self.max_delay is not None and self.max_delay > self.models - 1:
            raise SearchError(
                f"--max-delay: must be at most models - 1 = {self.models - 1} (the model needs its update by then), "
                f"got {self.max_delay}"
            )

    def classes(self) -> list[type[Scheme]]:
        """The schemes to try, in the order of a search."""
        known = legal_settings.searchable()
        if self.schemes is None:
            return list(known.values())
        classes = [known[kind] for kind in known if kind in self.schemes]
        for kind in dict.fromkeys(self.schemes):
            if ":" in kind and kind not in known:
                try:
                    classes.append(SCHEME_TABLE.find(kind))
                except ValueError as error:
                    raise SearchError(f"--schemes: {error}") from None
            elif kind not in known:
                raise _not_some_of("--schemes", known, self.schemes)
        if not classes or not all(map(legal_settings.has_settings, classes)):
            raise _not_some_of("--schemes", known, self.schemes)
        return classes

    @property
    def delay(self) -> int:
        """The largest T."""
        if self.max_delay is not None:
            return self.max_delay
        if self.models is not None:
            return self.models - 1
        return legal_settings.PUBLISHED_DELAY if self.is_published_grid else DEFAULT_DELAY

    @property
    def acceptances(self) -> tuple[Acceptance, ...]:
        """Acceptance rules to try with the sequential schemes."""
        if self.as_published:
            return ("published",)
        if self.accepts is None:
            return ("pattern",) if self.is_published_grid else ("pattern", "recoverable")
        return tuple(accepted for accepted in get_args(Accepts) if accepted in self.accepts)

    def groups(self, n_workers: int, speeds: Sequence[float] | None = None) -> list[legal_settings.Group]:
        """The settings, for workers of such speeds; None: they do not differ."""
        classes = self.classes()
        if self.is_published_grid:
            groups = legal_settings.published_grid(n_workers, self.acceptances[0])
            return [one for one in groups if one.first.delay_rounds <= self.delay and type(one.first) in classes]
        groups = legal_settings.every_setting(
            n_workers, self.n_jobs, max_delay=self.delay, schemes=classes, accepts=self.acceptances, speeds=speeds
        )
        if not groups and classes == [HeterogeneousGradientCoding]:
            why = "workers do not differ in speed (Friedman's test, 5 %)"
            raise SearchError(f"--schemes: must name more than heterogeneous_gradient_coding, because {why}")
        labels: dict[str, type[Scheme]] = {}
        for scheme, _ in groups:
            other = labels.setdefault(scheme.label, type(scheme))
            if other is not type(scheme):
                names = f"{other.__name__} and {type(scheme).__name__}"
                raise SearchError(f"--schemes: must have different labels, got {scheme.label} for {names}")
        return legal_settings.thinned(groups) if self.is_coarse else groups


def search_trace(
    trace: AdjustedTrace, search: Search, *, like: AdjustedTrace | None = None, progress: Progress | None = None
) -> pd.DataFrame:
    """Evaluate all settings on a trace, see `simulator.tuning.evaluate.evaluate`.

    Load is in proportion to the speeds of its workers, or to those in the trace ``like``.

    Raises
    ------
    SearchError
        If the trace does not allow it.
    """
    times, n_workers = trace.times()
    speeds = speeds_of(*(like or trace).times())
    with searching(trace):
        groups = search.groups(n_workers, speeds)
        return evaluate(times, n_workers, search.n_jobs, groups, search.rules, progress=progress)


@contextmanager
def searching(trace: AdjustedTrace) -> Iterator[None]:
    """Say in a line what keeps a trace from being searched, also where it is a plug-in from outside."""
    try:
        yield
    except (ValueError, SimulationError) as error:
        raise SearchError(f"{trace.path}: cannot be searched: {error}") from None
    except Exception as error:
        if not OUTSIDE:
            raise  # a fault of ours: its traceback is wanted
        raise SearchError(f"{trace.path}: cannot be searched: {told(error, place_in(error, OUTSIDE))}") from error


def _not_some_of(option: str, known: Iterable[str], got: Iterable[str]) -> SearchError:
    return SearchError(f"{option}: must be among {', '.join(known)}, got {', '.join(got) or 'none'}")


def rules_of(names: Sequence[str], mus: Sequence[float], wait_for: Sequence[str]) -> tuple[MasterRule, ...]:
    """Rules from what the command line names.

    Raises
    ------
    SearchError
        If a name is none of a rule that never gives up a round, or a value is out of range.
    """
    rules: list[MasterRule] = []
    for name in names:
        if name == "first_enough":
            rules.append(FirstEnough())
        elif name == "mu_rule":
            if not mus or not wait_for:
                raise SearchError("--mu and --wait-for: must name at least one for mu_rule, got none")
            for mu in mus:
                if not (0 <= mu < np.inf):
                    raise SearchError(f"--mu: must be at least 0, got {mu:g}")
                for waits in wait_for:
                    if waits not in ("all", "enough"):
                        raise SearchError(f"--wait-for: must be all, enough or both, got {waits}")
                    rules.append(MuRule(mu=mu, wait_for="all" if waits == "all" else "enough"))
        else:
            raise SearchError(f"--rules: must be first_enough, mu_rule or both, got {name}")
    return tuple(dict.fromkeys(rules))
