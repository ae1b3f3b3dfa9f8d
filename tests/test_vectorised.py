"""The vectorised engine against the events engine: every number of every run, in random scenarios."""

import dataclasses
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import examples
import stragglersim
from schemes import (
    ApproximateScheme,
    CommunicationEfficientGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    HeterogeneousGradientCoding,
    Ideal,
    KBatchSync,
    Multiplexed,
    NestedGradientCoding,
    PartialGradientCoding,
    SelectiveRepeat,
    ToDoList,
    Uncoded,
)
from schemes.assignment import BernoulliAssignment, Cyclic
from schemes.ordering import RandomOrdering
from simulator.engine.arrays import rows as array_rows
from simulator.engine.figures import Runs
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.record import RunRecord
from simulator.engine.worker_times import DrawnTimes
from simulator.execution import side_by_side
from simulator.execution.one_run import run_one
from simulator.execution.side_by_side import Drawer, Trials, run_side_by_side, why_not
from simulator.execution.sweep import run_into
from simulator.tuning.evaluate import on_arrays
from straggler_models import (
    Constant,
    GilbertElliott,
    MarkovSpeed,
    ShiftedExponential,
    StragglerModel,
    Trace,
    WorkerTimes,
)
from stragglersim import Network


class Backwards(StragglerModel):
    is_random = False

    def rounds(self, n_workers, rng):
        while True:
            yield WorkerTimes(startup_s=np.full((1, n_workers), -2.0))


def divisors(n):
    return [k for k in range(1, n + 1) if n % k == 0]


@st.composite
def schemes(draw):
    n = draw(st.integers(2, 6))
    kind = draw(
        st.sampled_from(["memoryless", "unequal", "approximate", "partial", "to do", "renewed", "SR", "M", "M"])
    )
    if kind == "memoryless":
        s = draw(st.integers(0, n - 1))
        group = draw(st.sampled_from(divisors(n)))
        options = [Uncoded(n), GradientCoding(n, s=s), FractionalRepetition(n, s=group - 1), Ideal(n)]
        return draw(st.sampled_from([*options, FastestK(n, k=draw(st.integers(1, n)))]))
    if kind == "unequal":  # in load, in the size of messages, in what is needed
        s = draw(st.integers(0, n - 1))
        speeds = draw(st.lists(st.sampled_from([0.2, 1.0, 3.0]), min_size=n, max_size=n))
        own = HeterogeneousGradientCoding(n, speeds=speeds, s=s)
        parts = CommunicationEfficientGradientCoding(n, s=s, m=draw(st.integers(1, n - s)))
        return draw(st.sampled_from([own, parts, NestedGradientCoding(n, s_max=s)]))
    if kind == "to do":
        r, k = draw(st.integers(1, n)), draw(st.integers(1, n))
        return ToDoList(n, r=r, k=k, order=draw(st.sampled_from(["cyclic", "staircase"])))
    if kind == "renewed":
        return KBatchSync(n, k=draw(st.integers(1, 3 * n)))
    if kind == "approximate":
        return draw(st.sampled_from([code for code in examples.SCHEMES if isinstance(code, ApproximateScheme)]))
    if kind == "partial":
        assignment = draw(st.sampled_from([Cyclic(draw(st.integers(1, n))), BernoulliAssignment(p=0.6)]))
        copies = min(assignment.matrix(n, np.random.default_rng([3, 0])).sum(axis=1))
        credit = draw(st.sampled_from(["prefix", "whole_list"]))
        blocks = draw(st.integers(1, copies))
        return PartialGradientCoding(
            n, assignment=assignment, ordering=RandomOrdering(), blocks=blocks, credit=credit, seed=3
        )
    published = draw(st.integers(0, 4)) == 0
    how = {"as_published": True} if published else {"accepts": draw(st.sampled_from(["pattern", "recoverable"]))}
    if kind == "SR":
        B = draw(st.integers(1, 3))
        W, lam = draw(st.integers(1, 2)) * B + 1, draw(st.integers(0, n - 1))
        s = math.ceil(lam * B / (W - 1 + B))
        if n % (s + 1) == 0:
            how["code"] = draw(st.sampled_from(["gradient_coding", "fractional_repetition"]))
        return SelectiveRepeat(n, B=B, W=W, lam=lam, **how)
    W = draw(st.integers(2, 5))
    lam = draw(st.integers(0, n))
    if lam < n and n % (lam + 1) == 0:
        how["code"] = draw(st.sampled_from(["gradient_coding", "fractional_repetition"]))
    if not published:
        how["credit"] = draw(st.sampled_from(["prefix", "whole_list"]))
    return Multiplexed(n, B=draw(st.integers(1, W - 1)), W=W, lam=lam, **how)


@st.composite
def rules(draw, needs_timeout):
    rest = {
        "timeout_s": draw(st.sampled_from([1.3, 2.7, 9.1] if needs_timeout else [None, None, 1.3, 9.1])),
        "poll_s": draw(st.sampled_from([None, None, 0.7])),
    }
    wait_for = draw(st.sampled_from(["all", "enough", "nobody"]))
    mu = draw(st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    return draw(
        st.sampled_from(
            [
                FirstEnough(**rest),
                MuRule(mu=mu, reference=draw(st.sampled_from(["first", "median"])), wait_for=wait_for, **rest),
                FixedTime(time_s=draw(st.sampled_from([0.3, 1.1, 2.5])), wait_for=wait_for, **rest),
            ]
        )
    )


TRACE_FILE = Path(tempfile.mkdtemp()) / "times.csv"
TRACE_FILE.write_text(
    "round,worker,duration_s\n" + "".join(f"{r},{w},{1 + (5 * r + 3 * w) % 7}\n" for r in range(9) for w in range(8))
)
IN_ROUNDS = [model for model in examples.MODELS if model.lives_in == "rounds"]
ADDED = [model for model in IN_ROUNDS if isinstance(model, Constant) or hasattr(model, "adds_to")]
USUAL = [*ADDED, Trace(path=str(TRACE_FILE), mode="bootstrap", block_rounds=2)]
UNUSUAL = [model for model in IN_ROUNDS if model not in ADDED]


@st.composite
def scenarios(draw):
    scheme = draw(schemes())
    models = {"usual": draw(st.sampled_from(USUAL))}
    if draw(st.booleans()):
        models["unusual"] = draw(st.sampled_from(UNUSUAL))
    never = any(model.may_never_answer for model in models.values())
    rule = draw(rules(needs_timeout=never))
    if isinstance(scheme, KBatchSync):  # with it, work would begin later than the response comes
        rule = dataclasses.replace(rule, poll_s=None)
    n_jobs = draw(st.integers(1, 12))
    return {
        "workers": scheme.n_workers,
        "jobs": n_jobs,
        "probe": draw(st.sampled_from([0, n_jobs // 2])),
        "trials": 3,
        "seed": draw(st.integers(0, 1000)),
        "stragglers": models,
        "master": rule,
        "round_overhead_s": draw(st.sampled_from([0.0, 0.25])),
        "network": Network(gradient_bytes=draw(st.sampled_from([0.0, 8.0]))),
        "schemes": {"it": scheme},
    }


def both(scenario):
    """The runs of a scenario, on events and on arrays."""
    records = []
    for trial in range(scenario.trials):
        record = RunRecord(scenario.workers, scenario.jobs)
        run_one(scenario, "it", trial, record)
        records.append(record)
    assert why_not(scenario, "it") is None
    runs = [Trials(scenario, "it", range(scenario.trials))]
    return Runs.of(records), run_side_by_side(runs, Drawer(runs))


def assert_equal(expected, found):
    for field in dataclasses.fields(Runs):
        told, got = getattr(expected, field.name), getattr(found, field.name)
        if np.asarray(told).dtype.kind == "f":
            np.testing.assert_allclose(got, told, rtol=1e-9, atol=1e-9, err_msg=field.name)
        else:
            np.testing.assert_array_equal(got, told, err_msg=field.name)


@settings(max_examples=150, deadline=None)
@given(given_=scenarios())
def test_both_engines_give_the_same_numbers(given_):
    try:
        scenario = stragglersim.Scenario(**given_)
    except stragglersim.ScenarioError:  # e.g. an estimate of whole lists in blocks
        return
    assert_equal(*both(scenario))


@pytest.mark.parametrize(
    "scheme", [one for one in examples.SCHEMES if one.batches(1, [one]) and not one.hears_late], ids=repr
)
def test_both_engines_give_the_same_numbers_under_every_rule(scheme):
    for rule in examples.RULES:
        if (rule.waits_for == "nobody" and scheme.needs_enough) or (rule.poll_s and scheme.begins_anew):
            continue
        scenario = stragglersim.Scenario(
            workers=scheme.n_workers,
            jobs=12,
            trials=3,
            stragglers={
                "usual": ShiftedExponential(shift=0.2, mean=0.5, adds_to="startup_s"),
                "work": Constant(seconds_per_load=2.0),
                "bursts": GilbertElliott(p_slow=0.2, p_recover=0.5, slowdown=4.0),
            },
            master=rule,
            schemes={"it": scheme},
        )
        assert_equal(*both(scenario))


class Endless(StragglerModel):
    """Some workers take for ever: to start, or for their work."""

    is_random = False

    def __init__(self, part, share):
        vars(self).update(part=part, share=share)

    @property
    def may_never_answer(self):
        return True

    def rounds(self, n_workers, rng):
        never = np.arange(n_workers) < self.share * n_workers
        while True:
            yield WorkerTimes(**{self.part: np.where(never, math.inf, 1.0)[np.newaxis]})


@pytest.mark.parametrize("part", WorkerTimes._fields)
@pytest.mark.parametrize(("share", "duration_s"), [(0.0, 1.25), (0.5, 1.5), (0.75, 2.0), (1.0, 3.0)])
def test_who_never_answers_does_nothing_of_the_ideal_work(part, share, duration_s):
    usual = {"startup_s": 1.0, "seconds_per_load": 1.0} | ({part: 0.0} if part != "slowdown" else {})
    scenario = stragglersim.Scenario(
        workers=4,
        jobs=2,
        trials=1,
        stragglers={"usual": Constant(**usual), "odd": Endless(part, share)},
        master=FirstEnough(timeout_s=3.0),
        schemes={"it": Ideal(4)},
    )
    expected, found = both(scenario)
    assert_equal(expected, found)
    assert found.duration_s.tolist() == [[duration_s] * 2]
    assert found.stragglers.tolist() == [[4 if share == 1 else 0] * 2]
    assert found.load_done == pytest.approx([0.0 if share == 1 else 2.0])


@pytest.mark.parametrize(
    "scheme",
    [
        SelectiveRepeat(8, B=1, W=2, lam=3, as_published=True),
        SelectiveRepeat(8, B=2, W=5, lam=4, as_published=True),
        SelectiveRepeat(8, B=2, W=3, lam=4),
        Multiplexed(8, B=1, W=3, lam=3, as_published=True),
        Multiplexed(8, B=2, W=4, lam=3),
        Multiplexed(8, B=2, W=3, lam=3, code="fractional_repetition", accepts="recoverable", credit="prefix"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("wait_for", ["all", "enough"])
def test_both_engines_give_the_same_numbers_in_long_runs(scheme, wait_for):
    scenario = stragglersim.Scenario(
        workers=8,
        jobs=80,
        trials=4,
        stragglers={
            "usual": ShiftedExponential(shift=0.2, mean=1.0, adds_to="startup_s"),
            "bursts": GilbertElliott(p_slow=0.1, p_recover=0.5, slowdown=4.0),
        },
        master=MuRule(mu=1.0, wait_for=wait_for),
        schemes={"it": scheme},
    )
    assert_equal(*both(scenario))


def test_the_runs_table_says_which_engine_ran():
    scenario = stragglersim.Scenario(
        workers=4,
        jobs=5,
        trials=3,
        stragglers={"usual": ShiftedExponential(shift=1.0, mean=0.2, adds_to="startup_s")},
        schemes={"GC": GradientCoding(4, s=1), "M-SGC": Multiplexed(4, B=1, W=2, lam=1)},
    )
    runs = {engine: stragglersim.run(scenario, engine=engine).runs for engine in ("events", "vectorised", "auto")}
    assert set(runs["auto"]["engine"]) == set(runs["vectorised"]["engine"]) == {"vectorised"}
    pd.testing.assert_frame_equal(
        runs["auto"].drop(columns="engine"), runs["events"].drop(columns="engine"), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("engine", ["auto", "vectorised"])
@pytest.mark.parametrize(("trials", "ran"), [(1, "vectorised"), (3, "events")])
def test_where_the_array_form_fails_the_runs_table_says_events(engine, trials, ran):
    usual = {"usual": ShiftedExponential(shift=1.0, mean=0.2, adds_to="startup_s")}
    schemes = {"own": examples.OneRunOnly(4), "shipped": Uncoded(4)}
    scenario = stragglersim.Scenario(workers=4, jobs=5, trials=trials, stragglers=usual, schemes=schemes)
    runs = stragglersim.run(scenario, engine=engine).runs.groupby("scheme")["engine"].unique()
    assert runs["own"].tolist() == [ran]
    assert runs["shipped"].tolist() == ["vectorised"]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"leftover": "finish"}, "workers finish what is left over"),
        ({"network": Network(latency_s=0.1)}, "messages share a network"),
        (
            {"stragglers": {"usual": Constant(startup_s=1.0), "speed": MarkovSpeed(states=examples.TWO_STATES)}},
            "a straggler model lives in seconds",
        ),
    ],
)
def test_what_needs_events_says_why(how, reason):
    given_ = {"workers": 4, "jobs": 5, "stragglers": {"usual": Constant(startup_s=1.0)}, "schemes": {"U": Uncoded(4)}}
    scenario = stragglersim.Scenario(**given_ | how)
    assert set(stragglersim.run(scenario, engine="auto").runs["engine"]) == {"events"}
    with pytest.raises(stragglersim.SimulationError, match=f"schemes.U: needs --engine events .*: {reason}"):
        stragglersim.run(scenario, engine="vectorised")


@pytest.mark.parametrize("engine", ["events", "auto"])
def test_errors_of_a_run_are_the_same(engine):
    scenario = stragglersim.Scenario(
        workers=2,
        jobs=3,
        stragglers={"usual": Constant(startup_s=1.0), "odd": Backwards()},
        schemes={"U": Uncoded(2)},
    )
    with pytest.raises(stragglersim.SimulationError, match=r"schemes.U, trial 0: round 0, worker 0: completion times"):
        stragglersim.run(scenario, engine=engine)


@pytest.mark.parametrize("rule", [MuRule(mu=0.2, wait_for="enough"), MuRule(mu=0.2, timeout_s=2.0), FirstEnough()])
@pytest.mark.parametrize("accepts", ["pattern", "recoverable"])
@pytest.mark.parametrize(
    ("scheme", "values"),
    [
        (SelectiveRepeat(6, B=2, W=3, lam=1), range(6)),
        (SelectiveRepeat(6, B=1, W=2, lam=1, code="fractional_repetition"), range(5)),
        (Multiplexed(6, B=2, W=4, lam=1), range(7)),
        (Multiplexed(6, B=2, W=4, lam=1, credit="prefix"), range(7)),
        (Multiplexed(6, B=1, W=3, lam=1, code="fractional_repetition"), [0, 1, 2, 5, 6]),
    ],
    ids=repr,
)
def test_rows_may_differ_in_lam(scheme, values, accepts, rule):
    scheme, rng = dataclasses.replace(scheme, accepts=accepts), np.random.default_rng(5)
    times = DrawnTimes(*rng.lognormal(0, 0.6, (2, 1, 12 + scheme.delay_rounds, 6)), np.ones((1, 1, 1)))
    settings_ = [dataclasses.replace(scheme, lam=lam) for lam in values]
    together = on_arrays(settings_, times, 12, [rule] * len(settings_))
    for row, setting in enumerate(settings_):
        alone = on_arrays([setting], times, 12, [rule])
        for field in dataclasses.fields(Runs)[1:]:
            np.testing.assert_array_equal(getattr(together, field.name)[row], getattr(alone, field.name)[0])


def swept(scenarios):
    """One scenario whose points are these."""
    points = tuple(({"x": place}, scenario) for place, scenario in enumerate(scenarios))
    return dataclasses.replace(scenarios[0], points=points)


def tables(scenario, engine):
    results = stragglersim.run(scenario, engine=engine)
    return [results.runs, results.rounds, results.jobs]


def assert_close(expected, found):
    for told, got in zip(expected, found, strict=True):
        told, got = (table.drop(columns="engine", errors="ignore") for table in (told, got))
        pd.testing.assert_frame_equal(told, got, rtol=1e-9, atol=1e-9)


COUNTS = ("s", "k", "lam", "blocks", "B", "chunks_per_worker")


@st.composite
def points(draw):
    """Scenarios that differ in everything, though many have one structure."""
    first = draw(scenarios())
    scheme, rule = first["schemes"]["it"], first["master"]
    names = [field.name for field in dataclasses.fields(scheme) if field.name in COUNTS]
    found = []
    for _ in range(draw(st.integers(2, 5))):
        numbers = [name for name, value in vars(rule).items() if type(value) is float]
        changed = {name: draw(st.sampled_from([0.2, 0.9, 1.7, 4.0])) for name in numbers}
        point = first | {
            "trials": draw(st.sampled_from([1, 3])),
            "jobs": first["jobs"] + draw(st.sampled_from([0, 0, 0, 1])),
            "seed": draw(st.sampled_from([0, 1, 2**40])),
            "stragglers": first["stragglers"] | draw(st.sampled_from([{}, {"usual": draw(st.sampled_from(USUAL))}])),
            "master": dataclasses.replace(rule, **changed),
            "round_overhead_s": draw(st.sampled_from([0.0, 0.25])),
            "network": Network(gradient_bytes=draw(st.sampled_from([0.0, 8.0]))),
        }
        try:
            if names:
                value = draw(st.integers(0, scheme.n_workers))
                point["schemes"] = {"it": dataclasses.replace(scheme, **{draw(st.sampled_from(names)): value})}
            found.append(stragglersim.Scenario(**point))
        except (ValueError, stragglersim.ScenarioError):  # not all of this is legal together
            continue
    return found


@settings(max_examples=60, deadline=None)
@given(found=points(), sizes=st.lists(st.sampled_from([1, 7, 30, 600]), min_size=5, max_size=5))
def test_points_that_differ_in_everything_go_side_by_side_with_the_numbers_of_events(found, sizes):
    if not found:
        return
    together = tables(swept(found), "vectorised")
    assert_close(tables(swept(found), "events"), together)
    with pytest.MonkeyPatch.context() as patch:  # and how they are grouped changes no bit
        for name, size in zip(("CHUNK", "BLOCK"), sizes[:2], strict=True):
            patch.setattr(array_rows, name, size)
        for name, size in zip(("BLOCK", "ROUNDS", "FEWEST_ROWS"), sizes[2:], strict=True):
            patch.setattr(side_by_side, name, size)
        for table, same in zip(together, tables(swept(found[::-1]), "vectorised"), strict=True):
            same["point"] = len(found) - 1 - same["point"]
            if "x" in same:
                same["x"] = same["point"]
            same = same.sort_values("point", kind="stable", ignore_index=True)
            pd.testing.assert_frame_equal(table, same, check_exact=True)


DRAWN = {"usual": ShiftedExponential(shift=0.5, mean=1.0, adds_to="startup_s")}
AT_ONCE, LONG = FixedTime(time_s=1.2), MuRule(mu=1.0, wait_for="enough")


def of_schemes(schemes, rule=LONG):
    given_ = {"workers": schemes[0].n_workers, "jobs": 6, "trials": 4, "stragglers": DRAWN, "master": rule}
    return swept([stragglersim.Scenario(**given_, schemes={"it": scheme}) for scheme in schemes])


@pytest.mark.parametrize(
    ("schemes", "rule"),
    [
        ([examples.FromZero(6)], LONG),
        ([examples.OfEstimates(6)], AT_ONCE),
        ([examples.Patient(6, s=3)], LONG),
        ([examples.Delayed(6, T=0), examples.Delayed(6, T=2)], LONG),
    ],
    ids=["errors", "estimates", "session", "delay"],
)
def test_schemes_from_outside_have_the_numbers_of_events(schemes, rule):
    scenario = of_schemes(schemes, rule)
    found = tables(scenario, "auto")
    assert_close(tables(scenario, "events"), found)
    assert set(found[0]["engine"]) == {"events" if isinstance(schemes[0], examples.Patient) else "vectorised"}


def test_a_session_of_ones_own_has_no_array_form():
    with pytest.raises(stragglersim.SimulationError, match="Patient has a session of its own, and no array form of it"):
        tables(of_schemes([examples.Patient(6, s=3)]), "vectorised")


def test_load_that_was_lost_does_not_depend_on_the_longest_list_beside_it():
    scheme = Multiplexed(8, B=1, W=3, lam=5, credit="prefix")
    one = of_schemes([scheme], MuRule(mu=3.0, timeout_s=1.3))
    seeds = [dataclasses.replace(one, trials=1, points=(), seed=seed) for seed in range(30)]
    alone = [stragglersim.run(scenario, engine="vectorised").runs["computed_load"][0] for scenario in seeds]
    together = stragglersim.run(swept(seeds), engine="vectorised").runs["computed_load"]
    assert together.tolist() == alone


def test_a_point_that_fails_leaves_the_others_on_arrays(tmp_path):
    good, bad = of_schemes([Uncoded(4)]), {"usual": examples.Breaks()}
    scenario = swept([good, dataclasses.replace(good, points=(), stragglers=bad, jobs=7)])
    (tmp_path / "parts").mkdir()
    results, failures = run_into(tmp_path, scenario, engine="auto", executor="serial", keep_going=True)
    assert results.runs["engine"].tolist() == ["vectorised"] * 4
    assert [failure.unit.point for failure in failures] == [1]


@pytest.mark.parametrize("engine", ["events", "auto"])
def test_a_mistake_in_a_model_is_told_on_arrays_too(engine):
    good, bad = of_schemes([Uncoded(4)]), {"usual": examples.Breaks()}
    scenario = swept([good, dataclasses.replace(good, points=(), stragglers=bad)])
    with pytest.raises(stragglersim.SimulationError, match=r"at x = 1: schemes.it, trial 0: a plug-in raised KeyError"):
        stragglersim.run(scenario, engine=engine)
