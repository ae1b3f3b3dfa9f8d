"""Measured times at other loads: what load adds, what it multiplies, and what the data say of it."""

import numpy as np
import pandas as pd
import pytest

import stragglersim
from simulator.fitting.fit import fit_models
from simulator.traces.files import read_times
from simulator.traces.loads import curve, predictions
from simulator.tuning.trace import AdjustedTrace, SearchError
from straggler_models import GilbertElliott, Trace
from straggler_models.trace_file import at_any_load, read_trace_file
from stragglersim import load

MEASURED_S = np.array([[1.0, 2.0, 6.0], [2.0, 3.0, 2.0]])  # median 2 s, at load 1/2
FACTORS = np.array([[1.0, 1.0, 2.0], [1.0, 1.5, 1.0]])
AT_LOAD_1 = {  # with S = 3: 0.5 s and 3 s for load 1 are usual
    "additive": MEASURED_S + 1.5,
    "proportional": MEASURED_S * 1.75,  # 3.5 s over 2 s
    "fitted": MEASURED_S + 1.5 * FACTORS,
}
EFFECTS = tuple(AT_LOAD_1)


def written(path, measured_s=MEASURED_S, **columns):
    rounds, workers = np.divmod(np.arange(measured_s.size), measured_s.shape[1])
    grids = {"duration_s": measured_s} | columns
    table = pd.DataFrame({"round": rounds, "worker": workers} | {name: of.ravel() for name, of in grids.items()})
    table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


def at(times, load_):
    return times.slowdown * (times.startup_s + times.seconds_per_load * load_)


@pytest.mark.parametrize("effect", EFFECTS)
def test_times_at_other_loads_by_hand(effect, tmp_path):
    path = written(tmp_path / "it.parquet", slowdown=FACTORS)
    model = Trace(path=str(path), base_load=0.5, seconds_per_load=3.0, load_effect=effect)
    [times] = model.rounds(3, np.random.default_rng(0))
    np.testing.assert_allclose(at(times, 0.5), MEASURED_S, rtol=1e-15)
    np.testing.assert_allclose(at(times, 1.0), AT_LOAD_1[effect], rtol=1e-15)
    np.testing.assert_allclose(at(next(model.rounds(2, np.random.default_rng(0))), 1.0), AT_LOAD_1[effect][:, :2])
    adjusted, n_workers = AdjustedTrace(path, 0.5, 3.0, effect).times()
    assert n_workers == 3
    np.testing.assert_array_equal(at(adjusted, 1.0), at(times, 1.0))


def test_without_seconds_per_load_all_of_the_usual_time_is_work(tmp_path):
    path = written(tmp_path / "it.csv")
    proportional = AdjustedTrace(path, 0.5)
    np.testing.assert_allclose(at(proportional.times()[0], 1.0), 2 * MEASURED_S)
    np.testing.assert_array_equal(at(proportional.times()[0], 0.0), 0 * MEASURED_S)
    np.testing.assert_allclose(at(AdjustedTrace(path, 0.5, None, "additive").times()[0], 1.0), MEASURED_S + 2)  # 4 / 2
    np.testing.assert_allclose(at(AdjustedTrace(path).times()[0], 1.0), 3 * MEASURED_S)  # at load 1/3
    assert AdjustedTrace(path, 0.5, 1.0).effect == "additive"
    [said] = [line for line in proportional.measured.remarks if "without --seconds-per-load" in line]
    assert "all of the median time (2 s at load 0.5) is taken for work, load effect proportional" in said
    assert not [line for line in AdjustedTrace(path, 0.5, 1.0).measured.remarks if "seconds-per-load" in line]


def test_the_median_is_of_all_finite_times_of_the_file(tmp_path):
    path = written(tmp_path / "it.parquet", np.array([[1.0, 2.0, np.inf], [2.0, 9.0, 9.0]]))
    [times] = Trace(path=str(path), base_load=1.0, load_effect="proportional").rounds(2, np.random.default_rng(0))
    np.testing.assert_array_equal(times.slowdown, [[0.5, 1.0], [1.0, 4.5]])
    assert Trace(path=str(path), base_load=1.0, load_effect="proportional").may_never_answer


@pytest.mark.parametrize(
    ("measured_s", "given", "said"),
    [
        (MEASURED_S, {"load_effect": "fitted", "seconds_per_load": 1.0}, "writes model.parquet, which has it"),
        (MEASURED_S, {"load_effect": "proportional"}, "t.base_load: must be above 0 for load_effect: proportional"),
        (MEASURED_S, {"load_effect": "proportional", "seconds_per_load": 5.0, "base_load": 0.5}, "must be at most 4 "),
        (np.zeros((2, 3)), {"load_effect": "proportional", "base_load": 0.5}, "for a median time of 0 s"),
        (np.full((2, 3), np.inf), {"load_effect": "proportional", "base_load": 0.5}, "for a median time of inf s"),
    ],
)
def test_an_effect_that_cannot_be_had_is_one_line(cli, tmp_path, measured_s, given, said):
    written(tmp_path / "it.parquet", measured_s)
    more = "".join(f", {name}: {value}" for name, value in given.items())
    (tmp_path / "it.yaml").write_text(
        f"workers: 3\njobs: 2\nstragglers: {{t: {{kind: trace, path: it.parquet{more}}}}}\n"
        "master: {kind: first_enough}\nschemes: {u: {kind: uncoded}}\n"
    )
    status, _, error = cli("validate", "it.yaml")
    assert status == 2
    assert said in error
    assert error.count("\n") == 1


def test_a_trace_of_components_takes_no_effect(tmp_path):
    path = written(tmp_path / "it.parquet").rename(tmp_path / "parts.parquet")
    pd.read_parquet(path).rename(columns={"duration_s": "startup_s"}).to_parquet(path)
    with pytest.raises(ValueError, match="load_effect must be left out for a file without duration_s"):
        Trace(path=str(path), load_effect="fitted").check(3, 2)
    with pytest.raises(SearchError, match="--load-effect must be left out"):
        AdjustedTrace(path, load_effect="additive").times()


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_slowdown_that_is_none_is_refused(value, tmp_path):
    factors = FACTORS.copy()
    factors[1, 0] = value
    path = written(tmp_path / "it.parquet", slowdown=factors)
    with pytest.raises(ValueError, match=r"slowdown.*in row 3 of"):
        read_trace_file(str(path))


def test_a_slowdown_that_is_no_number_is_refused(cli, tmp_path):
    table = pd.read_parquet(written(tmp_path / "it.parquet", slowdown=FACTORS)).astype({"slowdown": object})
    table.loc[3, "slowdown"] = "much"
    table.to_csv("it.csv", index=False)
    status, _, error = cli("trace", "info", "it.csv")
    assert status == 2
    assert "it.csv: slowdown must be numbers, got much" in error


def test_the_column_slowdown_is_kept_by_what_reads_and_converts(cli, tmp_path):
    written(tmp_path / "it.csv", slowdown=FACTORS)
    assert cli("trace", "convert", "it.csv", "--out", "kept.parquet", "--drop-first", "1")[0] == 0
    np.testing.assert_array_equal(read_trace_file("kept.parquet").components[2], FACTORS[1:])
    np.testing.assert_array_equal(read_times(tmp_path / "kept.parquet").slowdown, FACTORS[1:])
    other = at_any_load(MEASURED_S, 0.5, 3.0, "additive", FACTORS)
    np.testing.assert_array_equal(at(other, 1.0), AT_LOAD_1["additive"])  # ignores it


@pytest.mark.parametrize("given", [(0.5, 3.0, effect) for effect in EFFECTS] + [(None, None, "additive"), (None,)])
@pytest.mark.parametrize("name", ["it.parquet", "steps.csv"])
def test_scenarios_replay_the_same_on_both_engines(given, name, tmp_path):
    measured_s = MEASURED_S + np.arange(6).reshape(2, 3) / 8  # no ties
    path = written(tmp_path / name, measured_s, slowdown=FACTORS)
    options = {}
    if name == "steps.csv":  # others' names: a file has to be written
        path.write_text(path.read_text().replace("round", "step"))
        options = {"columns": "round=step"}
    trace = AdjustedTrace(path, *given, **({"options": options} if options else {}))
    trace.write_into(tmp_path)
    assert (tmp_path / "trace.parquet").exists() == (name == "steps.csv")
    schemes = {"u": {"kind": "uncoded"}, "m": {"kind": "multiplexed", "B": 1, "W": 2, "lam": 1}}
    scenario = {"workers": 3, "jobs": 5, "stragglers": {"t": trace.model_in(tmp_path)}, "schemes": schemes}
    from simulator.scenario.yaml_text import write_yaml

    write_yaml({**scenario, "master": {"kind": "first_enough"}}, tmp_path / "s.yaml")
    loaded = load(tmp_path / "s.yaml")
    [rounds] = [next(model.rounds(3, np.random.default_rng(0))) for model in loaded.stragglers.values()]
    times, _ = trace.times()
    for one in (0.0, 1 / 3, 1.0):
        np.testing.assert_array_equal(at(rounds, one), at(times, one))
    events, arrays = (stragglersim.run(loaded, engine=engine) for engine in ("events", "vectorised"))
    np.testing.assert_allclose(events.rounds["duration_s"], arrays.rounds["duration_s"], rtol=1e-12)
    uncoded_s = events.rounds[events.rounds["scheme"] == "u"]["duration_s"].to_numpy()
    np.testing.assert_allclose(uncoded_s, [at(times, 1 / 3)[index % 2].max() for index in range(5)])


def test_alternatives_are_the_same_trace_under_the_other_effects(tmp_path):
    path = written(tmp_path / "it.parquet", slowdown=FACTORS)
    [additive] = AdjustedTrace(path, 0.5).alternatives()
    assert (additive.effect, additive.seconds_per_load, additive.base_load) == ("additive", 4.0, 0.5)
    [proportional] = AdjustedTrace(path, 0.5, 0.0).alternatives()
    assert (proportional.effect, proportional.seconds_per_load) == ("proportional", 0.0)
    both = AdjustedTrace(path, 0.5, 3.0, "fitted").alternatives()
    assert [one.effect for one in both] == ["additive", "proportional"]
    for one in AdjustedTrace(path, 0.5, 3.0, "fitted").alternatives():
        np.testing.assert_allclose(at(one.times()[0], 1.0), AT_LOAD_1[one.effect])


def test_negative_times_are_refused_with_what_to_do(cli, tmp_path):
    written(tmp_path / "it.csv")
    status, _, error = cli("tune", "it.csv", "--base-load", "1", "--seconds-per-load", "2", "--jobs", "4")
    assert status == 2
    assert "--load-effect proportional" in error
    arguments = ("--base-load", "1", "--seconds-per-load", "2", "--jobs", "4", "--max-delay", "1")
    assert cli("tune", "it.csv", *arguments, "--load-effect", "proportional")[0] == 0


def test_tune_says_whether_the_choice_depends_on_the_effect(cli, tmp_path):
    """GC-Rep (s 2) waits for the first of a round, at load 1; uncoded work for the last, at load 1/3."""
    written(tmp_path / "it.csv", np.array([[1.0, 1.0, 3.0], [1.0, 1.0, 3.0]]))
    arguments = ("--schemes", "uncoded,fractional_repetition", "--jobs", "4", "--rules", "first_enough")
    given = ("--base-load", "0.25")
    _, said, _ = cli("tune", "it.csv", *arguments, *given, "--seconds-per-load", "1")
    [line] = [line for line in said.splitlines() if line.startswith("Load effect")]  # 4 x 1.75 against 4 x 3.25
    assert line == "Load effect proportional in place of additive: GC-Rep (s 2) is the best, 7.00 s; the same choice."
    _, said, _ = cli("tune", "it.csv", *arguments, *given, "--seconds-per-load", "3.2")  # 3.4 against 3.267, or 3.8
    [line] = [line for line in said.splitlines() if line.startswith("Load effect")]
    assert line == (
        "Load effect proportional in place of additive: GC-Rep (s 2) is the best, 13.60 s; the choice depends on it: "
        "uncoded (no parameters) loses 11.8 % there, GC-Rep (s 2) 4.1 % under additive."
    )
    given = ("--base-load", "1", "--seconds-per-load", "1.9", "--load-effect", "proportional")
    written(tmp_path / "it.csv", np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 3.0]]))
    status, said, _ = cli("tune", "it.csv", *arguments, *given)
    assert status == 0
    assert "\nLoad effect additive in place of proportional was not tried: it.csv: completion times must be" in said
    assert not [line for line in cli("tune", "it.csv", *arguments)[1].splitlines() if "was not tried" in line]


def test_times_that_change_places_are_searched_on_arrays(tmp_path):
    """With the slowdowns of a fit, worker 2 is faster at load 0 and slower at load 1."""
    path = written(tmp_path / "it.parquet", np.array([[1.0, 1.4, 1.5], [2.0, 3.0, 2.5]]), slowdown=FACTORS)
    from simulator.engine.master_rules import FirstEnough
    from simulator.tuning.check import largest_difference
    from simulator.tuning.search import Search, search_trace

    search = Search(rules=(FirstEnough(),), n_jobs=5, max_delay=2)
    trace = AdjustedTrace(path, 0.5, 0.5, "fitted")
    found = search_trace(trace, search)
    assert len(found) > 20
    assert largest_difference(found, trace, search) < 1e-12


LOADS = (0.1, 0.25, 0.5, 1.0)


def synthetic(kind, seed, loads=LOADS):
    """Work of 0.5 s + 3 s for load 1; now and then a burst multiplies it, or jitter is added."""
    rng = np.random.default_rng(seed)
    for load_ in loads:
        usual_s = (0.5 + 3 * load_) * np.exp(rng.normal(0, 0.03, (80, 12)))
        is_slow = rng.random(usual_s.shape) < 0.15
        if kind == "proportional":
            yield usual_s * np.where(is_slow, rng.uniform(1.5, 3, usual_s.shape), 1)
        else:
            yield usual_s + is_slow * rng.uniform(0.5, 2, usual_s.shape)


@pytest.mark.parametrize("kind", ["additive", "proportional"])
def test_the_true_load_effect_is_found(kind):
    found = [predictions(list(synthetic(kind, seed)), LOADS).better for seed in range(20)]
    assert found.count(kind) >= 18
    assert {"additive", "proportional"} - set(found) == {"additive", "proportional"} - {kind}


def test_predictions_by_hand():
    """Usual 1, 2, 3 s at loads 0, 1, 2; the slowest takes 2 s more: 3, 4, 5 s, or 3, 6, 9 s in proportion."""
    traces = [np.tile([usual, usual, usual + 2.0], (4, 1)) for usual in (1.0, 2.0, 3.0)]
    found = predictions(traces, [0.0, 1.0, 2.0])
    assert found.additive == pytest.approx(0.0, abs=1e-12)
    assert predictions(traces[:2], [0.0, 1.0]) is None
    from_0_to_1 = abs(np.log(3 * 2 / 4))
    from_2_to_1 = abs(np.log(5 * (2 / 3) / 4))
    from_1_to_0, from_2_to_0 = abs(np.log(4 / 2 / 3)), abs(np.log(5 / 3 / 3))
    from_0_to_2, from_1_to_2 = abs(np.log(3 * 3 / 5)), abs(np.log(4 * 1.5 / 5))
    each = [(from_0_to_1 + from_2_to_1) / 2, (from_1_to_0 + from_2_to_0) / 2, (from_0_to_2 + from_1_to_2) / 2]
    assert found.proportional == pytest.approx(np.mean(each))


def test_a_curve_is_asked_for_where_times_bend_and_not_where_they_do_not():
    bent = [np.exp(np.random.default_rng(seed).normal(0, 0.03, (80, 12))) for seed in range(6)]
    loads = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    found = curve([load_**1.2 * 60 * noise for load_, noise in zip(loads, bent, strict=True)], loads)
    assert found.is_bent
    assert found.power == pytest.approx(1.2, abs=0.01)
    assert np.abs(found.quadratic_miss).max() < 0.02
    assert found.usable_s == found.most_s < found.slopes_s[0]
    straight = [curve(list(synthetic("additive", seed)), LOADS) for seed in range(40)]
    assert sum(one.is_bent or one.is_off for one in straight) <= 2


def test_info_warns_of_a_line_that_is_none_and_proposes_what_can_be_used(cli, tmp_path):
    loads = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, (12, 4)))
    files = [written(tmp_path / f"l{load_}.parquet", 64 * load_**1.2 * noise).name for load_ in loads]
    given = ("--base-load", ",".join(map(str, loads)))
    status, said, warned = cli("trace", "info", *files, *given, "--out", "out")
    assert status == 0
    assert "grows about as load^1.2" in said
    assert (
        "In a scenario: of the trace at load 0.1, with base_load: 0.1, load_effect: proportional, no seconds_per"
        in said
    )
    assert "times are no line in load" in warned
    assert "load_effect: additive would give negative times at small loads; use proportional" in warned
    row = pd.read_csv("out/load_slope.csv").iloc[0]
    assert row["is_bent"]
    assert row["line_miss"] > 0.3 > 0.02 > row["quadratic_miss"]
    assert "quadratic through the medians" in (tmp_path / "out" / "load_slope.svg").read_text()
    arguments = ("--base-load", "0.1", "--schemes", "uncoded,multiplexed", "--jobs", "6")
    assert cli("advise", files[0], *arguments, "--load-effect", "proportional")[0] == 0
    _, said, warned = cli(
        "trace", "info", files[0], files[2], files[5], "--base-load", "0.1,0.4,1"
    )  # three do not tell
    assert "grows" not in said
    assert "a line contradicts these times (they bend, or conditions differed)" in warned
    _, said, warned = cli("trace", "info", *files[:2], "--base-load", "0.1,0.2")
    assert "check of fit" not in said + warned


def test_info_says_which_effect_predicts_better(cli, tmp_path):
    files = [
        written(tmp_path / f"l{load_}.parquet", duration_s).name
        for load_, duration_s in zip(LOADS, synthetic("proportional", 3), strict=True)
    ]
    _, said, warned = cli("trace", "info", *files, "--base-load", ",".join(map(str, LOADS)))
    assert "load effect       proportional predicts the other loads better: additive misses slow workers by" in said
    assert ", load_effect: proportional\n" in said
    assert "no line" not in warned


def test_a_time_that_is_missing_has_no_slowdown(cli, tmp_path):
    pd.read_csv(written(tmp_path / "it.csv", slowdown=FACTORS)).drop(index=2).to_csv("it.csv", index=False)
    assert cli("trace", "convert", "it.csv", "--missing", "inf", "--out", "it.parquet")[0] == 0
    np.testing.assert_array_equal(read_trace_file("it.parquet").components[2], [[1.0, 1.0, 1.0], FACTORS[1]])


def mean_round_s(times_s, s):
    """Of GC, whose rounds end when s responses are missing."""
    return np.sort(times_s, axis=1)[:, times_s.shape[1] - 1 - s].mean()


@pytest.mark.parametrize(("what", "s"), [("bursts multiply", 1), ("jitter adds", 3)])
def test_fitted_is_right_where_bursts_multiply_work_and_where_jitter_adds(what, s, tmp_path):
    """At load 1/8, of 0.1 s and 8 s for load 1; GC at load (s + 1)/8 is replayed, against the times there."""
    n, rng = 8, np.random.default_rng(11)
    adds, slow = np.zeros((60, n)), np.ones((60, n))
    if what == "bursts multiply":
        slow = next(GilbertElliott(p_slow=0.05, p_recover=0.3, slowdown=5.0).rounds(n, rng)).slowdown[:60]
        noise = rng.lognormal(0, 0.03, (60, n))
    else:
        adds, noise = rng.exponential(0.6, (60, n)), np.ones((60, n))

    def times_s(load_):
        return slow * noise * (0.1 + 8 * load_) + adds

    path = written(tmp_path / "it.parquet", times_s(1 / n))
    off = {}
    for effect in EFFECTS:
        found = fit_models(times_s(1 / n)).slowdowns
        per_load_s = 8.0 if effect != "proportional" else None
        times, _ = AdjustedTrace(path, 1 / n, per_load_s, effect, slowdown=found).times()
        off[effect] = abs(mean_round_s(at(times, (s + 1) / n), s) / mean_round_s(times_s((s + 1) / n), s) - 1)
    wrong = "additive" if what == "bursts multiply" else "proportional"
    assert off["fitted"] < 0.02
    assert off[wrong] > 0.08
