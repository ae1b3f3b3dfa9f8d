"""Optional columns of a trace: host, waited_s and censored, and times at which workers were cancelled."""

import numpy as np
import pandas as pd
import pytest

import stragglersim
from schemes import FractionalRepetition, GradientCoding, Multiplexed, SelectiveRepeat, Uncoded
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.traces.files import read_times
from straggler_models import Bernoulli, ShiftedExponential, Trace
from straggler_models.trace_file import JUST_AFTER, read_trace_file
from stragglersim import Scenario

SCHEMES = {
    "gc": GradientCoding(8, s=2),
    "fractional": FractionalRepetition(8, s=1),
    "repeat": SelectiveRepeat(8, B=1, W=2, lam=3),
    "multiplexed": Multiplexed(8, B=1, W=2, lam=3),
}
RULES = {
    "first_enough": FirstEnough(),
    "mu enough": MuRule(mu=0.4, wait_for="enough"),
    "mu all": MuRule(mu=0.4, wait_for="all", timeout_s=3.0),
    "mu of the median": MuRule(mu=0.2, reference="median", wait_for="nobody"),
    "polled": FirstEnough(poll_s=0.07),
    "fixed": FixedTime(time_s=1.4, wait_for="enough"),
}
USUAL = {"usual": ShiftedExponential(0.9, 0.3, adds_to="startup_s"), "slow": Bernoulli(p=0.1, slowdown=3.0)}


def scenario(scheme, rule, stragglers, jobs=40, **more):
    return Scenario(workers=8, jobs=jobs, stragglers=stragglers, schemes={"it": scheme}, master=rule, **more)


def recorded(path, run):
    """Write what a master saw: who was cut off was cancelled when the round closed."""
    workers = run.workers.merge(run.rounds[["round", "duration_s"]], on="round")
    is_cut_off = np.isinf(workers["finished_s"])
    times_s = workers["finished_s"].where(~is_cut_off, workers["duration_s"]).fillna(1.0)  # 1: had no work
    frame = workers[["round", "worker"]].assign(duration_s=times_s, censored=is_cut_off)
    frame.to_parquet(path, index=False)
    return frame


@pytest.mark.parametrize("engine", ["events", "vectorised"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_replay_to_the_scheme_that_was_recorded_is_exact(tmp_path, scheme, rule, engine):
    first = stragglersim.run(scenario(SCHEMES[scheme], RULES[rule], USUAL), detail="workers")
    assert recorded(tmp_path / "it.parquet", first)["censored"].any()
    replay = {"it": Trace(str(tmp_path / "it.parquet"))}
    again = stragglersim.run(scenario(SCHEMES[scheme], RULES[rule], replay), detail="rounds", engine=engine)
    columns = ["round", "start_s", "duration_s", "stragglers", "waited_s"]
    pd.testing.assert_frame_equal(again.rounds[columns], first.rounds[columns], check_exact=True)
    assert again.runs["makespan_s"].tolist() == first.runs["makespan_s"].tolist()
    assert again.jobs["status"].tolist() == first.jobs["status"].tolist()


@pytest.mark.parametrize("rule", ["first_enough", "mu enough", "fixed"])
def test_it_is_also_if_times_are_adjusted_to_a_load_and_sums_are_rounded(tmp_path, rule):
    first = stragglersim.run(scenario(SCHEMES["gc"], RULES[rule], USUAL), detail="workers")
    recorded(tmp_path / "it.parquet", first)
    replay = {"it": Trace(str(tmp_path / "it.parquet"), base_load=SCHEMES["gc"].load, seconds_per_load=0.7)}
    again = stragglersim.run(scenario(SCHEMES["gc"], RULES[rule], replay), detail="workers")
    np.testing.assert_allclose(again.rounds["duration_s"], first.rounds["duration_s"], rtol=1e-12)
    assert again.workers["straggler"].tolist() == first.workers["straggler"].tolist()


def test_nobody_is_waited_for_in_vain(tmp_path):
    pd.DataFrame(
        {"round": 0, "worker": range(4), "duration_s": [1.0, 1.5, 2.0, 2.0], "censored": [False, False, False, True]}
    ).to_parquet(tmp_path / "it.parquet")
    model = Trace(str(tmp_path / "it.parquet"))
    assert not model.may_never_answer
    times = next(model.rounds(4, np.random.default_rng(0)))
    assert (times.startup_s * times.slowdown).tolist() == [[1.0, 1.5, 2.0, 2.0 * JUST_AFTER]]
    run = stragglersim.run(Scenario(workers=4, jobs=1, stragglers={"it": model}, schemes={"uncoded": Uncoded(4)}))
    assert run.runs["makespan_s"].tolist() == [2.0 * JUST_AFTER]


FRAME = pd.DataFrame(
    {
        "round": np.repeat(range(6), 3),
        "worker": np.tile(range(3), 6),
        "duration_s": [1.0, 2.0, 2.0, 1.5, 1.0, 1.5, 2.5, 3.0, 2.75, 1.0, 1.25, 1.125, 1.0, 4.0, 4.0, 2.0, 1.0, 3.0],
        "host": np.tile(["a", "a", "b"], 6),
        "waited_s": np.tile([1.0, 0.5, 0.0], 6),
        "censored": [False, False, True, *[False] * 11, True, *[False] * 3],
    }
)
YAML = """
workers: 3
jobs: 6
stragglers:
  it: {kind: trace, path: it.parquet}
schemes:
  all: {kind: uncoded}
  most: {kind: gradient_coding, s: 1}
"""


def test_run_and_validate_warn_of_other_schemes_than_the_one_that_was_recorded(cli, tmp_path):
    (tmp_path / "it.yaml").write_text(YAML)
    FRAME.to_parquet("it.parquet", index=False)
    for command in (("validate", "it.yaml"), ("run", "it.yaml", "--out", "out")):
        status, _, warned = cli(*command)
        assert status == 0
        lines = [line for line in warned.splitlines() if "censored" in line]
        assert lines == [
            "it.yaml: warning: stragglers.it: 11 % of the times are censored (the worker was cancelled then): lower "
            "bounds, with which all, most may look better than they are; exact only for the scheme that was recorded "
            "(the key scheme of its metadata says which)"
        ]
    for said, others in {"gradient_coding": "all", "most": "all", "other": "all, most", "uncoded": "most"}.items():
        FRAME.attrs = {"scheme": said}
        FRAME.to_parquet("it.parquet", index=False)
        (warned,) = [line for line in cli("validate", "it.yaml")[2].splitlines() if "censored" in line]
        assert f"lower bounds, with which {others} may look better" in warned
        assert warned.endswith(f"recorded ({said})")
        (tmp_path / "one.yaml").write_text(YAML.replace("  all: {kind: uncoded}\n", ""))
        assert ("censored" in cli("validate", "one.yaml")[2]) == ("most" in others)
    FRAME.attrs = {}
    FRAME.assign(censored=False).to_parquet("it.parquet", index=False)
    assert "censored" not in cli("validate", "it.yaml")[2]


def test_a_conversion_keeps_host_waited_and_censored_and_the_scheme_and_info_shows_them(cli, tmp_path):
    FRAME.attrs = {"scheme": "gradient_coding"}
    FRAME.to_parquet("it.parquet", index=False)
    FRAME.attrs = {}
    FRAME.to_csv("it.csv", index=False)
    assert cli("trace", "convert", "it.parquet", "--out", "out.parquet")[0] == 0
    assert cli("trace", "convert", "it.csv", "--unit", "ms", "--out", "ms.parquet")[0] == 0
    out, ms = pd.read_parquet("out.parquet"), pd.read_parquet("ms.parquet")
    for name in ("duration_s", "host", "waited_s", "censored"):
        assert out[name].tolist() == FRAME[name].tolist()
    assert (1000 * ms["waited_s"]).tolist() == pytest.approx(FRAME["waited_s"].tolist())
    assert ms["censored"].dtype == bool
    assert out.attrs["scheme"] == "gradient_coding"
    assert read_trace_file("out.parquet").scheme == "gradient_coding"
    for file in ("it.parquet", "it.csv", "out.parquet"):
        _, said, _ = cli("trace", "info", file)
        assert (
            "  censored    11.1 % of the times: the worker was cancelled then, its true time is at least this" in said
        )
        assert "  waited      20.2 % of all seconds, besides these times" in said
        assert "  hosts       2: a, b" in said
        trace = read_trace_file(str(tmp_path / file))
        assert trace.censored.sum() == 2
        assert trace.waited_s.sum() == 9.0
        assert trace.hosts == ("a", "b")
    FRAME[["round", "worker", "duration_s"]].to_csv("it.csv", index=False)
    _, said, _ = cli("trace", "info", "it.csv")
    assert not any(f"\n  {name} " in said for name in ("censored", "waited", "hosts"))


@pytest.mark.parametrize(
    ("how", "own", "waited"), [("sum", 3.0, 0.75), ("max", 2.0, 0.5), ("mean", 1.5, 0.375), ("last", 2.0, 0.5)]
)
def test_several_times_of_one_keep_what_belongs_to_them(cli, how, own, waited):
    rows = [(0, 0, 1.0, "a", 0.25, "true"), (0, 0, 2.0, "b", 0.5, "false"), (0, 1, 4.0, "c", 0.0, "false")]
    names = ["round", "worker", "duration_s", "host", "waited_s", "censored"]
    pd.DataFrame(rows, columns=names).to_csv("it.csv", index=False)
    assert cli("trace", "convert", "it.csv", "--aggregate", how, "--out", "out.parquet")[0] == 0
    out = pd.read_parquet("out.parquet")
    assert out.loc[0, ["duration_s", "waited_s", "censored", "host"]].tolist() == [own, waited, True, "b"]
    assert out.loc[1, ["duration_s", "waited_s", "censored", "host"]].tolist() == [4.0, 0.0, False, "c"]


def test_times_that_are_missing_have_the_host_of_their_worker_and_nothing_else(cli):
    FRAME.iloc[[0, 1, 2, 3, 5]].to_csv("it.csv", index=False)
    assert cli("trace", "convert", "it.csv", "--missing", "inf", "--out", "out.parquet")[0] == 0
    out = pd.read_parquet("out.parquet")
    assert out.loc[4, ["duration_s", "host", "waited_s", "censored"]].tolist() == [np.inf, "a", 0.0, False]
    assert cli("trace", "convert", "it.csv", "--missing", "drop", "--out", "one.parquet")[0] == 0
    assert pd.read_parquet("one.parquet")["censored"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("censored", "perhaps", "censored {is} true or false, got perhaps in row 3"),
        ("censored", "", "censored {is} true or false, got"),
        ("waited_s", "-1", "got -1"),
        ("waited_s", "long", "got long"),
        ("host", "", "host {is} given in each row, got nothing"),
    ],
)
def test_what_is_no_such_column_is_one_line(cli, tmp_path, column, value, said):
    frame = FRAME.astype(object)
    frame.loc[3, column] = value
    frame.to_csv("it.csv", index=False)
    (tmp_path / "it.yaml").write_text(YAML.replace("it.parquet", "it.csv"))
    for command, word in ((("trace", "info", "it.csv"), "must be"), (("validate", "it.yaml"), "is")):
        status, _, error = cli(*command)
        assert status == 2
        assert said.format(**{"is": word}) in error
        assert error.count("\n") == 1
        assert "it.csv" in error


@pytest.mark.parametrize("command", ["tune", "advise"])
@pytest.mark.parametrize("adjusted", [("--seconds-per-load", "0.1"), ("--load-effect", "proportional")])
def test_tune_and_advise_say_that_censored_times_are_lower_bounds(cli, tmp_path, command, adjusted):
    longer = pd.concat([FRAME, FRAME.assign(round=FRAME["round"] + 6)])
    longer.to_parquet("it.parquet", index=False)
    arguments = ("--schemes", "uncoded,gradient_coding", "--jobs", "4", "--out", "out", *adjusted)
    status, said, warned = cli(command, "it.parquet", *arguments)
    assert status == 0, warned
    lines = [line for line in (said + warned).splitlines() if "censored" in line]
    assert lines == [
        "it.parquet: 11 % of the times are censored (the worker was cancelled then): lower bounds, with which whatever "
        "waits longer than the scheme that was recorded looks better than it is"
    ]
    status, _, warned = cli("validate", "out/winners.yaml")  # on what was written, if anything was
    assert status == 0
    assert "11 % of the times are censored" in warned


def test_a_trace_in_other_words_is_replayed_as_one_with_these(cli, tmp_path):
    FRAME.rename(columns={"round": "step"}).to_csv("it.csv", index=False)
    trace = read_times(tmp_path / "it.csv", options={"columns": "round=step"})
    assert trace.censored.sum() == 2
    arguments = ("--columns", "round=step", "--schemes", "uncoded", "--jobs", "4", "--seconds-per-load", "0.1")
    assert cli("tune", "it.csv", *arguments, "--out", "out")[0] == 0
    assert read_trace_file(str(tmp_path / "out" / "trace.parquet")).censored.sum() == 2
