"""The search for parameters: exactly the engines' numbers, every legal setting, and what is told about them."""

import dataclasses
import importlib.metadata
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

import stragglersim
from schemes import (
    SCHEMES,
    Allowance,
    BernoulliGradientCoding,
    GradientCoding,
    LinearScheme,
    Multiplexed,
    SelectiveRepeat,
    at_most,
)
from schemes.assignment import Cyclic
from schemes.backup_tasks import COPIES as LAST_COPIES
from schemes.base.rule import Recent, permits
from schemes.base.sets import ManySets, OneSet
from simulator.cli.app import main
from simulator.engine.events import RunPlan, simulate
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.network import Network
from simulator.engine.record import RunRecord
from simulator.engine.replay import MeasuredRounds, replay
from simulator.engine.worker_times import RoundTimes
from simulator.errors import OUTSIDE
from simulator.plots.style import looks_of
from simulator.plots.tuning import looks_among
from simulator.tuning.best import best_settings, fastest_first, flatness, winners
from simulator.tuning.evaluate import evaluate, run_measured
from simulator.tuning.legal_settings import Group, every_setting, published_grid, searchable, shipped_labels
from simulator.tuning.scenarios import scheme_of
from simulator.tuning.search import Search, rules_of, search_trace
from simulator.tuning.trace import AdjustedTrace, SearchError
from straggler_models import Trace
from straggler_models.base import WorkerTimes
from stragglersim import Scenario, load

RULES = [
    FirstEnough(),
    MuRule(mu=0.0, wait_for="all"),
    MuRule(mu=0.4, wait_for="enough"),
    MuRule(mu=1.0, wait_for="all"),
    MuRule(mu=0.3, reference="median", wait_for="enough"),
    FixedTime(time_s=2.0, wait_for="enough"),
    FixedTime(time_s=0.1, wait_for="all"),
]
LAMBDA = Path(__file__).parents[2] / "shared" / "traces" / "aws-lambda"


KINDS = tuple(kind for kind in SCHEMES if kind in searchable())
SHIPPED = [cls for cls in SCHEMES.values() if cls in searchable().values()]


def some_times(rng, n_rounds, n_workers):
    """Ties now and then; a slope in seconds for everybody, or as many times longer."""
    many = rng.integers(1, 5, (n_rounds, n_workers)).astype(np.float64)
    measured_s = many if rng.random() < 0.5 else rng.lognormal(0, 0.6, (n_rounds, n_workers))
    if rng.random() < 0.5:
        return WorkerTimes(measured_s, float(rng.choice([0.0, 1.0, 3.7])))
    return WorkerTimes(0.5, measured_s * n_workers)


def on_arrays(scheme, times, n_jobs, rule):
    """Durations, waits and stragglers of each round, by the vectorised engine."""
    runs = run_measured(scheme, times, np.arange(n_jobs + scheme.delay_rounds)[np.newaxis], n_jobs, rule)
    return runs.duration_s[0], runs.waited_s[0], runs.stragglers[0]


@settings(max_examples=75, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from(RULES))
def test_replay_equals_the_vectorised_engine_in_every_round(seed, rule):
    rng = np.random.default_rng(seed)
    n_workers = int(rng.integers(1, 9)) if rng.random() < 0.8 else int(rng.integers(60, 70))
    n_jobs = int(rng.integers(1, 12))
    times = some_times(rng, int(rng.integers(1, 12)), n_workers)
    accepts = str(rng.choice(["pattern", "recoverable", "published"]))
    groups = every_setting(n_workers, n_jobs, max_delay=4, schemes=SHIPPED, accepts=[accepts])
    groups = [group for group in groups if group.grid(n_jobs) is not None]
    measured = MeasuredRounds(times, n_workers)
    for which in rng.choice(len(groups), min(4, len(groups)), replace=False):
        group = groups[which]
        played = replay(group.grid(n_jobs), measured, [rule])
        column = int(rng.integers(len(group.values)))
        expected = on_arrays(group.scheme(group.values[column]), times, n_jobs, rule)
        np.testing.assert_array_equal(played.duration_s[:, column], expected[0])
        np.testing.assert_array_equal(played.waited_s[:, column], expected[1])
        np.testing.assert_array_equal(played.stragglers[:, column], expected[2])


@dataclass(frozen=True)
class Chief(LinearScheme):
    """From outside, and of ten lines: worker 0 is needed, and of all others at most ``s`` may be missing."""

    n_workers: int
    s: int

    def encoding_matrix(self):
        return np.eye(self.n_workers)

    def allowance(self):
        return Allowance(np.minimum(np.arange(self.n_workers), 1), np.array([0, self.s]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule)[:60])
def test_a_scheme_from_outside_has_all_three_forms(rule):
    times = some_times(np.random.default_rng(1), 6, 5)
    played = replay(Chief(5, s=0).grid(6, np.arange(5)), MeasuredRounds(times, 5), [rule])
    for s in range(5):
        expected = on_arrays(Chief(5, s), times, 6, rule)
        np.testing.assert_array_equal(played.duration_s[:, s], expected[0])
        np.testing.assert_array_equal(played.stragglers[:, s], expected[2])
        record = RunRecord(5, 6)
        parts = [np.broadcast_to(part, (6, 5)) for part in (times.startup_s, times.seconds_per_load, times.slowdown)]
        rounds = (RoundTimes(*row, np.zeros(5, dtype=np.bool_)) for row in zip(*parts, strict=True))
        simulate(
            RunPlan(Chief(5, s), 6, rounds, None, rule, "cancel", 0.0, Network(), np.random.default_rng(0)), record
        )
        assert record.rounds.duration_s == pytest.approx(expected[0])


def test_an_allowance_permits_what_it_says_in_every_row():
    rule, sets = Chief(5, s=0).grid(1, np.arange(5)), ManySets(5, 5)
    for missing in itertools.product([False, True], repeat=5):
        found = permits(sets, rule.alternatives(), sets.of(np.tile(missing, (5, 1)))).tolist()
        assert found == [not missing[0] and sum(missing) <= s for s in range(5)]


def test_a_search_needs_workers_with_equal_work_and_an_allowance():
    assert BernoulliGradientCoding(8, p=0.4).grid(5, np.array([0.4])) is None
    assert Multiplexed(4, B=1, W=2, lam=1).grid(5, np.array([1, 4])) is None
    assert Multiplexed(4, B=1, W=2, lam=1, credit="prefix").grid(5, np.array([1])) is None


def test_past_rounds_with_few_stragglers_may_not_be_bursty():
    """Worker 0 straggles twice in a window, which s = 1 allows, but no third round with two others does then."""
    slow = [(0,), (0,), (1, 2), (), ()]
    times = WorkerTimes(np.array([[5.0 if worker in who else 1.0 for worker in range(6)] for who in slow]))
    played = replay(
        Group(SelectiveRepeat(6, B=1, W=3, lam=3), (3,)).grid(4),
        MeasuredRounds(times, 6),
        [MuRule(mu=1.0, wait_for="all")],
    )
    assert played.duration_s[:, 0].tolist() == [2.0, 2.0, 5.0, 1.0, 0.0]


@pytest.mark.parametrize("accepts", ["pattern", "recoverable", "published"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule)[:60])
def test_evaluate_equals_events(accepts, rule, tmp_path):
    rng = np.random.default_rng(len(accepts))
    n_workers, n_jobs = 6, 7
    measured_s = rng.integers(1, 6, (5, n_workers)) * 0.5
    table = trace_of(measured_s)
    table.to_csv(tmp_path / "trace.csv", index=False)
    trace = Trace(path=str(tmp_path / "trace.csv"), wrap="cycle", seconds_per_load=2.0)
    groups = every_setting(n_workers, n_jobs, max_delay=3, schemes=SHIPPED, accepts=[accepts])
    found = evaluate(WorkerTimes(measured_s, 2.0), n_workers, n_jobs, groups, [*RULES[1:4], rule])
    found = found.iloc[[place for place, row in enumerate(found["rule"]) if row == rule.name]]
    sample = found.iloc[np.sort(rng.choice(len(found), 12, replace=False))]
    sample = pd.concat(
        [sample, *(found[found["scheme"] == scheme].iloc[:2] for scheme in ("repetition only", LAST_COPIES))]
    )
    schemes = {str(place): scheme_of(row, n_workers) for place, row in enumerate(sample.to_dict("records"))}
    runs = stragglersim.run(
        Scenario(workers=n_workers, jobs=n_jobs, stragglers={"it": trace}, schemes=schemes, master=rule)
    ).runs
    for name in ("makespan_s", "waited_s", "load", "straggler_rate"):
        np.testing.assert_allclose(sample[name].to_numpy(), runs[name].to_numpy(), rtol=1e-12)
    assert sample["waited_rounds"].tolist() == runs["waited_rounds"].tolist()
    assert sample["delay_rounds"].tolist() == runs["delay_rounds"].tolist()
    assert not runs["decode_failures"].any()


def trace_of(measured_s):
    rounds, workers = np.divmod(np.arange(measured_s.size), measured_s.shape[1])
    return pd.DataFrame({"round": rounds, "worker": workers, "duration_s": measured_s.ravel()})


@pytest.mark.parametrize("n_workers", [1, 2, 3, 6])
@pytest.mark.parametrize("max_delay", [0, 1, 3])
def test_every_legal_setting_is_there_once(n_workers, max_delay):
    n_jobs = 5
    found = every_scheme(n_workers, n_jobs, max_delay, ["pattern"])
    assert len(set(map(repr, found))) == len(found)
    assert set(map(repr, found)) == set(map(repr, legal_schemes(n_workers, n_jobs, max_delay)))
    published = every_scheme(n_workers, n_jobs, max_delay, ["published"])
    assert published == [as_published(scheme) for scheme in found]
    recoverable = every_scheme(n_workers, n_jobs, max_delay, ["recoverable"])
    least = {}
    for scheme in found:  # of `selective_repeat` B and s are all that matters then
        is_repeat = isinstance(scheme, SelectiveRepeat)
        least.setdefault((scheme.B, scheme.s, scheme.code) if is_repeat else repr(scheme), scheme)
    assert recoverable == [with_acceptance(scheme, accepts="recoverable") for scheme in least.values()]


def every_scheme(n_workers, n_jobs, max_delay, accepts):
    groups = every_setting(n_workers, n_jobs, max_delay=max_delay, schemes=SHIPPED, accepts=accepts)
    return [group.scheme(value) for group in groups for value in group.values]


def as_published(scheme):
    return with_acceptance(scheme, as_published=True)


def with_acceptance(scheme, **given):
    return dataclasses.replace(scheme, **given) if isinstance(scheme, SelectiveRepeat | Multiplexed) else scheme


@pytest.mark.parametrize(
    ("n_workers", "max_delay", "n_jobs", "options", "n_settings"),
    [
        (2, 1, 1, {"accepts": ("pattern",)}, 12),
        (6, 2, 5, {}, 129),
        (12, 4, 40, {}, 2163),
        (25, 2, 40, {"accepts": ("recoverable",)}, 122),
        (3, 4, 5, {"as_published": True}, 59),
        (25, 4, 40, {"is_coarse": True}, 880),
    ],
)
def test_a_search_has_as_many_settings_as_ever(n_workers, max_delay, n_jobs, options, n_settings):
    search = Search(rules=(FirstEnough(),), max_delay=max_delay, n_jobs=n_jobs, schemes=KINDS, **options)
    groups = search.groups(n_workers)
    assert sum(len(group.values) for group in groups) == n_settings
    assert len({group.first.delay_rounds for group in groups}) == max_delay + 1


def legal_schemes(n_workers, n_jobs, max_delay):
    """Every scheme whose constructor does not refuse, without those that are uncoded under another name."""
    yield SCHEMES["uncoded"](n_workers=n_workers)
    for kind, s in itertools.product(("gradient_coding", "fractional_repetition"), range(1, n_workers + 1)):
        yield from tried(kind, n_workers, s=s)
    for copies in {min(n_workers, copies) for copies in (2, 3, 4, 6, 8) if n_workers > 1}:
        yield SCHEMES["partial_gradient_coding"](n_workers=n_workers, assignment=Cyclic(chunks_per_worker=copies))
    for share in {1: (), 2: (0.5,), 3: (0.5,), 6: (0.5, 0.75)}[n_workers]:  # that leave something to copy, and differ
        yield SCHEMES["backup_tasks"](n_workers=n_workers, policy={"after": "share", "share": share})
    for kind, B, W, lam, code in itertools.product(
        ("selective_repeat", "multiplexed"),
        range(1, max_delay + 1),
        range(1, n_jobs + max_delay + 3),
        range(1, n_workers + 1),
        ("gradient_coding", "fractional_repetition"),
    ):
        if kind == "selective_repeat" and n_jobs < W:
            continue
        for scheme in tried(kind, n_workers, B=B, W=W, lam=lam, code=code):
            is_not_coded = kind == "multiplexed" and lam == n_workers and code == "fractional_repetition"
            if scheme.delay_rounds <= max_delay and not is_not_coded:
                yield scheme


def tried(kind, n_workers, **fields):
    try:
        yield SCHEMES[kind](n_workers=n_workers, **fields)
    except ValueError:
        return


def test_what_is_recoverable_depends_on_s_alone_in_selective_repeat():
    """So the search tries each s once; here is what it leaves out."""
    rng = np.random.default_rng(5)
    times = WorkerTimes(rng.lognormal(0, 0.8, (9, 6)), 1.0)
    durations = {}
    for W, lam in itertools.product((3, 5, 7), range(1, 7)):
        scheme = SelectiveRepeat(6, B=2, W=W, lam=lam, accepts="recoverable")
        durations.setdefault(scheme.s, set()).add(tuple(on_arrays(scheme, times, 8, RULES[2])[0]))
    assert all(len(same) == 1 for same in durations.values())
    assert len(durations) == 3


def test_the_published_grid_has_the_published_number_of_settings():
    groups = published_grid(256, "published")
    assert sum(len(group.values) for group in groups) == 96_001
    assert max(group.first.delay_rounds for group in groups) == 20


@given(
    st.lists(st.lists(st.booleans(), min_size=72, max_size=72), min_size=1, max_size=4),
    st.integers(0, 73),
    st.sampled_from([1, 2, 3, 4, 6, 8, 9, 12, 18, 24, 36, 72]),
)
def test_both_forms_of_sets_are_sets(members, n_wanted, replicas):
    workers = np.array(members)
    many, one = ManySets(len(workers), 72), OneSet(72)
    sets, ints = many.of(workers), [one.of(row[np.newaxis]) for row in workers]
    wanted, groups = np.full(len(workers), n_wanted), np.full(len(workers), replicas)
    lowest = workers & (workers.cumsum(axis=1) <= n_wanted)
    full = np.zeros_like(workers)
    full[:, ::replicas] = workers.reshape(len(workers), -1, replicas).all(axis=2)
    n_full = full.sum(axis=1)
    for found, expected in (
        (many.workers(sets), workers),
        (many.size(sets), workers.sum(axis=1)),
        (many.any(sets & sets[:, ::-1]), (workers & workers[::-1]).any(axis=1)),
        (many.workers(many.lowest(sets, wanted)), lowest),
        (many.workers(many.full_groups(sets, groups)), full),
        (many.fits(sets, wanted, in_groups=False), workers.sum(axis=1) <= n_wanted),
        (many.fits(sets, groups - 1, in_groups=True), n_full == 0),
    ):
        np.testing.assert_array_equal(found, expected)
    for row, this in enumerate(ints):
        np.testing.assert_array_equal(one.workers(this)[0], workers[row])
        np.testing.assert_array_equal(one.workers(one.lowest(this, n_wanted))[0], lowest[row])
        np.testing.assert_array_equal(one.workers(one.full_groups(this, replicas))[0], full[row])
        assert one.fits(this, n_wanted, in_groups=False) == (workers[row].sum() <= n_wanted)
        assert one.fits(this, replicas - 1, in_groups=True) == (n_full[row] == 0)


@given(st.lists(st.integers(0, 7), max_size=40), st.integers(0, 9))
def test_recent_remembers_the_latest_sets(appended, length):
    recent = Recent(length, 0)
    for n_appended, value in enumerate(appended, start=1):
        recent.append(value)
        latest = appended[max(0, n_appended - length) : n_appended] if length else []
        assert recent.union == int(np.bitwise_or.reduce([0, *latest]))


def test_a_trace_without_one_order_is_refused():
    with pytest.raises(ValueError, match="depends on the load"):
        MeasuredRounds(WorkerTimes(np.array([[1.0, 2.0]]), np.array([[3.0, 0.5]])), 2)
    with pytest.raises(ValueError, match="never answers"):
        MeasuredRounds(WorkerTimes(np.array([[1.0, np.inf]]), 1.0), 2)


def table_of(*rows):
    names = ("scheme", "rule", "B", "s", "lam", "delay_rounds", "load", "makespan_s")
    frame = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    kinds = {"uncoded": "uncoded", "GC": "gradient_coding", "repetition only": "multiplexed"}
    return frame.assign(kind=frame["scheme"].map(kinds), code="", accepts="", W=0)


TABLE = table_of(
    ("uncoded", "first_enough", 0, 0, 0, 0, 0.1, 20.0),
    ("GC", "first_enough", 0, 1, 0, 0, 0.2, 15.0),
    ("GC", "first_enough", 0, 2, 0, 0, 0.3, 15.1),
    ("GC", "first_enough", 0, 3, 0, 0, 0.4, 18.0),
    ("repetition only", "first_enough", 1, 0, 4, 1, 0.2, 16.0),
    ("uncoded", "mu 1, all", 0, 0, 0, 0, 0.1, 20.0),
    ("GC", "mu 1, all", 0, 1, 0, 0, 0.2, 17.0),
    ("GC", "mu 1, all", 0, 2, 0, 0, 0.3, 17.0),
    ("repetition only", "mu 1, all", 1, 0, 4, 1, 0.2, 14.0),
)


def test_best_settings_by_hand():
    assert best_settings(TABLE).index.tolist() == [0, 1, 8]
    assert best_settings(TABLE, by=("scheme", "rule")).index.tolist() == [0, 1, 4, 5, 6, 8]
    near = flatness(TABLE, TABLE.iloc[1].to_dict())
    assert near == (2, 3, "s", 1, 2)


def test_winners_by_hand():
    found = {(cell.rule, cell.max_delay): cell for cell in winners(TABLE)}
    assert found["first_enough", 0].scheme == "GC"
    assert found["first_enough", 0].coding_saves_percent == pytest.approx(25.0)  # against uncoded: nothing to repeat
    assert found["first_enough", 1].baseline_s == 16.0
    assert found["first_enough", 1].coding_saves_percent == pytest.approx(100 / 16)
    assert found["mu 1, all", 1].scheme == "repetition only"
    assert found["mu 1, all", 1].coding_saves_percent == pytest.approx(100 * (1 - 17 / 14))
    policy = {"after": "share", "share": 0.5}
    copies = TABLE.iloc[:1].assign(scheme=LAST_COPIES, kind="backup_tasks", makespan_s=12.0, policy=[policy])
    first = winners(pd.concat([TABLE, copies], ignore_index=True))[0]
    assert (first.scheme, first.setting) == (LAST_COPIES, "share 0.5")
    assert first.coding_saves_percent == pytest.approx(25.0)  # copies are no code


def test_schemes_that_tie_are_told_apart_by_t_and_load_and_not_by_rounding():
    is_late = TABLE["scheme"] == "repetition only"
    table = TABLE.assign(makespan_s=np.where(is_late, 15.0 * (1 - 1e-13), TABLE["makespan_s"].clip(lower=15.0)))
    assert fastest_first(table)["scheme"].tolist() == ["GC", "repetition only", "uncoded"]
    assert {cell.max_delay: cell.scheme for cell in winners(table) if cell.rule == "first_enough"} == {0: "GC", 1: "GC"}


@pytest.fixture
def trace(tmp_path):
    measured_s = np.random.default_rng(3).lognormal(0, 0.5, (12, 8))
    path = tmp_path / "mine.csv"
    trace_of(measured_s).to_csv(path, index=False)
    return path


def cli(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["stragglersim", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


def test_tune_writes_tables_winners_and_figures(trace, tmp_path, monkeypatch, capsys):
    out = tmp_path / "deep" / "out"
    options = ("--jobs", 10, "--max-delay", 2, "--seconds-per-load", 1.5, "--out", out)
    assert cli(monkeypatch, "tune", trace, *options) == 0
    said = capsys.readouterr().out
    assert "equal to 1e-15" in said
    assert "repetition only" in said
    figures = ", ".join(str(out / f"{name}.png") for name in ("settings", "winners"))
    assert said.splitlines()[-3:] == [
        f"Tables   {out}/settings.parquet, best.csv",
        f"Winners  {out}/winners.yaml (stragglersim run {out}/winners.yaml)",
        f"Figures  {figures}",
    ]
    table = pd.read_parquet(out / "settings.parquet")
    uncoded = table[table["scheme"] == "uncoded"]
    for name, nothing in (("code", ""), ("accepts", ""), ("B", 0), ("W", 0), ("s", 0), ("lam", 0), ("delay_rounds", 0)):
        assert (uncoded[name] == nothing).all()
    scenario = load(out / "winners.yaml")
    runs = stragglersim.run(scenario).runs
    best = best_settings(table)
    assert runs["scheme"].tolist() == best["scheme"].tolist()
    np.testing.assert_allclose(runs["makespan_s"], best["makespan_s"], rtol=1e-12)
    assert set(table["rule"]) == {rule.name for rule in rules_of(["first_enough", "mu_rule"], [0.1, 0.3, 1], ["all"])}
    assert {path.name for path in out.iterdir()} == {
        "settings.parquet",
        "best.csv",
        "tune.account.json",
        "winners.yaml",
        "captions.md",
        *(f"{name}.{kind}" for name in ("settings", "winners") for kind in ("png", "svg")),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--base-load", 0), "--seconds-per-load must be given for times at load 0, of which nothing is work"),
        (("--seconds-per-load", 1, "--rules", "fixed_time"), "--rules: must be first_enough, mu_rule or both"),
        (("--seconds-per-load", 1, "--mu", "-1"), "--mu: must be at least 0, got -1"),
        (("--seconds-per-load", 1, "--mu", "x"), "--mu: must be numbers, e.g. 0.1,0.3,1, got x"),
        (("--seconds-per-load", 1, "--wait-for", "nobody"), "--wait-for: must be all, enough or both, got nobody"),
        (("--seconds-per-load", 1, "--schemes", "magic"), f"--schemes: must be among {', '.join(KINDS)}, got magic"),
        (("--seconds-per-load", 1, "--schemes", "uncoded,fastest_k"), "--schemes: must be among uncoded, gradient_c"),
        (("--seconds-per-load", 1, "--schemes", "no.such:Thing"), "--schemes: must name a scheme that can be imported"),
        (("--seconds-per-load", 1, "--accepts", "all"), "--accepts: must be among pattern, recoverable, got all"),
        (("--seconds-per-load", 1, "--jobs", 0), "--jobs: must be at least 1, got 0"),
        (("--seconds-per-load", 1, "--models", 2, "--max-delay", 2), "--max-delay: must be at most models - 1 = 1"),
        (("--seconds-per-load", 9, "--base-load", 1), "completion times must be at least 0 s"),
        (("--seconds-per-load", 1, "--mu", ""), "--mu and --wait-for: must name at least one for mu_rule"),
        (("--seconds-per-load", 1, "--accepts", "pattern", "--as-published"), "--accepts: must be left out"),
        (("--seconds-per-load", 1, "--grid", "published", "--max-delay", 40), "--max-delay: must be at most 20"),
        (("--load-effect", "proportional", "--base-load", "inf"), "--seconds-per-load must be given for times at load"),
        (
            ("--seconds-per-load", 9, "--base-load", 1, "--load-effect", "proportional"),
            "seconds_per_load must be at most",
        ),
        (("--seconds-per-load", "much"), "--seconds-per-load"),
        (
            ("--seconds-per-load", 1, "--base-load", 0, "--schemes", "selective_repeat", "--max-delay", 0),
            "these schemes have no legal setting",
        ),
        (("--seconds-per-load", -1), "--seconds-per-load"),
    ],
)
def test_tune_says_what_is_wrong_in_a_line(options, message, trace, monkeypatch, capsys):
    assert cli(monkeypatch, "tune", trace, *options) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert len(complaint.strip().splitlines()) == 1


def test_times_below_0_at_the_least_load_are_refused(tmp_path, monkeypatch, capsys):
    """At the load of one mini-task, less than that of uncoded work, one of them is."""
    path = tmp_path / "it.csv"
    trace_of(np.full((4, 4), 0.3)).to_csv(path, index=False)
    options = ("--seconds-per-load", 1, "--base-load", 0.5, "--jobs", 6, "--max-delay", 2)
    assert cli(monkeypatch, "tune", path, *options) == 2
    assert "completion times must be at least 0 s at every load" in capsys.readouterr().err


def test_rules_and_ties_are_told_apart_by_more_than_their_looks():
    assert MuRule(mu=0.9999999).name != MuRule(mu=1.0).name
    assert len({rule.name for rule in RULES}) == len(RULES)
    table = TABLE.assign(makespan_s=[20.0000000000001, *TABLE["makespan_s"][1:]])
    assert best_settings(table).index.tolist()[0] == 0  # equal but for rounding: the first


def test_a_file_that_is_not_there(tmp_path, monkeypatch, capsys):
    assert cli(monkeypatch, "tune", tmp_path / "none.csv", "--seconds-per-load", 1) == 2
    assert "must be a readable file" in capsys.readouterr().err


def test_a_search_says_what_it_is_made_of():
    assert Search(rules=(FirstEnough(),)).delay == 3
    assert Search(rules=(FirstEnough(),), models=3).delay == 2
    assert Search(rules=(FirstEnough(),), is_published_grid=True).delay == 20
    with pytest.raises(SearchError, match="--rules"):
        Search(rules=())


@pytest.mark.skipif(not LAMBDA.is_dir(), reason=f"the traces are not part of the project: no {LAMBDA}")
@pytest.mark.parametrize(
    ("wait_for", "mean_rounds"), [("all", {"M-SGC": (105.49, 32)}), ("enough", {"M-SGC": (99.10, None)})]
)
def test_known_totals_of_a_trace(wait_for, mean_rounds):
    name = "cnn-b2048-canada-load0.000-n30.parquet"
    trace = AdjustedTrace(LAMBDA / name, 0.0, 1.1217530)
    search = Search(
        rules=(MuRule(mu=1.0, wait_for=wait_for),), max_delay=1, schemes=("multiplexed",), as_published=True
    )
    found = search_trace(trace, search)
    row = found[(found["B"] == 1) & (found["W"] == 2) & (found["lam"] == 27) & (found["scheme"] == "M-SGC")].iloc[0]
    makespan_s, waited_rounds = mean_rounds["M-SGC"]
    assert row["makespan_s"] == pytest.approx(makespan_s, abs=0.005)
    assert waited_rounds in (None, row["waited_rounds"])


COPIES = """
import numpy as np
from pydantic.dataclasses import dataclass
from schemes import LinearScheme

@dataclass(frozen=True)
class Copies(LinearScheme):
    n_workers: int
    copies: int
    @classmethod
    def settings(cls, n_workers, max_delay):
        return (cls(n_workers, c) for c in range(2, n_workers + 1) if n_workers % c == 0)
    def encoding_matrix(self):
        return np.kron(np.eye(self.n_workers // self.copies), np.ones((self.copies, 1)))

class OnEvents(Copies):
    settings = classmethod(Copies.settings.__func__)
    def batches(self, n_jobs, rows):
        return ()

class Twin(Copies):
    label = "GC"
    settings = classmethod(Copies.settings.__func__)

class Faulty(Copies):
    @classmethod
    def settings(cls, n_workers, max_delay):
        raise KeyError("x")
"""


@pytest.fixture
def their_schemes(tmp_path, monkeypatch):
    """A module from outside, and a package that has installed one of its schemes."""
    (tmp_path / "their_schemes.py").write_text(COPIES)
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint("copies", "their_schemes:Copies", "stragglersim.schemes")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] * (group == "stragglersim.schemes"))
    yield
    sys.modules.pop("their_schemes", None)
    OUTSIDE.discard("their_schemes")


@pytest.mark.parametrize("kind", ["copies", "their_schemes:Copies", "their_schemes:OnEvents"])
def test_a_scheme_from_outside_is_tuned_with_the_numbers_of_events(
    kind, their_schemes, trace, tmp_path, monkeypatch, capsys
):
    """Copies of chunks, as GC-Rep has them: only the code says otherwise."""
    given = ("--seconds-per-load", 1.5, "--jobs", 10, "--mu", 0.3, "--out", tmp_path / "out")
    assert cli(monkeypatch, "tune", trace, "--schemes", f"uncoded,fractional_repetition,{kind}", *given) == 0
    said = capsys.readouterr().out
    assert "equal to 1e-15" in said
    table = pd.read_parquet(tmp_path / "out" / "settings.parquet")
    label = kind.rpartition(":")[2].title().replace("Onevents", "OnEvents")
    own, known = table[table["scheme"] == label], table[table["scheme"] == "GC-Rep"]
    assert own["copies"].tolist() == [2, 4, 8] * 2
    assert set(own["kind"]) == {"copies" if label == "Copies" else kind}
    for name in ("makespan_s", "waited_s", "straggler_rate", "load"):
        np.testing.assert_allclose(own[name].to_numpy(), known[name].to_numpy(), rtol=1e-12)
    best = best_settings(table)
    assert f"copies {best['copies'].iloc[-1]:.0f}" in said
    runs = stragglersim.run(load(tmp_path / "out" / "winners.yaml"), engine="events").runs
    np.testing.assert_allclose(runs["makespan_s"], best["makespan_s"], rtol=1e-12)


def test_installed_schemes_are_searched_and_advised_on_like_others(their_schemes, trace, monkeypatch, capsys):
    assert Search(rules=(FirstEnough(),)).classes()[: len(SHIPPED)] == SHIPPED
    assert cli(monkeypatch, "advise", trace, "--seconds-per-load", 1.5, "--jobs", 10, "--max-delay", 0) == 0
    assert "Copies" in capsys.readouterr().out
    assert cli(monkeypatch, "tune", trace, "--seconds-per-load", 1.5, "--schemes", "magic") == 2
    assert f"must be among {', '.join(KINDS)}, copies, got magic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("their_schemes:Faulty", "cannot be searched: a plug-in raised KeyError: 'x' (their_schemes.py:"),
        ("gradient_coding,their_schemes:Twin", "must have different labels, got GC for GradientCoding and Twin"),
        ("schemes:FastestK", "--schemes: must be among uncoded, gradient_coding,"),
    ],
)
def test_a_mistake_in_settings_is_one_line(kinds, message, their_schemes, trace, monkeypatch, capsys):
    assert cli(monkeypatch, "tune", trace, "--seconds-per-load", 1.5, "--schemes", kinds) == 2
    complaint = capsys.readouterr().err.strip().splitlines()
    assert message in complaint[-1]


def test_labels_have_the_same_looks_in_every_search():
    expected = ["uncoded", "GC", "GC-Rep", "SR-SGC", "SR-SGC-Rep", "M-SGC", "repetition only", "M-SGC-Rep"]
    expected += ["partial GC", LAST_COPIES]
    assert shipped_labels() == expected
    assert list(looks_among(TABLE)) == ["uncoded", "GC", "repetition only"]
    assert looks_among(TABLE)["GC"] == looks_of(expected)["GC"]
    assert "mine" in looks_among(TABLE.assign(scheme="mine"))


def test_a_subclass_is_not_searched_by_the_rule_of_its_parent():
    class Careful(GradientCoding):
        def allowance(self):
            return at_most(0, self.n_workers)

    measured_s = np.random.default_rng(0).lognormal(0, 0.5, (3, 6))
    group = Group(Careful(6, s=2), (2,))
    [row] = evaluate(WorkerTimes(measured_s), 6, 3, [group], [FirstEnough()]).to_dict("records")
    assert row["makespan_s"] == pytest.approx(measured_s.max(axis=1).sum())


def test_the_load_that_times_were_measured_at_is_told_where_it_was_not_given(trace, monkeypatch, capsys):
    options = ("--seconds-per-load", 1, "--schemes", "uncoded", "--out", trace.parent / "found")
    assert cli(monkeypatch, "tune", trace, *options) == 0
    said = capsys.readouterr()
    assert "taken as measured at load 0, so that uncoded work takes S/n = 0.125 s longer than measured;" in said.err
    assert "mine.csv (measured at load 0, as --base-load was not given), 1 s for load 1" in said.out
    assert cli(monkeypatch, "tune", trace, *options, "--base-load", 0) == 0
    said = capsys.readouterr()
    assert "--base-load" not in said.out + said.err
    assert "mine.csv (measured at load 0), 1 s for load 1" in said.out


def test_progress_is_a_share_of_all_and_warnings_come_after_it(trace, monkeypatch, capsys):
    """Parts of a search have different numbers of settings, which nobody needs."""
    for command in ("tune", "advise"):
        options = ("--seconds-per-load", 1, "--max-delay", 0, "--rules", "first_enough")
        assert cli(monkeypatch, command, trace, *options) == 0
        *lines, warning = [line for line in capsys.readouterr().err.splitlines() if not line.endswith("...")]
        assert "mine.csv: without --base-load" in warning
        shares = [line.rpartition(": ")[2] for line in lines if line.startswith(f"Trying settings on {trace.name}")]
        assert shares == sorted(shares, key=lambda share: int(share.removesuffix(" %")))
        assert shares[-1] == "100 %"
        assert len(lines) == len(set(lines))
