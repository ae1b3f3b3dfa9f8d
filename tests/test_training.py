"""Real gradients: what schemes do to training, against plain descent, closed forms and numbers worked out by hand."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from pydantic.dataclasses import dataclass
from training_examples import EXACT_SCHEMES, curve, descent, scenario

import stragglersim
from schemes import (
    BernoulliGradientCoding,
    FastestK,
    GradientCoding,
    PartialGradientCoding,
    SelectiveRepeat,
)
from schemes.assignment import Cyclic
from simulator.cli.run_summary import print_summary
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from simulator.engine.streams import stream
from simulator.engine.training import Training
from simulator.results.compare import compare
from simulator.results.compare_text import notes
from straggler_models import Constant, ShiftedExponential
from stragglersim import SimulationError
from workloads import LeastSquares, LogisticRegression, TwoLayerNetwork, Workload

# --- exact schemes ---


@pytest.mark.parametrize("optimiser", ["sgd", "momentum"])
def test_exact_schemes_follow_plain_full_batch_descent(optimiser):
    workload = TwoLayerNetwork(hidden=8, l2=1e-3)
    run = scenario(EXACT_SCHEMES, Training(workload=workload, learning_rate=0.5, optimiser=optimiser), trials=2)
    results = stragglersim.run(run)
    assert results.runs["decode_failures"].sum() == 0
    for trial, model in ((0, 0), (1, 3)):
        initial = workload.initial(stream(run.seed, trial, "model", str(model)))
        plain = descent(workload, 10, 0.5, initial, momentum=0.9 * (optimiser == "momentum"))
        assert plain[-1] < plain[0]
        for label in EXACT_SCHEMES:
            np.testing.assert_allclose(curve(results, label, model, trial), plain, rtol=1e-6)
    assert results.runs["worst_residual"].max() < 1e-8
    assert (results.training["gradient_error"].dropna() < 1e-8).all()


def test_least_squares_goes_as_its_closed_form_says():
    problem, rate = LeastSquares(rows=100, dimension=5, condition=4.0), 0.4
    schemes = {"M-SGC": EXACT_SCHEMES["M-SGC"]}
    results = stragglersim.run(scenario(schemes, Training(workload=problem, learning_rate=rate)))
    shrink, begin = np.eye(5) - rate * problem.hessian, -problem.optimum
    expected = [problem.loss(problem.optimum + np.linalg.matrix_power(shrink, k) @ begin) for k in range(11)]
    np.testing.assert_allclose(curve(results, "M-SGC", model=2), expected, rtol=1e-9)


@pytest.mark.parametrize("batch", [30, 37, 1])
def test_batches_are_the_same_under_every_scheme(batch):
    problem = LeastSquares(rows=100, dimension=3)
    run = scenario(EXACT_SCHEMES, Training(workload=problem, learning_rate=0.1, batch=batch), seed=5)
    results = stragglersim.run(run)
    rng = stream(5, 0, "batches", "1")
    rows = []
    while len(rows) < 10:
        order = rng.permutation(100)
        rows += [order[first : first + batch] for first in range(0, 100 - batch + 1, batch)]
    plain = descent(problem, 10, 0.1, np.zeros(3), rows)
    for label in EXACT_SCHEMES:
        np.testing.assert_allclose(curve(results, label, model=1), plain, rtol=1e-9)


def test_the_timing_of_a_run_does_not_know_of_training():
    schemes = EXACT_SCHEMES | {"k": FastestK(8, k=5)}
    with_training = stragglersim.run(scenario(schemes, Training(workload=LeastSquares(), learning_rate=0.1), trials=2))
    without = stragglersim.run(scenario(schemes, None, trials=2))
    for table in ("rounds", "jobs"):
        pd.testing.assert_frame_equal(getattr(with_training, table), getattr(without, table), check_exact=True)
    shared = list(without.runs.columns)
    pd.testing.assert_frame_equal(with_training.runs[shared], without.runs, check_exact=True)
    assert without.training is None


def test_a_step_is_taken_when_its_job_is_decoded():
    training = Training(workload=LeastSquares(), learning_rate=0.1)
    results = stragglersim.run(scenario(EXACT_SCHEMES, training, trials=2, round_overhead_s=0.25))
    jobs = results.jobs.assign(model=results.jobs["job"] % 4, step=1 + results.jobs["job"] // 4)
    both = jobs.merge(results.training, on=["scheme", "trial", "model", "step"])
    assert len(both) == len(jobs) == len(results.training) - 2 * 4 * len(EXACT_SCHEMES)
    assert (both["decoded_s"] == both["time_s"]).all()
    assert (results.training.loc[results.training["step"] == 0, "time_s"] == 0).all()


def test_two_models_in_turn_by_hand():
    # one row, feature x, target y: loss (x a - y)^2 / 2, from a = 0; every round takes 2 s; T = 1
    problem = LeastSquares(rows=1, dimension=1, noise=0.0, seed=3)
    x, y = problem.data.features[0, 0], problem.data.targets[0]
    results = stragglersim.run(
        scenario(
            {"SR": SelectiveRepeat(3, B=1, W=2, lam=1)},
            Training(workload=problem, learning_rate=0.25),
            models=2,
            jobs=4,
            stragglers={"usual": Constant(2.0)},
        )
    )
    once = 0.25 * x * y
    twice = once - 0.25 * x * (x * once - y)
    expected = [(0, 0.0, 0.0), (1, 0.0, 0.0), (0, 2.0, once), (1, 4.0, once), (0, 6.0, twice), (1, 8.0, twice)]
    table = results.training[["model", "time_s", "loss"]].itertuples(index=False)
    for (model, time_s, loss), (model_, time_s_, parameter) in zip(table, expected, strict=True):
        assert (model, time_s) == (model_, time_s_)
        assert loss == pytest.approx((x * parameter - y) ** 2 / 2)


def test_a_job_whose_uploads_come_too_late_changes_nothing():
    schemes = {"partial": EXACT_SCHEMES["partial, l = 2"]}
    results = stragglersim.run(
        scenario(
            schemes,
            Training(workload=LeastSquares(), learning_rate=0.1),
            stragglers={"usual": Constant(1.0)},
            master=FirstEnough(timeout_s=5.0),
            network=stragglersim.Network(ingress_bytes_per_s=1.0, gradient_bytes=10.0),
            jobs=8,
        )
    )
    assert set(results.jobs["status"]) == {"failed"}
    assert results.training.groupby("model")["loss"].nunique().tolist() == [1] * 4
    assert results.training["step"].max() == 2


def test_rows_stand_in_the_order_of_jobs_also_where_a_later_one_ends_first():
    schemes = {"SR-SGC": EXACT_SCHEMES["SR-SGC"]}
    results = stragglersim.run(scenario(schemes, Training(workload=LeastSquares(), learning_rate=0.1)))
    ended_s = results.jobs.sort_values("job")["decoded_s"]
    assert not ended_s.is_monotonic_increasing
    assert results.training["model"].tolist() == [0, 1, 2, 3] * 11
    assert results.training["time_s"].tolist() == [0.0] * 4 + ended_s.tolist()


def test_a_job_that_outlasts_its_delay_is_found_out():
    class Late(SelectiveRepeat):
        @property
        def delay_rounds(self):
            return 1  # and not 2

        def start(self, n_jobs, rng):
            session = super().start(n_jobs, rng)
            session.n_rounds -= 1
            return session

    training = Training(workload=LeastSquares(), learning_rate=0.1)
    run = scenario({"late": Late(8, B=2, W=3, lam=3)}, training, models=2)
    with pytest.raises(SimulationError, match=r"must have ended when the next one of its model began, in"):
        stragglersim.run(run)


def test_a_waiting_rule_and_a_network_train_as_well():
    run = scenario(
        {label: EXACT_SCHEMES[label] for label in ("GC", "SR-SGC, late", "partial, l = 2")},
        Training(workload=LeastSquares(), learning_rate=0.1),
        master=MuRule(mu=0.3, wait_for="enough"),
        network=stragglersim.Network(latency_s=0.1, ingress_bytes_per_s=1e6, gradient_bytes=1e5),
    )
    results = stragglersim.run(run)
    plain = descent(LeastSquares(), 10, 0.1, np.zeros(16))
    for label in run.schemes:
        np.testing.assert_allclose(curve(results, label), plain, rtol=1e-9)


def test_uncoded_rounds_before_a_scheme_train_too(monkeypatch):
    problem, cut = LeastSquares(), []
    compute = LeastSquares.chunk_gradients
    monkeypatch.setattr(
        LeastSquares, "chunk_gradients", lambda self, *given: cut.append(len(given[1])) or compute(self, *given)
    )
    schemes = {label: EXACT_SCHEMES[label] for label in ("GC", "M-SGC")}
    results = stragglersim.run(scenario(schemes, Training(workload=problem, learning_rate=0.1), probe=6))
    plain = descent(problem, 10, 0.1, np.zeros(16))
    for label in schemes:
        np.testing.assert_allclose(curve(results, label, model=3), plain, rtol=1e-9)
    assert cut == [8] * 40 + [8] * 6 + [16] * 34  # chunks of GC, then those of M-SGC after the uncoded ones


# --- approximate schemes ---


def stationary_loss(problem, mean, second, rate):
    """Mean loss in the long run, above the smallest one, if chunk c has a random weight w_c in each step.

    With e the distance to the optimum, chunk c has the gradient A_c e + r_c, so e' = e - rate sum_c w_c (A_c e + r_c).
    From ``mean`` E w_c and ``second`` E w_c w_d follow the mean of e and its second moment P, as those that a step
    leaves as they are; the loss is tr(H P) / 2.
    """
    features, targets = problem.data
    n_rows, d = features.shape
    ends = np.rint(np.arange(len(mean) + 1) / len(mean) * n_rows).astype(int)
    A, r = [], []
    for first, end in itertools.pairwise(ends):
        X = features[first:end]
        A.append(X.T @ X / n_rows)
        r.append(X.T @ (X @ problem.optimum - targets[first:end]) / n_rows)
    A, r, unit = np.array(A), np.array(r), np.eye(d)
    A_mean, r_mean = np.einsum("c,cij->ij", mean, A), mean @ r
    e = np.linalg.solve(A_mean, -r_mean)
    onto = np.eye(d * d) - rate * (np.kron(A_mean, unit) + np.kron(unit, A_mean))
    onto += rate**2 * np.einsum("cd,cij,dkl->ikjl", second, A, A).reshape(d * d, d * d)
    cross = -rate * np.outer(e, r_mean) + rate**2 * np.einsum("cd,ci,dj->ij", second, A @ e, r)
    noise = cross + cross.T + rate**2 * np.einsum("cd,ci,dj->ij", second, r, r)
    assert np.abs(np.linalg.eigvals(onto)).max() < 1
    P = np.linalg.solve(np.eye(d * d) - onto, noise.ravel()).reshape(d, d)
    return np.trace(problem.hessian @ P) / 2


def check_neighbourhood(scheme, moments, rate, master=None):
    """A long run must stay as far above the smallest loss as theory says."""
    problem = LeastSquares(rows=64, dimension=3, noise=1.0, condition=4.0)
    run = scenario(
        {"it": scheme},
        Training(workload=problem, learning_rate=rate),
        models=None,
        jobs=1600,
        trials=2,
        leftover="cancel",
        stragglers={  # all alike, and anew in each round: chunk p of a worker's list is done at p * 0.25 s + noise
            "usual": Constant(startup_s=0.0, seconds_per_load=2.0),
            "noise": ShiftedExponential(shift=0.0, mean=0.5, adds_to="startup_s"),
        },
        **({"master": master} if master else {}),
    )
    results, least = stragglersim.run(run), problem.loss(problem.optimum)
    above = [curve(results, "it", trial=trial)[100:1600] - least for trial in range(2)]
    blocks = np.concatenate(above).reshape(-1, 100).mean(axis=1)  # long enough to be independent
    expected, error = stationary_loss(problem, *moments, rate), blocks.std(ddof=1) / np.sqrt(len(blocks))
    assert error < 0.05 * expected
    assert abs(blocks.mean() - expected) < 4 * error


@pytest.mark.parametrize(("k", "rate"), [(3, 0.3), (6, 0.6)])
def test_fastest_k_ends_in_the_neighbourhood_that_theory_gives(k, rate):
    second = np.full((8, 8), 8 * (k - 1) / (k * 7))  # k random ones of 8 weights are 8/k
    np.fill_diagonal(second, 8 / k)
    check_neighbourhood(FastestK(8, k=k), (np.ones(8), second), rate)


def done_by(time_s, position):
    """P(a worker has done that many chunks by then) in `check_neighbourhood`."""
    return 1 - np.exp(-max(0.0, time_s - 0.25 * position) / 0.5)


def test_partial_coding_ends_in_the_neighbourhood_that_theory_gives():
    # a chunk counts if anybody has done it; it is chunk number p of the list of worker c - p + 1, for p = 1, 2, 3
    def lacking(*chunks):
        first = {}  # of each worker's list: position of the first of these chunks
        for chunk, place in itertools.product(chunks, (3, 2, 1)):
            worker = (chunk - place + 1) % 8
            first[worker] = min(place, first.get(worker, place))
        return np.prod([1 - done_by(0.7, place) for place in first.values()])

    each = range(8)
    mean = np.array([1 - lacking(c) for c in each])
    second = np.array([[1 - lacking(c) - lacking(d) + lacking(c, d) for d in each] for c in each])
    assert 0.5 < mean[0] < 0.9
    scheme = PartialGradientCoding(8, assignment=Cyclic(3))
    assert scheme.placement.positions.T.tolist()[0][:3] == [1, 2, 3]
    check_neighbourhood(scheme, (mean, second), 0.4, FixedTime(time_s=0.7))


def test_approximate_codes_end_in_the_neighbourhood_that_theory_gives():
    scheme = BernoulliGradientCoding(8, p=0.3)
    matrix = scheme.encoding_matrix()
    mean, second = np.zeros(8), np.zeros((8, 8))
    for answered in itertools.product([False, True], repeat=8):
        rows = matrix[list(answered)]
        weights = np.linalg.lstsq(rows.T, np.ones(8), rcond=None)[0] @ rows if any(answered) else np.zeros(8)
        shares = [
            done_by(1.2, n) if is_in else 1 - done_by(1.2, n) for is_in, n in zip(answered, matrix.sum(1), strict=True)
        ]
        mean += np.prod(shares) * weights
        second += np.prod(shares) * np.outer(weights, weights)
    check_neighbourhood(scheme, (mean, second), 0.4, FixedTime(time_s=1.2))


def test_estimates_are_off_and_train_all_the_same():
    schemes = {
        "partial": PartialGradientCoding(8, assignment=Cyclic(4)),
        "baseline": PartialGradientCoding(8, assignment=Cyclic(4), credit="whole_list"),
        "BGC": BernoulliGradientCoding(8, p=0.4),
    }
    training = Training(workload=LogisticRegression(), learning_rate=0.5)
    run = scenario(schemes, training, master=FixedTime(time_s=1.6))
    results = stragglersim.run(run)
    jobs = results.jobs.assign(model=results.jobs["job"] % 4, step=1 + results.jobs["job"] // 4)
    both = jobs.merge(results.training, on=["scheme", "trial", "model", "step"])
    assert {"approximate", "decoded"} <= set(both["status"])
    is_exact = both["status"] == "decoded"
    assert (both.loc[is_exact, "gradient_error"] < 1e-8).all()
    assert (both.loc[~is_exact, "gradient_error"] > 1e-4).all()
    last = results.training.groupby("scheme").last()
    assert (last["loss"] < np.log(10)).all()


# --- failures ---


@pytest.mark.parametrize("on_failure", ["skip", "repeat"])
def test_failed_jobs_are_skipped_or_repeated(on_failure):
    problem = LeastSquares(rows=60, dimension=3)
    training = Training(workload=problem, learning_rate=0.2, batch=10, on_failure=on_failure)
    results = stragglersim.run(
        scenario({"GC": GradientCoding(8, s=1)}, training, master=FirstEnough(timeout_s=3.0), leftover="cancel")
    )
    statuses = results.jobs.set_index("job")["status"]
    assert set(statuses) == {"decoded", "failed"}
    for model in range(4):
        rng = stream(0, 0, "batches", str(model))
        batches = [
            order[first : first + 10]
            for order in (rng.permutation(60), rng.permutation(60))
            for first in range(0, 60, 10)
        ]
        parameters, losses = np.zeros(3), [problem.loss(np.zeros(3))]
        for job in range(model, 40, 4):
            if statuses[job] == "decoded":
                parameters = parameters - 0.2 * problem.gradient(parameters, batches.pop(0)) / 10
            elif on_failure == "skip":
                batches.pop(0)
            else:
                continue
            losses.append(problem.loss(parameters))
        np.testing.assert_allclose(curve(results, "GC", model), losses, rtol=1e-9)
    errors = results.training.loc[results.training["step"] > 0, "gradient_error"]
    assert errors.isna().sum() == (statuses == "failed").sum() * (on_failure == "skip")


@pytest.mark.parametrize("on_failure", ["skip", "repeat"])
@pytest.mark.parametrize("messages", ["float64", "float32"])
def test_a_model_that_diverges_stops_and_the_run_goes_on(on_failure, messages, capsys):
    schemes = {label: EXACT_SCHEMES[label] for label in ("GC", "M-SGC")}
    training = Training(workload=LeastSquares(), learning_rate=1e100, on_failure=on_failure, messages=messages)
    results = stragglersim.run(scenario(schemes, training, trials=2))
    last = results.training.groupby(["scheme", "trial", "model"]).last()
    assert (last["loss"] == np.inf).all()
    # with the rate r, parameters grow as r, r^2, ... and the loss as their squares: r^4 is beyond all numbers
    assert results.training["step"].value_counts().to_dict() == {step: len(last) for step in (0, 1, 2)}
    assert np.isinf(results.training["loss"]).sum() == len(last)
    assert (results.runs["final_loss"] == np.inf).all()
    print_summary(results)
    assert "M-SGC: models diverged in 2 of 2 runs (training.learning_rate is too large?)." in capsys.readouterr().out
    table = compare(results.runs, metric="final_loss")
    assert table[["mean", "rank"]].isna().all(axis=None)
    assert "-: no mean, as not every trial has a finite final_loss." in notes(table)


@dataclass(frozen=True)
class Steep(Workload):
    """Loss x^4 / 4: from 1, steps of 0.1 x^3 lead to 0; from afar, away from it."""

    n_rows = 2
    far: float = 100.0

    def initial(self, rng):
        return np.array([self.far if rng.random() < 0.5 else 1.0])

    def gradient(self, parameters, rows):
        return len(np.arange(2)[rows]) * parameters**3

    def loss(self, parameters):
        return float(parameters[0] ** 4 / 4)


def test_a_model_that_diverges_leaves_the_others_alone():
    given = scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Steep(), learning_rate=0.1), jobs=80)
    results = stragglersim.run(given)
    begins = [curve(results, "GC", model)[0] for model in range(4)]
    assert set(begins) == {0.25, 0.25e8}
    for model, begin in enumerate(begins):
        if begin == 0.25:
            plain = descent(Steep(), 20, 0.1, np.ones(1))
            np.testing.assert_allclose(curve(results, "GC", model), plain, rtol=1e-6)
        else:
            assert curve(results, "GC", model)[-1] == np.inf
            assert len(curve(results, "GC", model)) < 10
    untrained = stragglersim.run(dataclasses.replace(given, training=None))
    pd.testing.assert_frame_equal(results.jobs, untrained.jobs)


def test_gradients_too_long_for_a_number_have_no_error():
    @dataclass(frozen=True)
    class Slope(Steep):
        def gradient(self, parameters, rows):
            return np.full(1, 1e160) * len(np.arange(2)[rows])  # its square is beyond all numbers

        def loss(self, parameters):
            return float(1e160 * parameters[0])

    results = stragglersim.run(
        scenario({"GC": EXACT_SCHEMES["GC"]}, Training(workload=Slope(far=1.0), learning_rate=1e-160))
    )
    assert curve(results, "GC")[-1] == pytest.approx(-9e160)
    assert results.training["gradient_error"].isna().all()
    assert results.runs[["gradient_error_mean", "worst_residual"]].isna().all(axis=None)


def test_a_loss_that_is_no_number_from_the_beginning_is_told():
    training = Training(workload=Steep(far=1e90), learning_rate=0.1)
    with pytest.raises(SimulationError, match=r"model \d: its loss must be finite at the beginning, got inf"):
        stragglersim.run(scenario({"GC": EXACT_SCHEMES["GC"]}, training))
