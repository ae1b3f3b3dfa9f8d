"""Fitting a trace: the likelihood against brute force, known parameters, and the command line."""

import itertools
import math
import re
import resource
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import stragglersim
from simulator.cli import terminal
from simulator.fitting.base_distributions import BASE_DISTRIBUTIONS
from simulator.fitting.fit import FitError, as_yaml, fit_models
from simulator.fitting.goodness import checks, lagged_memory, simulated_durations, threshold_s
from simulator.fitting.layers import LAYERS, OutlierLayer, SlowWorkerLayer
from simulator.fitting.likelihood import Layered
from simulator.scenario.free_load import free_load
from simulator.traces.measures import burst_lengths
from straggler_models import (
    Bernoulli,
    CommonShock,
    Constant,
    GilbertElliott,
    Lognormal,
    Pareto,
    PartialSlowdown,
    ProneWorkers,
    ShiftedExponential,
    Weibull,
)

BURSTS = GilbertElliott(p_slow=0.05, p_recover=0.4, slowdown=3.0)
SHOCKS = CommonShock(p=0.15, share=0.5, slowdown=2.0)
SLOW = PartialSlowdown(share=0.125, slowdown_min=1.6, slowdown_max=1.6, drawn="per_run")
OUTLIERS = Bernoulli(p=0.008, slowdown=12.0)
PRONE = ProneWorkers(share=0.25, p=0.3, slowdown=2.5)
LOGNORMAL = Lognormal(median=1.0, sigma=0.12, adds_to="startup_s")
EXPONENTIAL = ShiftedExponential(shift=1.0, mean=0.5, adds_to="startup_s")


def a_base(kind, durations_s):
    return BASE_DISTRIBUTIONS[kind](float(durations_s[np.isfinite(durations_s)].min()))


class Hiccups(OutlierLayer):
    """A layer that is not among those shipped."""

    label = "hiccups"


def theta_for(layered, rng):
    x = np.sort(layered.durations_s[np.isfinite(layered.durations_s)])
    of_layers = rng.normal(-1.0, 0.4, len(layered.places))
    return np.concatenate([layered.base.start(x), of_layers])


def test_the_likelihood_is_the_sum_over_all_hidden_states():
    rng = np.random.default_rng(3)
    durations_s = np.exp(rng.normal(0.3, 0.5, (3, 2)))
    durations_s[1, 1] = np.inf
    layered = Layered(durations_s, a_base("lognormal", durations_s), LAYERS)
    theta = theta_for(layered, rng)
    hits = np.array([0.0, 1.0, 0.0, 0.0, 1.0])  # rounds, workers; known for sure: then the bound is the likelihood
    median, sigma = np.exp(theta[:2])
    (share, of_slow), (a, b, of_burst), (r, v, of_prone), (p, q, of_shock), (o, of_outlier) = (
        layered.of_layer(theta, layer) for layer in LAYERS
    )
    total = np.log(1 - p) + np.log(p) + np.log(1 - p) + np.log(1 - r) + np.log(r)
    for worker in range(2):
        likelihood = 0.0
        states = itertools.product((0, 1), itertools.product((0, 1), repeat=3))
        for is_slow, chain in states:
            chance = share if is_slow else 1 - share
            chance *= (a if chain[0] else b) / (a + b)
            for before, after in itertools.pairwise(chain):
                to_slow = 1 - b if before else a
                chance *= to_slow if after else 1 - to_slow
            for t, in_burst in enumerate(chain):
                if t == 1 and worker == 1:
                    continue
                straggles = [(0, 1 - v), (1, v)] if hits[3 + worker] else [(0, 1.0)]
                in_shock = [(0, 1 - q), (1, q)] if hits[t] else [(0, 1.0)]
                chance *= sum(
                    chance_prone
                    * chance_shock
                    * chance_outlier
                    * stats.lognorm.pdf(
                        durations_s[t, worker],
                        sigma,
                        scale=median
                        * of_slow**is_slow
                        * of_burst**in_burst
                        * of_prone**prone
                        * of_shock**shocked
                        * of_outlier**out,
                    )
                    for prone, chance_prone in straggles
                    for shocked, chance_shock in in_shock
                    for out, chance_outlier in ((0, 1 - o), (1, o))
                )
            likelihood += chance
        total += np.log(likelihood)
    assert layered.evaluate(theta, hits).log_likelihood == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("layers", [(), *((layer,) for layer in LAYERS), LAYERS, (*LAYERS, Hiccups())])
@pytest.mark.parametrize("kind", BASE_DISTRIBUTIONS)
def test_the_gradient_is_that_of_the_likelihood(kind, layers, is_cut):
    rng = np.random.default_rng(4)
    durations_s = np.exp(rng.normal(0.0, 0.3, (6, 5)))
    durations_s[2, 3] = np.inf
    censored = rng.random((6, 5)) < 0.3 if is_cut else None
    layered = Layered(durations_s, a_base(kind, durations_s), layers, censored)
    theta = theta_for(layered, rng)
    hits = rng.uniform(0.1, 0.9, 6 + 5)

    def at(step):
        return layered.evaluate(theta + step, hits).log_likelihood

    numeric = [(at(1e-6 * unit) - at(-1e-6 * unit)) / 2e-6 for unit in np.eye(len(theta))]
    np.testing.assert_allclose(layered.evaluate(theta, hits).gradient, numeric, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "theta", "frozen"),
    [
        ("lognormal", [0.3, -0.5], stats.lognorm(math.exp(-0.5), scale=math.exp(0.3))),
        ("weibull", [0.3, 0.7], stats.weibull_min(math.exp(0.7), scale=math.exp(0.3))),
        ("shifted_lognormal", [0.0, 0.3, -0.5], stats.lognorm(math.exp(-0.5), loc=0.2, scale=math.exp(0.3))),
        ("shifted_exponential", [0.3], stats.expon(0.4, math.exp(0.3))),
        ("pareto", [0.7], stats.pareto(math.exp(0.7), scale=0.4)),
    ],
)
def test_each_base_distribution_has_the_density_of_its_models(kind, theta, frozen):
    base = BASE_DISTRIBUTIONS[kind](0.4, is_soft=False)
    x = np.array([0.45, 0.8, 1.3, 4.0])
    np.testing.assert_allclose(base.density(np.log(x), np.array(theta)).log, frozen.logpdf(x), rtol=1e-12)
    np.testing.assert_allclose(base.survival(np.log(x), np.array(theta)).log, frozen.logsf(x), rtol=1e-12)
    assert base.survival(np.log([0.05]), np.array(theta)).log[0] == pytest.approx(frozen.logsf(0.05), abs=1e-12)
    drawn = simulated_durations(base.models(np.array(theta)), 200, 50, seed=1).ravel()
    assert stats.kstest(drawn, frozen.cdf).pvalue > 1e-4


CASES = {
    "nothing but a lognormal": {"usual": LOGNORMAL},
    "nothing but a shifted exponential": {"usual": EXPONENTIAL},
    "nothing but a Weibull": {"usual": Weibull(scale=2.0, shape=4.0, adds_to="startup_s")},
    "nothing but a Pareto": {"usual": Pareto(scale=0.5, shape=5.0, adds_to="startup_s")},
    "bursts": {"usual": LOGNORMAL, "bursts": BURSTS},
    "bursts on a distribution with an edge": {"usual": EXPONENTIAL, "bursts": BURSTS},
    "shocks and outliers": {"usual": LOGNORMAL, "shocks": SHOCKS, "outliers": OUTLIERS},
    "slow workers above a floor": {
        "floor": Constant(startup_s=0.8),
        "usual": Lognormal(median=0.3, sigma=0.5, adds_to="startup_s"),
        "slow_workers": SLOW,
    },
    "prone workers": {"usual": LOGNORMAL, "prone_workers": PRONE},
    "prone workers and bursts": {"usual": EXPONENTIAL, "bursts": BURSTS, "prone_workers": PRONE},
    "all layers but one": {
        "usual": LOGNORMAL,
        "slow_workers": SLOW,
        "bursts": BURSTS,
        "shocks": SHOCKS,
        "outliers": OUTLIERS,
    },
}


def known(models, layer, parameter):
    if parameter == "floor":
        return models["floor"].startup_s
    name = "slowdown_min" if (layer, parameter) == ("slow_workers", "slowdown") else parameter
    return getattr(models[layer], name)


@pytest.mark.parametrize("case", CASES)
def test_known_parameters_are_found_within_their_intervals_and_nothing_else_is(case):
    models = CASES[case]
    fitted = fit_models(simulated_durations(models, 60, 48, seed=5))
    assert set(fitted.models) == set(models)
    assert [type(fitted.models[label]) for label in models] == [type(model) for model in models.values()]
    for layer, parameter, value, error in fitted.estimates:
        # one interval in 16 000 misses at 4 standard errors; benchmarks/fit_coverage.py counts at 1.96
        assert abs(value - known(models, layer, parameter)) < 4 * error, (layer, parameter, value, error)
    for choice in fitted.choices:
        assert choice.is_kept == (choice.layer in models)
        assert choice.delta_bic > 0


def test_who_is_slow_and_which_rounds_are_hit_is_told():
    durations_s = np.random.default_rng(2).lognormal(0.0, 0.1, (30, 24))
    durations_s[:, [3, 17]] *= 1.7
    durations_s[[4, 9, 20]] *= np.where(np.random.default_rng(3).random((3, 24)) < 0.5, 2.5, 1.0)
    fitted = fit_models(durations_s)
    assert fitted.slow_workers == (3, 17)
    assert fitted.hit_rounds == (4, 9, 20)
    assert fitted.models["slow_workers"].share == pytest.approx(2 / 24, rel=0.01)


def test_a_known_time_per_load_is_kept_apart():
    models = {"load": Constant(seconds_per_load=4.0), "usual": EXPONENTIAL, "bursts": BURSTS}
    durations_s = simulated_durations(models, 60, 48, seed=7, load=0.5)
    fitted = fit_models(durations_s, base_load=0.5, seconds_per_load=4.0)
    assert fitted.models["load"] == models["load"]
    assert fitted.models["usual"].shift == pytest.approx(1.0, abs=0.01)
    assert fitted.models["bursts"].slowdown == pytest.approx(3.0, rel=0.02)


def test_responses_that_never_came_are_a_layer_of_their_own():
    durations_s = np.random.default_rng(1).lognormal(0.0, 0.2, (60, 40))
    lost = np.random.default_rng(5).random((60, 40)) < 0.05
    fitted = fit_models(np.where(lost, np.inf, durations_s))
    assert isinstance(fitted.models["failures"], Bernoulli)
    assert fitted.models["failures"].slowdown == math.inf
    assert fitted.models["failures"].p == pytest.approx(lost.mean(), abs=0.001)
    assert set(fitted.models) == {"usual", "failures"}
    bursts = np.repeat(np.random.default_rng(6).random((12, 40)) < 0.1, 5, axis=0)
    chain = fit_models(np.where(bursts, np.inf, durations_s)).models["failures"]
    assert isinstance(chain, GilbertElliott)
    assert chain.p_recover == pytest.approx(0.18, abs=0.05)  # ends only at multiples of 5


def test_a_long_trace_of_many_workers_takes_seconds_and_says_what_is_tried():
    models = {"usual": LOGNORMAL, "slow_workers": SLOW, "bursts": BURSTS, "shocks": SHOCKS, "outliers": OUTLIERS}
    said = []
    durations_s = simulated_durations(models, 100, 256, seed=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fitted = fit_models(durations_s, progress=said.append)
    n_faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert set(fitted.models) == set(models)
    assert n_faults < 200_000  # pages that arrays were given anew: else tens of millions, of two thirds of the time
    assert said[0] == "all base distributions"
    assert "lognormal, slow_workers, bursts, shocks, outliers without bursts" in said


def test_without_a_terminal_a_line_now_and_then_says_what_is_done(monkeypatch, capsys):
    instants = iter([0.0, 1.9, 2.0, 2.0, 3.9, 5.0, 5.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(instants))
    with terminal.status("Fitting") as told:
        for detail in ("a", "b", "c", "d"):
            told(detail)
    assert capsys.readouterr().err == "Fitting ...\nFitting: b ...\nFitting: d ...\n"


def test_a_worker_that_fails_slow_is_a_layer_of_its_own_and_no_burst():
    durations_s = simulated_durations({"usual": LOGNORMAL}, 100, 20, seed=2).copy()
    durations_s[60:, 5] *= 4.0
    fitted = fit_models(durations_s)
    assert set(fitted.models) == {"usual", "fail_slow"}
    (of,) = fitted.fail_slows
    assert (of.worker, of.onset, of.end) == (5, 60, 100)
    at_risk = 100 * 20 - 39
    found = {one.parameter: one[2:] for one in fitted.estimates if one.layer == "fail_slow"}
    assert found["p_fail"] == pytest.approx((1 / at_risk, math.sqrt(1 - 1 / at_risk) / at_risk))
    assert found["slowdown"] == pytest.approx((4.0, math.nan), rel=0.05, nan_ok=True)  # one says nothing of spread
    assert set(found) == {"p_fail", "slowdown"}
    assert "fail_slow: {kind: fail_slow, p_fail: 0.0005099" in as_yaml(fitted, "times.csv")
    usual = fit_models(simulated_durations({"usual": LOGNORMAL}, 100, 20, seed=2))
    assert fitted.models["usual"].sigma == pytest.approx(usual.models["usual"].sigma, rel=0.03)


def test_several_fail_slows_say_how_they_spread():
    durations_s = simulated_durations({"usual": LOGNORMAL, "bursts": BURSTS}, 200, 24, seed=4).copy()
    events = [(3, 30, 80, 4.0), (7, 90, 200, 8.0), (15, 20, 120, 16.0)]
    for worker, onset, end, factor in events:
        durations_s[onset:end, worker] *= factor
    fitted = fit_models(durations_s)
    assert set(fitted.models) == {"usual", "bursts", "fail_slow"}
    found = {one.parameter: one[2:] for one in fitted.estimates if one.layer == "fail_slow"}
    assert found["slowdown"] == pytest.approx((8.0, 8.0 * math.log(2) / math.sqrt(3)), rel=0.15)
    assert found["mean_rounds"] == pytest.approx((259 / 2, math.sqrt(129.5 * 128.5 / 2)), rel=0.05)
    assert fitted.models["bursts"].slowdown == pytest.approx(3.0, rel=0.05)


def test_each_time_has_the_slowdown_that_it_was_given():
    rng = np.random.default_rng(3)
    draws = [model.rounds(20, rng) for model in (BURSTS, SHOCKS, SLOW)]
    truth = np.prod([np.broadcast_to(next(of).slowdown, (64, 20)) for of in draws], axis=0)
    truth[30:, 4] *= 5.0
    durations_s = truth * rng.lognormal(0.0, 0.03, truth.shape)
    durations_s[10, 10] = np.inf
    found = fit_models(durations_s).slowdowns
    assert found[10, 10] == 1.0
    error = np.abs(np.log(found / truth))
    error[10, 10] = 0.0
    assert error.mean() < 0.02
    assert np.median(error[30:, 4]) < 0.1
    np.testing.assert_array_equal(fit_models(rng.lognormal(0.0, 0.3, (20, 20))).slowdowns, np.ones((20, 20)))


def test_checks_count_what_they_say():
    straggles = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1], [1, 0, 1]], dtype=bool)
    assert sorted(burst_lengths(straggles)) == [1, 2, 3]
    np.testing.assert_allclose(lagged_memory(straggles, 3), [3 / 4, 2 / 3, 1.0])
    assert threshold_s(np.where(straggles, 4.0, 2.0) - straggles.mean()) > 2.0
    durations_s = np.random.default_rng(0).lognormal(0.0, 0.3, (30, 20))
    alike = [np.random.default_rng(seed).lognormal(0.0, 0.3, (30, 20)) for seed in range(1, 30)]
    found = {check.name: check for check in checks(durations_s, alike)}
    assert sum(not check.is_inside for check in found.values()) <= 2
    slower = checks(2 * durations_s, alike)
    assert not slower[0].is_inside


SCENARIO = """\
workers: 20
jobs: 5
stragglers: model.yaml
schemes:
  uncoded: {kind: uncoded}
"""


@pytest.fixture
def call(tmp_path, cli):
    """Call the command line in a folder with a trace and a scenario; returns exit status, output, errors."""
    models = {"usual": LOGNORMAL, "bursts": BURSTS}
    write(tmp_path / "times.csv", simulated_durations(models, 40, 20, seed=3))
    (tmp_path / "small.yaml").write_text(SCENARIO)
    return cli


def write(path, durations_s):
    rows = (f"{t},{w},{second}" for (t, w), second in np.ndenumerate(durations_s))
    path.write_text("\n".join(["round,worker,duration_s", *rows]))


def test_a_fitted_model_is_taken_by_run_as_it_is(call, tmp_path):
    status, out, err = call("trace", "fit", "times.csv", "--out", "model.yaml")
    assert status == 0
    assert "warning: load costs nothing in this model" in err
    assert (tmp_path / "model.yaml").read_text().splitlines()[1].startswith("# load costs nothing in this model, since")
    for words in ("p_recover", "standard error", "Not asked for by the trace", "goodness of fit", "burst length"):
        assert words in out
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = call("run", "small.yaml", "--out", "here", "--set", "schemes.GC={kind: gradient_coding, s: 1}")
    assert status == 0
    assert "\nLoad costs nothing here: no straggler model has seconds_per_load, so loads from " in out
    for change in ("stragglers.work={kind: constant, seconds_per_load: 1}", "master={kind: fixed_time, time_s: 3}"):
        overrides = ["schemes.GC={kind: gradient_coding, s: 1}", change]
        assert free_load(stragglersim.load("small.yaml", overrides)) == []
    assert free_load(stragglersim.load("small.yaml")) == []
    scenario = stragglersim.load("small.yaml")
    assert set(scenario.stragglers) == {"usual", "bursts"}
    assert scenario.stragglers["bursts"].p_slow == pytest.approx(0.05, abs=0.03)
    # pasted, given on the command line and swept, it is the same
    model = (tmp_path / "model.yaml").read_text()
    (tmp_path / "pasted.yaml").write_text(SCENARIO.replace("stragglers: model.yaml\n", model))
    assert stragglersim.load("pasted.yaml").stragglers == scenario.stragglers
    (tmp_path / "other.yaml").write_text(SCENARIO.replace("model.yaml", "{usual: {kind: constant, startup_s: 1}}"))
    options = (
        "--set",
        "stragglers=model.yaml",
        "--set",
        "stragglers.bursts.slowdown=9",
        "--sweep",
        "stragglers.bursts.p_slow=0.1,0.2",
    )
    assert call("validate", "other.yaml", *options)[0] == 0
    swept = stragglersim.load("other.yaml", options[1:4:2], options[5:])
    assert [at.stragglers["bursts"].p_slow for _, at in swept.all_points()] == [0.1, 0.2]
    assert swept.stragglers["bursts"].slowdown == 9.0


def test_the_trace_is_written_with_its_slowdowns_and_all_else_that_it_had(call, tmp_path):
    rng = np.random.default_rng(4)
    durations_s = simulated_durations({"usual": LOGNORMAL}, 60, 10, seed=3).copy()
    durations_s[35:, 6] *= 4.0
    rounds, workers = np.divmod(np.arange(600), 10)
    columns = {"round": rounds, "worker": workers, "duration_s": durations_s.ravel(), "step": 3 * rounds + 5}
    table = pd.DataFrame(columns | {"waited_s": 0.5, "host": "abc"}).sample(frac=1.0, random_state=rng)
    table.attrs["base_load"] = 0.5
    table.to_parquet(tmp_path / "slow.parquet", index=False)
    status, out, _ = call("trace", "fit", "slow.parquet", "--out", "model.yaml")
    assert status == 0
    assert re.search(r"Fail-slows: worker 6 from round 35 to 59 \((3\.[89]|4|4\.[01]) times slower\)", out)
    written = pd.read_parquet(tmp_path / "model.parquet")
    assert float(written.attrs["base_load"]) == 0.5
    kept = table.sort_values(["round", "worker"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(written[[*columns, "waited_s", "host"]], kept, check_dtype=False)
    slowdown = written["slowdown"].to_numpy(copy=True).reshape(60, 10)
    assert slowdown[35:, 6] == pytest.approx(np.full(25, 4.0), rel=0.1)
    slowdown[35:, 6] = 1.0
    assert (slowdown == 1.0).all()
    status, _, error = call("trace", "fit", "slow.parquet", "--out", "slow.yaml", "--force")
    assert status == 2
    assert "--out: must have another name than the trace (slow.parquet goes next to it), got slow.yaml" in error
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "slow.parquet"), table.reset_index(drop=True))


def test_the_same_trace_gives_the_same_files(call, tmp_path):
    call("trace", "fit", "times.csv", "--out", "model.yaml")
    first = [(tmp_path / name).read_bytes() for name in ("model.yaml", "model.png", "model.parquet")]
    assert call("trace", "fit", "times.csv", "--out", "model.yaml", "--force")[0] == 0
    assert first == [(tmp_path / name).read_bytes() for name in ("model.yaml", "model.png", "model.parquet")]
    call("trace", "fit", "times.csv", "--out", "model.yaml", "--force", "--seed", "1")
    assert (tmp_path / "model.yaml").read_bytes() == first[0]
    assert (tmp_path / "model.png").read_bytes() != first[1]


@pytest.mark.parametrize(
    ("durations_s", "options", "line"),
    [
        (np.ones((9, 9)), (), "times.csv: durations must vary, got 1 s for most"),
        (np.linspace(0, 1, 81).reshape(9, 9), (), "times.csv: durations must be longer than 0 s, got 0 s"),
        (np.linspace(1, 2, 9).reshape(3, 3), (), "must have at least 3 rounds, 2 workers and 30 durations"),
        (np.full((9, 9), np.inf), (), "got 9, 9 and 0"),
        (
            np.linspace(1, 2, 81).reshape(9, 9),
            ("--base-load", "0.5", "--seconds-per-load", "4"),
            "longer than base_load * seconds_per_load = 2 s, which are part of each, got 1 s",
        ),
        (None, (), "gone.csv: must be a readable file, got gone.csv"),
        (None, ("--out", "model.txt"), "--out: must end in .yaml, got model.txt"),
        (None, ("--out", "times.csv/model.yaml"), "--out: must be a folder, got times.csv, of which a part is a file"),
        (None, ("--out", "small.yaml"), "small.yaml: must not exist yet (--force"),
        (None, ("--base-load", "-1"), "Invalid value for '--base-load'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2_and_nothing_is_written(call, tmp_path, durations_s, options, line):
    if durations_s is not None:
        write(tmp_path / "times.csv", durations_s)
    name = "gone.csv" if durations_s is None else "times.csv"
    out = () if "--out" in options else ("--out", "model.yaml")
    status, shown, err = call("trace", "fit", name, *out, *options)
    said = [text for text in err.splitlines() if text not in ("Fitting ...", "Simulating ...")]
    assert (status, shown, len(said)) == (2, "", 1)
    assert line in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml", "times.csv"]


def test_a_trace_of_parts_says_what_to_give(call, tmp_path):
    (tmp_path / "times.csv").write_text("round,worker,startup_s\n0,0,1\n")
    assert "must have the column duration_s" in call("trace", "fit", "times.csv", "--out", "model.yaml")[2]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "model.yaml: must be a readable YAML file"),
        ("seed: 1\n", "model.yaml:1:1: stragglers: must be a mapping of labels, got nothing"),
        ("stragglers: model.yaml\n", "model.yaml:1:1: stragglers: must be a mapping of labels, got 'model.yaml'"),
        (
            "stragglers:\n  bursts: {kind: bernoulli, p: 2, slowdown: 3}\n",
            "model.yaml:2:29: stragglers.bursts.p: must be",
        ),
    ],
)
def test_an_error_in_an_included_model_is_told_where_it_stands(call, tmp_path, text, line):
    if text is not None:
        (tmp_path / "model.yaml").write_text(text)
    status, _, err = call("validate", "small.yaml")
    assert (status, err.count("\n")) == (2, 1)
    assert line in err


def test_the_model_file_says_how_sure_it_is():
    fitted = fit_models(np.random.default_rng(1).lognormal(0.0, 0.5, (20, 30)))
    text = as_yaml(fitted, "times.csv: 20 rounds\nmore")
    assert text.startswith(
        "# Fitted to times.csv: 20 rounds\n# more\nstragglers:\n  usual: {kind: lognormal, median: 0.978303, "
    )
    assert text.endswith("adds_to: startup_s}  # ± median 0.019, sigma 0.014\n")


def test_too_little_is_refused():
    with pytest.raises(FitError, match="got 2, 40 and 80"):
        fit_models(np.ones((2, 40)))


@pytest.mark.parametrize("p", [0.001, 0.005, 0.009, 0.01, 0.02, 0.3])
def test_a_few_responses_that_never_came_give_a_model_with_them(call, tmp_path, p):
    rng = np.random.default_rng(1)
    durations_s = rng.lognormal(0.0, 0.5, (60, 20))
    durations_s[rng.random(durations_s.shape) < p] = np.inf
    write(tmp_path / "times.csv", durations_s)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a figure up to 1e300 s
        status, out, err = call("trace", "fit", "times.csv", "--out", "model.yaml")
    assert status == 0
    assert [line for line in err.splitlines() if "load costs nothing" not in line] == [
        "Fitting ...",
        "Simulating ...",
        "Drawing ...",
    ]
    assert "failures: {kind: bernoulli" in (tmp_path / "model.yaml").read_text()
    assert re.search(r"never answered % .* (yes|too wide to fail) *\n", out)


def test_every_check_says_yes_or_no_or_that_nothing_could_fail(call):
    _, out, _ = call("trace", "fit", "times.csv", "--out", "model.yaml")
    rows = [row.rstrip() for row in out[out.index("50 % quantile s") :].splitlines()[:13]]
    assert rows[-1].strip().startswith("round medians")
    assert all(row.endswith(("  yes", "  no", "  too wide to fail")) for row in rows)


def test_a_band_that_holds_all_that_is_possible_is_no_check():
    spread = [np.where(np.random.default_rng(seed).random((3, 2)) < 0.5, 1.0, 9.0) for seed in range(30)]
    found = {check.name: check for check in checks(spread[0], spread)}
    assert found["stragglers per round, most"].high == 2  # workers, of 2
    assert found["burst length, longest"].verdict == "too wide to fail"
    alike = [np.random.default_rng(seed).lognormal(0.0, 0.3, (30, 20)) for seed in range(30)]
    assert {check.verdict for check in checks(alike[0], alike)[:2]} == {"yes"}
    heavy = [np.random.default_rng(seed).pareto(0.5, (10, 5)) + 1 for seed in range(30)]
    found = {check.name: check for check in checks(heavy[0], heavy)}
    assert found["99.9 % quantile s"].verdict == "too wide to fail"
    assert not checks(1e9 * heavy[0], heavy)[0].is_inside
    never = [np.where(durations_s > 1.6, np.inf, durations_s) for durations_s in alike]
    assert {check.name: check.verdict for check in checks(alike[0], never)}["99.9 % quantile s"] == "no"


def test_a_slow_tail_that_the_model_never_ends_is_outside():
    rng = np.random.default_rng(0)
    finite, endless = rng.lognormal(0.0, 0.3, (30, 20)), np.full((30, 20), np.inf)
    assert not checks(finite, [endless] * 5)[0].is_inside


@pytest.mark.parametrize("lost", [(slice(None), 0), (0, slice(None)), (slice(None), slice(0, 11)), (slice(4, 30), 3)])
def test_workers_and_rounds_that_never_answer_are_drawn(call, tmp_path, lost):
    durations_s = np.random.default_rng(2).lognormal(0.0, 0.5, (40, 12))
    durations_s[lost] = np.inf
    write(tmp_path / "times.csv", durations_s)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, out, _ = call("trace", "fit", "times.csv", "--out", "model.yaml")
    assert status == 0
    assert "failures" in out


def test_slow_workers_are_looked_for_where_they_are():
    """One of six takes twice as long in each of eight rounds."""
    excess = np.zeros((8, 6))
    excess[:, 4] = np.log(2)
    (share, slowdown), _ = next(SlowWorkerLayer().starts(excess, np.empty(0)))
    assert (share, slowdown) == pytest.approx((1 / 7, 2.0))


CUT_CASES = {
    "lognormal": {"usual": LOGNORMAL},
    "shifted exponential": {"usual": EXPONENTIAL},
    "weibull": {"usual": Weibull(scale=2.0, shape=4.0, adds_to="startup_s")},
    "pareto": {"usual": Pareto(scale=0.5, shape=5.0, adds_to="startup_s")},
    "bursts": {"usual": LOGNORMAL, "bursts": GilbertElliott(p_slow=0.06, p_recover=0.3, slowdown=3.0)},
    "slow workers": {"usual": EXPONENTIAL, "slow_workers": PartialSlowdown(0.25, 2.0, 2.0, drawn="per_run")},
}


def cut_at(durations_s, k):
    """Stop each round at its k-th fastest worker; where others were cancelled, and when."""
    stop_s = np.sort(durations_s, axis=1)[:, k - 1 : k]
    return np.minimum(durations_s, stop_s), durations_s > stop_s


@pytest.mark.parametrize("case", CUT_CASES)
def test_parameters_are_found_from_times_cut_off_at_the_kth_fastest_worker(case):
    models = CUT_CASES[case]
    times_s = simulated_durations(models, 80, 40, seed=3)
    cut_s, censored = cut_at(times_s, 34)
    fitted, blind = fit_models(cut_s, censored=censored), fit_models(cut_s)
    assert [type(fitted.models[label]) for label in models] == [type(model) for model in models.values()]
    for layer, parameter, value, error in fitted.estimates:
        assert abs(value - known(models, layer, parameter)) < 4 * error, (layer, parameter, value, error)
    late_s = [
        np.quantile(durations_s, 0.95)
        for durations_s in (times_s, *(simulated_durations(found.models, 400, 40, seed=9) for found in (fitted, blind)))
    ]
    assert late_s[1] == pytest.approx(late_s[0], rel=0.04)
    assert late_s[2] < 0.95 * late_s[0]


@pytest.mark.parametrize(("usual", "slowdown", "k"), [(LOGNORMAL, 3.0, 30), (EXPONENTIAL, 6.0, 28)], ids=["", "edge"])
def test_a_slowdown_of_which_nothing_was_seen_is_no_larger_than_times_differ(usual, slowdown, k):
    models = {"usual": usual, "bursts": GilbertElliott(p_slow=0.06, p_recover=0.3, slowdown=slowdown)}
    cut_s, censored = cut_at(simulated_durations(models, 80, 40, seed=3), k)
    fitted = fit_models(cut_s, censored=censored)
    slowdowns = [one for one in fitted.estimates if one.parameter == "slowdown"]
    assert slowdowns
    assert all(one.value <= cut_s.max() / cut_s[~censored].min() + 1e-9 for one in slowdowns)


def test_a_fit_says_that_times_are_censored_and_compares_what_is_cut_off_alike(call, tmp_path):
    cut_s, censored = cut_at(simulated_durations(CUT_CASES["lognormal"], 60, 20, seed=3), 15)
    rounds, workers = np.divmod(np.arange(cut_s.size), 20)
    columns = {"round": rounds, "worker": workers, "duration_s": cut_s.ravel(), "censored": censored.ravel()}
    pd.DataFrame(columns).to_parquet(tmp_path / "times.parquet", index=False)
    status, said, _ = call("trace", "fit", "times.parquet", "--out", "model.yaml")
    assert status == 0
    assert "25 % of the times are censored: each counts by the probability of taking longer" in said
    assert "outside of what the model gives" not in said
    median, sigma = re.search(r"median: ([0-9.]+), sigma: ([0-9.]+)", (tmp_path / "model.yaml").read_text()).groups()
    assert float(median) == pytest.approx(1.0, rel=0.02)
    assert float(sigma) == pytest.approx(0.12, rel=0.1)
    pd.DataFrame(columns | {"censored": True}).to_parquet(tmp_path / "times.parquet", index=False)
    status, _, error = call("trace", "fit", "times.parquet", "--out", "other.yaml")
    assert status == 2
    assert "must have at least 3 rounds, 2 workers and 30 durations to fit, got 60, 20 and 0" in error


def test_the_folder_of_a_model_is_made(call, tmp_path):
    write(tmp_path / "times.csv", np.random.default_rng(5).lognormal(0, 0.3, (12, 8)))
    assert call("trace", "fit", "times.csv", "--out", "new/deep/model.yaml")[0] == 0
    assert {path.suffix for path in (tmp_path / "new/deep").iterdir()} >= {".yaml", ".png", ".parquet"}
