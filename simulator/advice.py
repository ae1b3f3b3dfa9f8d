"""Advice from a recording: chosen on its first half, tested on the other, with how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from schemes.base import FloatArray
from simulator.adjusted_recording import AdjustedRecording, SearchError
from simulator.choice import best_settings, said_setting
from simulator.search import Search, as_scheme
from simulator.settings import REPETITION
from simulator.tune import Progress, evaluate, rule_name, run_on_arrays, scheme_of
from straggler_models.base import WorkerTimes

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROUNDS = 10  # fewer say nothing of rounds to come
N_RESAMPLES = 200
WORTH_PERCENT = 1.0  # time saved that nobody would go to any trouble for
ALIKE = 0.02  # choices that differ by less on the other half are as good
PROBES = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200)

Verdict = Literal["pays", "does not pay", "not enough data"]


class Saved(NamedTuple):
    """Time saved in percent, with its 95 % interval over resamples."""

    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.1f} % [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Advice:
    """What a recording says about what to run.

    Parameters
    ----------
    n_chosen_on, n_tested_on
        Rounds of the first part, on which settings were chosen, and of the rest, on which they were tested.
    chosen
        The best setting of each scheme on the first part, under its own best rule, the fastest first; its columns
        are those of `simulator.tune.evaluate`, and ``rest_s``, the makespan on the rest.
    resampled_s
        Makespans of these settings on resampled rests, shape ``(n_schemes, N_RESAMPLES)``.
    learned
        For each number of probing rounds: what would have been chosen after them, and its makespan on the rest.
    settings
        All settings on the first part.
    """

    n_chosen_on: int
    n_tested_on: int
    chosen: pd.DataFrame
    resampled_s: FloatArray
    learned: pd.DataFrame
    settings: pd.DataFrame

    @property
    def winner(self) -> dict[Any, Any]:
        """The setting that was the fastest on the first part."""
        return dict(self.chosen.iloc[0])

    def saved(self, scheme: str, other: str) -> Saved | None:
        """What a scheme saves against another on resampled rests; None if one was not tried."""
        labels = self.chosen["scheme"].tolist()
        if scheme not in labels or other not in labels:
            return None
        own_s, other_s = (self.resampled_s[labels.index(label)] for label in (scheme, other))
        low, high = np.percentile(100 * (1 - own_s / other_s), [2.5, 97.5])
        return Saved(float(100 * (1 - own_s.mean() / other_s.mean())), float(low), float(high))

    @property
    def share_won(self) -> FloatArray:
        """In which share of resampled rests each scheme is the fastest; ties are shared."""
        is_best = self.resampled_s <= self.resampled_s.min(axis=0) * (1 + 1e-12)
        share: FloatArray = (is_best / is_best.sum(axis=0)).mean(axis=1)
        return share

    @property
    def verdict(self) -> Verdict:
        """Whether the winner saves time against uncoded work, or at most so little that it is not worth it."""
        saved = self.saved(self.winner["scheme"], "uncoded")
        if saved is None or self.winner["scheme"] == "uncoded" or saved.high < WORTH_PERCENT:
            return "does not pay"
        return "pays" if saved.low > 0 else "not enough data"

    @property
    def rounds_enough(self) -> int | None:
        """After how many probing rounds all choices are as good as the last; None: not before the last."""
        rest_s = self.learned["rest_s"].to_numpy()
        is_as_good = rest_s <= (1 + ALIKE) * rest_s[-1]
        n_bad = np.flatnonzero(~is_as_good)
        first = 0 if not len(n_bad) else int(n_bad[-1]) + 1
        return None if first >= len(rest_s) - 1 else int(self.learned["rounds"].iloc[first])

    @property
    def rule_matters_percent(self) -> float:
        """How much longer the best setting of the winner takes under its worst rule, on the first part."""
        own = self.settings[self.settings["scheme"] == self.winner["scheme"]]
        by_rule_s = own.groupby("rule")["makespan_s"].min()
        return float(100 * (by_rule_s.max() / by_rule_s.min() - 1))

    @property
    def scheme_matters_percent(self) -> float:
        """How much longer the worst scheme but uncoded takes under the winner's rule, each at its best setting."""
        under = self.settings[(self.settings["rule"] == self.winner["rule"]) & (self.settings["scheme"] != "uncoded")]
        by_scheme_s = under.groupby("scheme")["makespan_s"].min()
        return float(100 * (by_scheme_s.max() / by_scheme_s.min() - 1)) if len(by_scheme_s) else 0.0


def advise(recording: AdjustedRecording, search: Search, *, progress: Progress | None = None) -> Advice:
    """Choose on the first half of a recording, and test on the rest.

    The rest is met in order, and in resamples: blocks of successive rounds that start anywhere in it, as of the
    circular block bootstrap of Politis and Romano, 1992. All settings meet the same resamples.

    Raises
    ------
    SearchError
        If the recording can't be searched, or is too short for any advice.
    """
    import pandas as pd

    times, n_workers = recording.times()
    if times.n_rounds < LEAST_ROUNDS:
        raise SearchError(
            f"{recording.path}: not enough data: must hold at least {LEAST_ROUNDS} rounds, got {times.n_rounds}"
        )
    n_first = times.n_rounds // 2
    rest = _part(times, n_first, times.n_rounds)
    probes = [n_rounds for n_rounds in PROBES if n_rounds < n_first] + [n_first]
    rules = {rule_name(rule): rule for rule in search.rules}
    groups = search.groups(n_workers)
    n_settings = sum(len(group.values) for group in groups) * len(rules)

    def makespans_s(setting: dict[Any, Any], rounds: Any) -> FloatArray:
        scheme = scheme_of(as_scheme(setting), n_workers)
        needed = rounds[:, : search.n_jobs + scheme.delay_rounds]
        records = run_on_arrays(scheme, rest, needed, search.n_jobs, rules[setting["rule"]])
        return np.array([record.makespan_s for record in records])

    n_rounds = search.n_jobs + search.delay
    in_order = np.arange(n_rounds)[np.newaxis]
    learned, settings = [], pd.DataFrame()
    for place, n_used in enumerate(probes):

        def tell(done: int, _: int, place: int = place) -> None:
            if progress is not None:
                progress(place * n_settings + done, len(probes) * n_settings)

        try:
            settings = evaluate(_part(times, 0, n_used), n_workers, search.n_jobs, groups, search.rules, progress=tell)
        except ValueError as error:
            raise SearchError(f"{recording.path}: can't be searched: {error}") from None
        first = best_settings(settings).sort_values("makespan_s", kind="stable").iloc[0].to_dict()
        [rest_s] = makespans_s(first, in_order)
        found = {"scheme": first["scheme"], "setting": said_setting(first), "rule": first["rule"], "rest_s": rest_s}
        learned.append({"rounds": n_used} | found)
    chosen = best_settings(settings).sort_values("makespan_s", kind="stable")
    rows = chosen.to_dict("records")
    drawn = _resampled(rest.n_rounds, n_rounds)
    return Advice(
        n_chosen_on=n_first,
        n_tested_on=rest.n_rounds,
        chosen=chosen.assign(rest_s=[makespans_s(row, in_order)[0] for row in rows]),
        resampled_s=np.array([makespans_s(row, drawn) for row in rows]),
        learned=pd.DataFrame(learned),
        settings=settings,
    )


def _part(times: WorkerTimes, first: int, end: int) -> WorkerTimes:
    """Some of the recorded rounds."""
    parts = (times.startup_s, times.seconds_per_load, times.slowdown)
    return WorkerTimes(
        *(part[first:end] if isinstance(part, np.ndarray) and part.ndim == 2 else part for part in parts)
    )


def _resampled(n_recorded: int, n_rounds: int) -> Any:
    """Which recorded round is met in each round of each resample, shape ``(N_RESAMPLES, n_rounds)``."""
    rng = np.random.default_rng(0)  # the same for all settings, and in every call
    length = math.ceil(n_recorded ** (1 / 3))  # so that bursts survive, and resamples still differ
    starts = rng.integers(n_recorded, size=(N_RESAMPLES, -(-n_rounds // length), 1))
    return ((starts + np.arange(length)) % n_recorded).reshape(N_RESAMPLES, -1)[:, :n_rounds]


def sentences(advice: Advice, search: Search) -> list[str]:
    """The advice in words."""
    winner = advice.winner
    scheme, setting = winner["scheme"], said_setting(winner)
    name = f"{scheme}{f' ({setting})' if setting else ''} with the rule {winner['rule']}"
    over_uncoded = advice.saved(scheme, "uncoded")
    said = []
    if advice.verdict == "pays":
        against = [f"{over_uncoded} against uncoded work"]
        for other in ("GC", REPETITION):
            saved = advice.saved(scheme, other)
            if saved is not None and scheme != other:
                against.append(f"{saved} against {other} at its best")
        said.append(f"Use {name}: it saves {', '.join(against)}.")
    elif advice.verdict == "does not pay":
        said.append(
            "Coding does not pay here: "
            + (
                "uncoded work was the fastest."
                if over_uncoded is None or scheme == "uncoded"
                else f"what looked best, {name}, saves {over_uncoded} against uncoded work on the rest."
            )
        )
    else:
        said.append(
            f"Not enough data: {name} looked best, but saves {over_uncoded} against uncoded work on the rest, and the "
            "interval holds 0. Record more rounds."
        )
    coding = _of_coding(advice)
    said += [coding] if coding else []
    share = advice.share_won
    said.append(
        f"It was the fastest scheme in {100 * share[0]:.0f} % of {N_RESAMPLES} resamples of the rest"
        + _runner_up(advice, share)
        + "."
    )
    enough = advice.rounds_enough
    said.append(
        f"{enough} probing round{'s' if enough > 1 else ''} would have been enough: every choice after that is within "
        f"{100 * ALIKE:.0f} % of the last, on the rest."
        if enough is not None
        else f"The choice still changed by more than {100 * ALIKE:.0f} % on the rest near the end of the "
        f"{advice.n_chosen_on} probing rounds: more of them may choose better."
    )
    if len(search.rules) > 1:
        rule, code = advice.rule_matters_percent, advice.scheme_matters_percent
        more = "The rule matters more than the code" if rule > code else "The code matters more than the rule"
        said.append(
            f"{more}: {scheme} at its best takes {rule:.0f} % longer under its worst rule, and the worst of the coded "
            f"schemes at its best takes {code:.0f} % longer under the same rule."
        )
    return said


def _of_coding(advice: Advice) -> str:
    """What coding adds to repeating what was missed."""
    labels = [label for label in advice.chosen["scheme"] if label not in ("uncoded", REPETITION)]
    saved = advice.saved(labels[0], REPETITION) if labels else None
    if saved is None or saved.low > 0:
        return ""
    if saved.high < 0:
        return f"Repetition without coding is faster than any code: the best, {labels[0]}, saves {saved} against it."
    return f"Coding itself gains nothing that is sure: {labels[0]} saves {saved} against repetition without coding."


def _runner_up(advice: Advice, share: FloatArray) -> str:
    others = np.argsort(-share, kind="stable")
    second = next((int(place) for place in others if place != 0 and share[place] > 0), None)
    return "" if second is None else f" ({advice.chosen['scheme'].iloc[second]}: {100 * share[second]:.0f} %)"
