"""Partial gradient coding: assignments, orderings, recovery, and the published experiments in small."""

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import PartialGradientCoding
from schemes.assignment import (
    ASSIGNMENTS,
    BernoulliAssignment,
    Cyclic,
    FileAssignment,
    Fractional,
    RandomRegular,
)
from schemes.base.block_decoder import decoder
from schemes.ordering import (
    ORDERINGS,
    BestOfRandom,
    FileOrdering,
    Matching,
    Natural,
    RandomOrdering,
    q_bound,
    q_max,
    q_of_chunks,
)
from schemes.testing import check_scheme
from simulator.engine.master_rules import FirstEnough, FixedTime, MuRule
from straggler_models import FailedWorkers, ShiftedExponential, Trace
from stragglersim import Scenario, ScenarioError

RNG = np.random.default_rng(0)


def scenario(scheme, **changes):
    """The paper's times: Exp(1) seconds for each chunk of a worker."""
    n_chunks = len(scheme.held)
    given = {
        "workers": scheme.n_workers,
        "jobs": 30,
        "stragglers": {"speed": ShiftedExponential(shift=0.0, mean=float(n_chunks), adds_to="seconds_per_load")},
        "schemes": {"it": scheme},
    }
    return Scenario(**(given | changes))


# --- assignments ---


@pytest.mark.parametrize(
    ("assignment", "n_workers"),
    [(Cyclic(4), 9), (Fractional(3), 9), (RandomRegular(4), 11), (RandomRegular(8), 60)],
    ids=repr,
)
def test_regular_assignments_are_regular(assignment, n_workers):
    held = assignment.matrix(n_workers, np.random.default_rng(3))
    delta = assignment.chunks_per_worker
    assert held.shape == (n_workers, n_workers)
    assert set(held.sum(axis=0)) == set(held.sum(axis=1)) == {delta}
    if isinstance(assignment, RandomRegular):
        assert (held == held.T).all()
        assert not held.diagonal().any()


def test_a_bernoulli_assignment_covers_everything_and_has_its_density():
    held = BernoulliAssignment(p=0.1).matrix(200, np.random.default_rng(3))
    assert held.mean() == pytest.approx(0.1, abs=0.005)
    thin = BernoulliAssignment(p=0.001).matrix(50, np.random.default_rng(3))
    assert thin.any(axis=0).all()
    assert thin.any(axis=1).all()


def test_assignments_and_orderings_are_drawn_once_from_the_seed():
    draws = [
        PartialGradientCoding(12, assignment=RandomRegular(4), ordering=RandomOrdering(), seed=seed).placement.positions
        for seed in (1, 1, 2)
    ]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


SHARED = Path(__file__).parents[2] / "shared" / "assignments"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published assignments are not part of the project: no {SHARED}")
@pytest.mark.parametrize(
    ("name", "n", "second", "rank"),
    [
        ("regular-graph-200-8", 200, 5.1397, 200),
        ("regular-graph-300-8", 300, 5.2267, 300),
        ("cyclic-200-8", 200, 7.9793, 193),
    ],
)
def test_published_assignments_load_and_have_their_statistics(name, n, second, rank):
    held = FileAssignment(path=str(SHARED / f"{name}.csv")).matrix(n, RNG)
    assert (held == (np.load(SHARED / "assignments.npz")[name] > 0)).all()
    assert set(held.sum(axis=0)) == set(held.sum(axis=1)) == {8}
    singular = np.linalg.svd(held.astype(float), compute_uv=False)
    assert singular[1] == pytest.approx(second, abs=5e-5)
    assert np.linalg.matrix_rank(held.astype(float)) == rank
    positions = Matching().positions(held, RNG)
    assert set(positions.sum(axis=1)) == {36}
    assert q_max(positions) == (n - 8) * 8 - 8 + 1 + 36
    if name.startswith("cyclic"):
        assert (held == Cyclic(8).matrix(200, RNG)).all()


# --- orderings ---


@given(st.integers(2, 60), st.integers(1, 10), st.sampled_from(["cyclic", "regular"]), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_matching_reaches_the_optimal_row_sum_on_regular_assignments(m, delta, kind, seed):
    delta = min(delta, m - 1)
    if kind == "regular" and m * delta % 2:
        delta -= 1
    if not delta:
        return
    assignment = Cyclic(delta) if kind == "cyclic" else RandomRegular(delta)
    held = assignment.matrix(m, np.random.default_rng(seed))
    positions = Matching().positions(held, RNG)
    assert ((positions > 0) == held).all()
    assert (np.arange(1, delta + 1) == np.sort(positions, axis=0)[-delta:].T).all()
    assert set(positions.sum(axis=1)) == {delta * (delta + 1) // 2}
    assert q_max(positions) == q_bound(held) == (m - delta) * delta - delta + 1 + delta * (delta + 1) // 2


def brute_force_q_max(positions, copies):
    """Largest number of computations after which some chunk may still lack a copy, plus 1; over all states."""
    sizes = (positions > 0).sum(axis=0)
    worst = 0
    for state in itertools.product(*(range(size + 1) for size in sizes)):
        finished = ((positions > 0) & (positions <= np.array(state))).sum(axis=1)
        if (finished < copies).any():
            worst = max(worst, sum(state))
    return worst + 1


@given(st.integers(2, 4), st.integers(2, 4), st.integers(1, 3), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_q_max_is_that_of_brute_force_and_no_ordering_is_below_the_bound(n_chunks, m, copies, seed):
    rng = np.random.default_rng(seed)
    held = rng.random((n_chunks, m)) < 0.7
    held[:, rng.integers(m)] = True
    copies = min(copies, int(held.sum(axis=1).min()))
    for ordering in (Matching(), Natural(), RandomOrdering(), BestOfRandom(k=3)):
        positions = ordering.positions(held, rng)
        assert ((positions > 0) == held).all()
        expected = [np.arange(1, size + 1).tolist() for size in held.sum(axis=0)]
        assert [sorted(p for p in column if p) for column in positions.T.tolist()] == expected
        assert q_max(positions, copies) == brute_force_q_max(positions, copies)
        assert q_max(positions, copies) >= q_bound(held, copies)


def test_the_cyclic_assignment_has_the_published_q_max():
    held = Cyclic(8).matrix(200, RNG)
    assert (q_max(Matching().positions(held, RNG)), q_max(Natural().positions(held, RNG))) == (1565, 1593)
    shifts = np.where(held, (np.arange(200)[:, np.newaxis] - np.arange(200)) % 200 + 1, 0)  # chunk w + p - 1 at p
    assert q_max(shifts) == 1565


def test_the_matching_is_not_always_optimal_for_two_copies():
    """8 workers with the same 8 chunks: swapping at random finds an ordering that is one better."""
    held = np.ones((8, 8), dtype=bool)
    positions = Matching().positions(held, RNG)
    assert q_max(positions, 2) == 8 + 28 + 1
    rng = np.random.default_rng(0)
    best = np.sort(q_of_chunks(positions, 2))[::-1].tolist()
    for _ in range(20_000):
        swapped = positions.copy()
        one, other, worker = rng.integers(8, size=3)
        swapped[[one, other], worker] = swapped[[other, one], worker]
        q = np.sort(q_of_chunks(swapped, 2))[::-1].tolist()
        if q <= best or (rng.random() < 0.02 and q[0] <= 38):
            positions, best = swapped, q
        if best[0] < 37:
            break
    assert q_bound(held, 2) <= best[0] < 37


def test_irregular_assignments_come_close_to_the_averaging_bound():
    for seed in range(3):
        held = BernoulliAssignment(p=0.08).matrix(60, np.random.default_rng(seed))
        heuristic, bound = q_max(Matching().positions(held, RNG)), q_bound(held)
        drawn = q_max(BestOfRandom(k=50).positions(held, np.random.default_rng(1)))
        assert bound <= heuristic <= drawn


def test_on_a_dense_irregular_assignment_the_heuristic_beats_the_best_of_many():
    for seed in range(3):
        held = BernoulliAssignment(p=0.3).matrix(30, np.random.default_rng(seed))
        heuristic, bound = q_max(Matching().positions(held, RNG)), q_bound(held)
        drawn = q_max(BestOfRandom(k=200).positions(held, np.random.default_rng(1)))
        assert bound <= heuristic < drawn


def test_every_ordering_fits_every_assignment():
    for name in ASSIGNMENTS:
        if name == "file":
            continue
        assignment = BernoulliAssignment(p=0.4) if name == "bernoulli" else ASSIGNMENTS[name](chunks_per_worker=3)
        held = assignment.matrix(12, np.random.default_rng(2))
        for ordering in (Matching(), Natural(), RandomOrdering(), BestOfRandom(k=2)):
            assert ((ordering.positions(held, RNG) > 0) == held).all()
    assert set(ORDERINGS) == {"best_of_random", "file", "matching", "natural", "random"}


# --- the scheme ---

SMALL = [
    PartialGradientCoding(6, assignment=Cyclic(3)),
    PartialGradientCoding(6, assignment=Cyclic(3), blocks=2),
    PartialGradientCoding(6, assignment=Fractional(2), ordering=Natural()),
    PartialGradientCoding(6, assignment=BernoulliAssignment(p=0.4), ordering=RandomOrdering(), seed=4),
    PartialGradientCoding(6, assignment=Cyclic(3), blocks=3, credit="whole_list"),
]


@pytest.mark.parametrize("scheme", SMALL, ids=repr)
def test_partial_coding_keeps_the_contract(scheme):
    check_scheme(scheme)


def test_by_hand():
    """Cyclic on 3 workers, 2 chunks each, worker w does chunk w first: times per chunk 1, 2 and 10 s."""
    rates = [3.0, 6.0, 30.0]  # seconds for load 1, three chunks
    for blocks, closes in [(1, 2.0 * 2), (2, 20.0)]:
        scheme = PartialGradientCoding(3, assignment=Cyclic(2), blocks=blocks)
        lists = scheme.placement.lists
        assert [sorted(chunks) for chunks in lists] == [[0, 1], [1, 2], [0, 2]]
        done = {(w, c): (rates[w] / 3) * (p + 1) for w, chunks in enumerate(lists) for p, c in enumerate(chunks)}
        expected = max(sorted(at for (w, c), at in done.items() if c == chunk)[blocks - 1] for chunk in range(3))
        record = replay(scheme, [rates], FirstEnough())
        assert record.rounds["duration_s"].tolist() == pytest.approx([expected])
        assert expected <= closes


def replay(scheme, rows, rule, **changes):
    """Run on given seconds per load of each worker in each round."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "times.csv"
        lines = [f"{r},{w},{value}" for r, row in enumerate(rows) for w, value in enumerate(row)]
        path.write_text("\n".join(["round,worker,seconds_per_load", *lines]))
        given = {"jobs": len(rows), "stragglers": {"t": Trace(path=str(path))}, "master": rule}
        return stragglersim.run(scenario(scheme, **(given | changes)))


@given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from(["prefix", "whole_list"]))
@settings(deadline=None, max_examples=25)
def test_completion_is_an_order_statistic_of_each_chunk(seed, blocks, credit):
    """The closed form: the latest chunk's `blocks`-th finisher; position p is done at s * p."""
    rng = np.random.default_rng(seed)
    scheme = PartialGradientCoding(
        10, assignment=RandomRegular(4), ordering=RandomOrdering(), blocks=blocks, credit=credit, seed=int(seed % 97)
    )
    per_chunk = rng.exponential(1.0, (4, 10))
    per_chunk[rng.random((4, 10)) < 0.1] = math.inf
    results = replay(scheme, (per_chunk * 10).tolist(), FirstEnough(timeout_s=1e9))
    positions = scheme.placement.positions if credit == "prefix" else np.where(scheme.held, 4, 0)
    for s, duration, status in zip(per_chunk, results.rounds["duration_s"], results.jobs["status"], strict=True):
        done = np.sort(
            np.where(positions > 0, np.where(np.isinf(s), math.inf, s * np.maximum(positions, 1)), math.inf), axis=1
        )
        closes = done[:, blocks - 1].max()
        assert status == ("decoded" if closes < 1e9 else "failed")
        assert duration == pytest.approx(min(closes, 1e9), rel=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 3), st.floats(0.5, 12))
@settings(deadline=None, max_examples=25)
def test_the_squared_error_is_the_copies_that_lack_and_the_residual_of_the_coefficients(seed, blocks, time_s):
    rng = np.random.default_rng(seed)
    scheme = PartialGradientCoding(12, assignment=Cyclic(4), ordering=RandomOrdering(), blocks=blocks, seed=3)
    per_chunk = rng.exponential(1.0, (3, 12))
    results = replay(scheme, (per_chunk * 12).tolist(), FixedTime(time_s=time_s))
    positions = scheme.placement.positions
    for s, job, row in zip(per_chunk, results.jobs.itertuples(), results.rounds.itertuples(), strict=True):
        work_s = 1.0 * (0.0 + (s * 12) * (np.arange(1, 5)[:, np.newaxis] / 12))  # as the engine computes it
        due = np.where(positions > 0, work_s[np.maximum(positions, 1) - 1, np.arange(12)], math.inf)
        finished = due <= row.duration_s
        lacking = np.maximum(0, blocks - finished.sum(axis=1)).sum()
        assert job.squared_error == pytest.approx(lacking, abs=1e-9)
        assert job.status == ("approximate" if lacking else "decoded")
        code = decoder(finished, rng.standard_normal((finished.shape[1], blocks)))
        assert squared_residual(code) == pytest.approx(lacking, abs=1e-9)


def squared_residual(code):
    """||R^T X - 1 kron I||^2."""
    products = np.einsum("wv,cuw->cuv", code.random, code.coefficients)
    return np.sum((products - np.eye(code.random.shape[1])) ** 2)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_real_gradients_are_recovered_at_the_size_of_the_paper(blocks):
    rng = np.random.default_rng(blocks)
    scheme = PartialGradientCoding(200, assignment=RandomRegular(8), blocks=blocks)
    finished = scheme.placement.positions * rng.exponential(1.0, 200) <= 4.0
    finished &= scheme.held
    for chunk in np.flatnonzero(finished.sum(axis=1) < blocks):  # a few more, so that it is recoverable
        finished[chunk, np.flatnonzero(scheme.held[chunk])[:blocks]] = True
    code = decoder(finished, rng.standard_normal((finished.shape[1], blocks)))
    gradients = rng.standard_normal((200, 6 * blocks))
    recovered = code.gradient(code.encoding_matrix @ gradients.reshape(200 * blocks, -1))
    exact = gradients.sum(axis=0)
    assert np.linalg.norm(recovered - exact) / np.linalg.norm(exact) < 1e-9
    assert squared_residual(code) < 1e-18 * 200 * blocks * code.condition**2 + 1e-20
    assert 1 <= code.condition < 1e7


def test_the_baseline_under_a_fixed_time_has_the_least_squares_error():
    scheme = PartialGradientCoding(6, assignment=Cyclic(3), credit="whole_list")
    rows = [[2.0, 2.0, 9.0, 2.0, 9.0, 9.0]]
    results = replay(scheme, rows, FixedTime(time_s=1.0))
    responses = scheme.held[:, [0, 1, 3]].astype(float)
    weights = np.linalg.lstsq(responses, np.ones(6), rcond=None)[0]
    assert results.jobs["squared_error"][0] == pytest.approx(((responses @ weights - 1) ** 2).sum())
    assert results.jobs["status"][0] in ("approximate", "decoded")


def test_coverage_is_enough_for_the_baseline_where_the_master_waits_and_no_exact_estimate_where_it_does_not():
    """Workers 0, 2 and 3 of 5 hold all chunks, but no weights of their plain sums give all ones."""
    scheme = PartialGradientCoding(5, assignment=Cyclic(2), credit="whole_list")
    rows = [[2.5, 9.0, 2.5, 2.5, 9.0]]  # two chunks of load 1/5 take 1 s
    waits = replay(scheme, rows, FirstEnough())
    assert (waits.jobs["status"][0], waits.rounds["duration_s"][0]) == ("decoded", 1.0)
    takes = replay(scheme, rows, FixedTime(time_s=1.0))
    responses = scheme.held[:, [0, 2, 3]].astype(float)
    weights = np.linalg.lstsq(responses, np.ones(5), rcond=None)[0]
    assert takes.jobs["squared_error"][0] == pytest.approx(((responses @ weights - 1) ** 2).sum())
    assert takes.jobs["status"][0] == "approximate"


@pytest.mark.parametrize(("time_s", "published"), [(3.0, 5.884), (6.0, 3.448), (12.0, 1.513)])
def test_the_published_error_of_the_baseline_is_met_within_sampling_error(time_s, published):
    """Ours on a random regular graph of our own; the mean of the norm over 1000 trials of theirs."""
    scheme = PartialGradientCoding(200, assignment=RandomRegular(8), credit="whole_list")
    model = scenario(scheme).stragglers | {"failed": FailedWorkers(count=7, drawn="per_round")}
    jobs = stragglersim.run(scenario(scheme, stragglers=model, jobs=60, master=FixedTime(time_s=time_s))).jobs
    norms = np.sqrt(jobs["squared_error"])
    assert abs(norms.mean() - published) < 4 * norms.std() / math.sqrt(60)


def test_the_baseline_with_several_blocks_is_refused_where_it_is_undefined():
    scheme = PartialGradientCoding(6, assignment=Cyclic(3), credit="whole_list", blocks=2)
    for rule in (FixedTime(time_s=1.0), MuRule(wait_for="nobody")):
        with pytest.raises(ScenarioError, match=r"schemes.it: needs a master that waits .* blocks: 1 only"):
            scenario(scheme, master=rule)
    scenario(scheme, master=FixedTime(time_s=1.0, wait_for="enough"))


def test_a_job_that_can_never_be_recovered_fails_and_the_run_goes_on():
    scheme = PartialGradientCoding(4, assignment=Cyclic(2))
    rows = [[4.0, math.inf, math.inf, 4.0], [4.0, 4.0, math.inf, 4.0]]  # chunk 2 is on workers 1 and 2
    results = replay(scheme, rows, FirstEnough(timeout_s=50.0))
    assert results.jobs["status"].tolist() == ["failed", "decoded"]
    assert results.rounds["duration_s"][0] == 50.0


@pytest.mark.parametrize(
    ("blocks", "credit", "ordering", "polled", "continuous"),
    [
        (1, "whole_list", Matching(), 6.000, 5.495),
        (1, "prefix", Matching(), 2.772, 2.281),
        (1, "prefix", RandomOrdering(), 3.274, 2.789),
        (2, "whole_list", Matching(), 8.673, 8.173),
        (2, "prefix", Matching(), 4.248, 3.743),
        (2, "prefix", RandomOrdering(), 5.030, 4.513),
    ],
)
def test_published_means_are_met_within_sampling_error(blocks, credit, ordering, polled, continuous):
    """Cyclic 200, delta 8, delta - l failed workers; ours against the published means, at both clocks."""
    scheme = PartialGradientCoding(200, assignment=Cyclic(8), ordering=ordering, blocks=blocks, credit=credit)
    model = scenario(scheme).stragglers | {"failed": FailedWorkers(count=8 - blocks, drawn="per_round")}
    for poll_s, published in [(1.0, polled), (None, continuous)]:
        rule = FirstEnough(timeout_s=1e6, poll_s=poll_s)
        durations = stragglersim.run(scenario(scheme, stragglers=model, jobs=250, master=rule, seed=8)).rounds[
            "duration_s"
        ]
        # theirs are means of 1000 trials
        error = math.hypot(durations.std() / math.sqrt(250), durations.std() / math.sqrt(1000))
        assert abs(durations.mean() - published) < 3 * error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker,chunk\n0,0\n", "assignment.path must be for 2 workers, got 1"),
        ("worker,chunk\n0,0\n1,5\n", "each of the 6 chunks has a worker, got 2"),
        ("worker,chunk\n0,zero\n", "with the columns worker, chunk, all counts"),
        ("worker\n0\n", "with the columns worker, chunk, all counts"),
        ("worker,chunk\n", "at least one row"),
        ("worker,chunk\n0,99999999999999999999\n", r"\(row 1: chunk = '99999999999999999999'\)"),
        ("worker,chunk\n0,0\n0,-1\n", r"all counts from 0, got .*\(row 2: chunk = '-1'\)"),
    ],
)
def test_malformed_assignment_files_are_refused(tmp_path, text, message):
    path = tmp_path / "assignment.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        PartialGradientCoding(2, assignment=FileAssignment(path=str(path)))


def test_an_ordering_file_is_used_and_checked(tmp_path):
    path = tmp_path / "ordering.csv"
    rows = [(w, (w + p) % 4, p + 1) for w in range(4) for p in (0, 1)]
    path.write_text("\n".join(["worker,chunk,position", *(f"{w},{c},{p}" for w, c, p in rows)]))
    scheme = PartialGradientCoding(4, assignment=Cyclic(2), ordering=FileOrdering(path=str(path)))
    assert all(scheme.placement.positions[c, w] == p for w, c, p in rows)
    assert q_of_chunks(scheme.placement.positions).tolist() == [2 * 2 + 1 + 1] * 4
    with pytest.raises(ValueError, match=r"ordering.path must name an ordering of the assignment"):
        PartialGradientCoding(4, assignment=Cyclic(3), ordering=FileOrdering(path=str(path)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PartialGradientCoding(4, assignment=Cyclic(5)),
            "assignment.chunks_per_worker must be between 1 and 4",
        ),
        (lambda: PartialGradientCoding(4, assignment=Cyclic(2), blocks=3), "blocks must be between 1 and 2"),
        (lambda: PartialGradientCoding(5, assignment=Fractional(2)), "assignment.chunks_per_worker must divide"),
        (lambda: PartialGradientCoding(5, assignment=RandomRegular(3)), "must be even for 5 workers, got 3"),
        *[
            (
                lambda n=n, delta=delta: PartialGradientCoding(n, assignment=RandomRegular(delta)),
                f"^1 validation.*\\n.*chunks_per_worker must be below the number of workers, {n}, got {delta}",
            )
            for n, delta in [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3), (4, 4), (4, 5), (4, 9)]
        ],
        (lambda: PartialGradientCoding(5, assignment=3), "Assignment"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_random_regular_assignment_is_regular_whether_sparse_or_dense():
    for copies in range(1, 8):
        held = RandomRegular(chunks_per_worker=copies).matrix(8, np.random.default_rng(copies))
        assert (held.sum(axis=0) == copies).all()
        assert not held.diagonal().any()
