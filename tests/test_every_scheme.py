"""Every scheme against the contract, its claims, and a second implementation that shares no code with it."""

import itertools
import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from patterns import is_arbitrary, is_bursty

import examples
from schemes import (
    SCHEMES,
    Adaptive,
    ApproximateScheme,
    BernoulliGradientCoding,
    BibdGradientCoding,
    Closing,
    ExpanderGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    LinearScheme,
    Multiplexed,
    PartialGradientCoding,
    SelectiveRepeat,
    Uncoded,
)
from schemes.base.playing import play
from schemes.base.work import Heard
from schemes.testing import check_scheme


@pytest.mark.parametrize("scheme", examples.SCHEMES, ids=repr)
def test_every_scheme_keeps_the_contract(scheme):
    check_scheme(scheme)


def test_the_examples_cover_the_table():
    assert {type(scheme) for scheme in examples.SCHEMES} == set(SCHEMES.values())


@pytest.mark.parametrize("scheme", examples.SCHEMES, ids=repr)
@pytest.mark.parametrize("seed", range(10))
def test_what_is_enough_does_not_depend_on_how_often_one_asks(scheme, seed):
    """One session is asked at each arrival, the other at the last one only: rounds are stopped anywhere."""
    rng = np.random.default_rng(seed)
    asked, silent = (scheme.start(12, np.random.default_rng(0)) for _ in range(2))
    for index in range(asked.n_rounds):
        work, _ = asked.open_round(index), silent.open_round(index)
        missing, n_heard, heard = work.busy.copy(), np.zeros(scheme.n_workers, dtype=int), []
        arrivals = rng.permutation(np.nonzero(work.reporting)[0])
        for worker in arrivals[: rng.integers(len(arrivals) // 2, len(arrivals) + 1)].tolist():
            heard.append((worker, int(n_heard[worker])))
            asked.receive(*heard[-1])
            silent.receive(*heard[-1])
            asked.enough()
            missing[worker] = n_heard[worker] < work.last_report[worker]
            n_heard[worker] += 1
        assert asked.enough() == silent.enough()
        closing = Closing(missing, forced=not silent.enough(), heard=Heard.of(heard))
        assert repr(asked.close_round(closing)) == repr(silent.close_round(closing))


# --- patterns that the schemes claim to tolerate ---


def all_patterns(n_workers, n_rounds, is_claimed):
    """All straggler patterns with the property, grown round by round: prefixes of one that has it have it too."""
    prefixes = [np.zeros((0, n_workers), dtype=bool)]
    rows = [np.array(row, dtype=bool) for row in itertools.product([0, 1], repeat=n_workers)]
    for _ in range(n_rounds):
        prefixes = [longer for prefix in prefixes for row in rows if is_claimed(longer := np.vstack([prefix, row]))]
    return prefixes


def survives(scheme, pattern, n_jobs):
    outcomes, accepted = play(scheme, n_jobs, lambda index, busy: pattern[index])
    return all(accepted) and all(outcome.status == "decoded" for outcome in outcomes)


@pytest.mark.parametrize(("n", "B", "W"), examples.SMALL_WINDOWS)
@pytest.mark.parametrize("accepts", ["pattern", "recoverable"])
def test_multiplexed_survives_all_patterns_that_it_claims(n, B, W, accepts):
    for lam in range(n + 1):
        schemes = [Multiplexed(n, B=B, W=W, lam=lam, accepts=accepts)]
        if lam == n or n % (lam + 1) == 0:
            schemes.append(Multiplexed(n, B=B, W=W, lam=lam, code="fractional_repetition", accepts=accepts))
        n_rounds = {2: 5, 3: 3}[n]
        n_jobs = max(1, n_rounds - schemes[0].delay_rounds)
        n_rounds = n_jobs + schemes[0].delay_rounds
        if n_rounds > {2: 6, 3: 4}[n]:
            continue

        def is_claimed(S, lam=lam):
            return is_bursty(S, B, W, lam) or is_arbitrary(S, B, W + B - 1, lam)

        for scheme, pattern in itertools.product(schemes, all_patterns(n, n_rounds, is_claimed)):
            assert survives(scheme, pattern, n_jobs), (scheme, pattern.astype(int))


@pytest.mark.parametrize(("n", "B", "W"), [(n, B, W) for n, B, W in examples.SMALL_WINDOWS if (W - 1) % B == 0])
@pytest.mark.parametrize("accepts", ["pattern", "recoverable"])
def test_selective_repeat_survives_all_patterns_that_it_claims(n, B, W, accepts):
    n_rounds = max({2: 5, 3: 3}[n], B + 1)
    n_jobs = n_rounds - B
    for lam in range(n + 1):
        s = math.ceil(lam / ((W - 1) // B + 1))
        if s >= n:
            continue

        def is_claimed(S, lam=lam, s=s):
            return all(
                is_bursty(window, B, W, lam) or (window.sum(axis=1) <= s).all()
                for window in (S[max(0, end - W) : end] for end in range(1, len(S) + 1))
            )

        codes = ["gradient_coding"] + ["fractional_repetition"] * (n % (s + 1) == 0)
        for code, pattern in itertools.product(codes, all_patterns(n, n_rounds, is_claimed)):
            scheme = SelectiveRepeat(n, B=B, W=W, lam=lam, code=code, accepts=accepts)
            assert survives(scheme, pattern, n_jobs), (scheme, pattern.astype(int))


@pytest.mark.parametrize("scheme", [GradientCoding(5, s=2), FractionalRepetition(6, s=2), Uncoded(4)], ids=repr)
def test_memoryless_codes_survive_exactly_what_the_matrix_can_decode(scheme):
    matrix = scheme.encoding_matrix()
    for row in itertools.product([False, True], repeat=scheme.n_workers):
        missing = np.array(row)
        responses = matrix[~missing]
        rank = np.linalg.matrix_rank(responses) if len(responses) else 0
        spans = len(responses) > 0 and np.linalg.matrix_rank(np.vstack([responses, np.ones(len(matrix))])) == rank
        assert survives(scheme, missing[np.newaxis], 1) == spans


@given(examples.conforming_patterns())
@settings(deadline=None, max_examples=150)
def test_sequential_schemes_survive_random_patterns_that_they_claim(case):
    scheme, pattern, n_jobs = case
    assert survives(scheme, pattern, n_jobs)


def test_a_burst_as_long_as_the_window_breaks_multiplexing():
    """Why B < W is required: with B = W the same workers straggle in every round."""
    with pytest.raises(ValueError, match=r"B must be between 1 and W - 1 = 1, got 2"):
        Multiplexed(4, B=2, W=2, lam=1)
    everybody_always = np.ones((6, 1), dtype=bool)
    assert is_bursty(everybody_always, B=2, W=2, lam=1)


# --- the predicates against their definition ---


@given(st.integers(1, 4), st.integers(1, 7), st.data())
@settings(deadline=None)
def test_patterns_are_what_their_definition_says(n, n_rounds, data):
    rows = data.draw(st.lists(st.integers(0, 2**n - 1), min_size=n_rounds, max_size=n_rounds))
    S = np.array([[row >> i & 1 for i in range(n)] for row in rows], dtype=bool)
    history = [set(np.flatnonzero(row).tolist()) for row in S]
    W = data.draw(st.integers(1, 5))
    B, lam = data.draw(st.integers(1, W)), data.draw(st.integers(0, n))
    assert is_bursty(S, B, W, lam) == reference.bursty(history, B, W, lam)
    assert is_arbitrary(S, B, W, lam) == reference.arbitrary(history, B, W, lam)
    late_is_forbidden = not any(
        S[r, i] and S[r + d, i] for r in range(n_rounds) for i in range(n) for d in range(B, W) if r + d < n_rounds
    )
    assert is_bursty(S, B, W, n) == late_is_forbidden


# --- the two acceptance rules ---


@st.composite
def sequential_schemes(draw):
    n = draw(st.integers(2, 7))
    B = draw(st.integers(1, 3))
    if draw(st.booleans()):
        W, lam = draw(st.integers(B + 1, 5)), draw(st.integers(0, n))
        kind = Multiplexed
        divides = lam == n or n % (lam + 1) == 0
    else:
        W, lam = B * draw(st.integers(1, 2)) + 1, draw(st.integers(0, n - 1))
        kind = SelectiveRepeat
        divides = n % (math.ceil(lam / ((W - 1) // B + 1)) + 1) == 0
    code = draw(st.sampled_from(["gradient_coding"] + ["fractional_repetition"] * divides))
    return kind, {"n_workers": n, "B": B, "W": W, "lam": lam, "code": code}


@given(sequential_schemes(), st.integers(0, 2**32), st.floats(0, 0.6))
@settings(deadline=None, max_examples=150)
def test_recoverable_is_never_the_first_to_wait(case, seed, p):
    """Given the same accepted history, whatever `pattern` accepts, `recoverable` accepts."""
    kind, parameters = case
    rng = np.random.default_rng(seed)
    strict, weak = (kind(**parameters, accepts=accepts) for accepts in ("pattern", "recoverable"))
    sessions = [scheme.start(10, np.random.default_rng(0)) for scheme in (strict, weak)]
    for index in range(sessions[0].n_rounds):
        works = [session.open_round(index) for session in sessions]
        busy = works[0].busy
        assert (busy == works[1].busy).all()
        missing = (rng.random(len(busy)) < p) & busy
        for session in sessions:
            for worker in np.flatnonzero(busy & ~missing):
                session.receive(int(worker), 0)
        assert sessions[1].enough() or not sessions[0].enough()
        if not sessions[0].enough():  # the strict one waits for all, and so do both
            for session in sessions:
                for worker in np.flatnonzero(missing):
                    session.receive(int(worker), 0)
            missing[:] = False

        for session in sessions:
            assert all(outcome.status == "decoded" for outcome in session.close_round(Closing(missing, forced=False)))


# --- numbers ---


def test_worked_values_of_the_paper():
    assert (Multiplexed(4, B=2, W=3, lam=2).delay_rounds, Multiplexed(4, B=2, W=3, lam=2).load) == (3, 0.375)
    assert Multiplexed(256, B=1, W=2, lam=27).load == pytest.approx(56 / 7424, rel=1e-15)
    assert Multiplexed(256, B=1, W=2, lam=27).delay_rounds == 1
    repeat = SelectiveRepeat(256, B=2, W=3, lam=23)
    assert (repeat.s, repeat.delay_rounds, repeat.load) == (12, 2, 13 / 256)
    assert GradientCoding(256, s=15).load == 0.0625
    small = SelectiveRepeat(4, B=1, W=2, lam=2)
    assert (small.s, small.load) == (1, 0.5)


@pytest.mark.parametrize("lam", [6, 7])
def test_multiplexed_meets_the_lower_bound_where_almost_everybody_may_straggle(lam):
    for B, W in [(1, 2), (2, 3), (2, 6), (4, 5)]:
        scheme = Multiplexed(7, B=B, W=W, lam=lam)
        assert scheme.load == pytest.approx(scheme.load_bound, rel=1e-12)


def test_load_tends_to_the_uncoded_one_as_the_window_grows():
    loads = [Multiplexed(10, B=2, W=W, lam=4).load for W in (3, 10, 100, 1000)]
    assert loads == sorted(loads, reverse=True)
    assert loads[-1] == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(
    "scheme",
    # one that chooses has the load of what it has chosen
    [one for one in examples.SCHEMES if not isinstance(one, Adaptive | PartialGradientCoding) and one.n_workers > 1],
    ids=repr,
)
def test_the_load_formula_is_what_counting_chunks_gives(scheme):
    """Design load = chunks that a worker touches in a round in the middle of a run, by size."""
    session = scheme.start(3 * scheme.delay_rounds + 3, np.random.default_rng(0))
    sizes = scheme.chunk_loads()
    seen = []
    for index in range(2 * scheme.delay_rounds + 1):
        work = session.open_round(index)
        lists = [session.tasks(worker) for worker in range(scheme.n_workers)]
        seen = [sum(sizes[list(task.chunks)].sum() for task in tasks) for tasks in lists]

        straggler = np.zeros(scheme.n_workers, dtype=bool)
        for worker, report in np.argwhere(work.reporting).tolist():
            session.receive(worker, report)
        session.close_round(Closing(straggler, forced=False))
    if isinstance(scheme, Multiplexed) and not scheme.is_coded:
        assert max(seen) == pytest.approx(scheme.load * (scheme.W - 1) / scheme.n_slots)  # late slots are empty
    else:
        assert max(seen) == pytest.approx(scheme.load)


def test_multiplexed_touches_every_chunk_of_a_job():
    scheme = Multiplexed(5, B=2, W=3, lam=2)
    session = scheme.start(1, np.random.default_rng(0))
    touched = []
    for index in range(session.n_rounds):
        work = session.open_round(index)
        touched += [chunk for worker in range(5) for task in session.tasks(worker) for chunk in task.chunks]
        for worker in np.flatnonzero(work.busy):
            session.receive(int(worker), 0)

        session.close_round(Closing(np.zeros(5, dtype=bool), forced=False))
    counts = np.bincount(touched)
    assert counts[:10].tolist() == [1] * 10  # D1: each chunk on one worker
    assert counts[10:].tolist() == [3] * 10  # D2: each chunk on lam + 1 workers


def test_the_cyclic_code_decodes_at_the_size_of_the_paper():
    code = GradientCoding(256, s=27)
    rng = np.random.default_rng(4)
    residuals = []
    for _ in range(5):
        finished = rng.permutation(256)[: 256 - 27]
        weights = code.decode(finished.tolist())
        residuals.append(np.abs(weights @ code.encoding_matrix()[finished] - 1).max())
    burst = [i for i in range(256) if not 100 <= i < 127]
    residuals.append(np.abs(code.decode(burst) @ code.encoding_matrix()[burst] - 1).max())
    assert max(residuals) < 1e-6


def test_fastest_k_reports_the_error_of_its_estimate():
    scheme = FastestK(10, k=4)
    estimate = np.zeros(10)
    estimate[[1, 2, 7, 9]] = 10 / 4
    missing = estimate == 0
    assert scheme.squared_error(missing, enough=True) == pytest.approx(((estimate - 1) ** 2).sum())
    assert scheme.squared_error(np.zeros(10, dtype=bool), enough=True) == pytest.approx(10 * 6 / 4)
    assert scheme.squared_error(np.arange(10) > 1, enough=False) == pytest.approx(10 * 8 / 2)
    assert scheme.squared_error(np.ones(10, dtype=bool), enough=False) is None


class Parity(LinearScheme):
    """A code with no closed form of its own: a user's matrix, decided by its rank."""

    def __init__(self) -> None:
        self.n_workers = 3

    def encoding_matrix(self):
        return np.array([[0.5, 1.0, 0.0], [0.0, 1.0, -1.0], [0.5, 0.0, 1.0]])


def test_a_code_that_gives_only_its_matrix_is_decided_by_rank():
    scheme = Parity()
    for finished in itertools.chain.from_iterable(itertools.combinations(range(3), k) for k in range(1, 4)):
        session = scheme.start(1, np.random.default_rng(0))
        session.open_round(0)
        for worker in finished:
            session.receive(worker, 0)
        assert session.enough() == (len(finished) >= 2) == (scheme.decode(finished) is not None)


@pytest.mark.parametrize("q", [2, 3, 5])
def test_the_error_of_a_block_design_depends_on_how_many_answer_only(q):
    code = BibdGradientCoding(q * q + q + 1)
    n, size = code.n_workers, q + 1
    matrix = code.encoding_matrix()
    assert (matrix @ matrix.T == np.where(np.eye(n), size, 1)).all()  # any two lines share one point
    rng = np.random.default_rng(q)
    for r in range(1, n + 1):
        missing = np.ones(n, dtype=bool)
        missing[rng.permutation(n)[:r]] = False
        assert code.squared_error(missing, enough=False) == pytest.approx(n - size**2 * r / (size - 1 + r), abs=1e-9)


def test_the_error_of_an_expander_code_is_within_its_bound():
    rng = np.random.default_rng(5)
    for decoding in ("fixed", "optimal"):
        code = ExpanderGradientCoding(40, chunks_per_worker=6, decoding=decoding, seed=2)
        for s in range(0, 39, 3):
            missing = np.zeros(40, dtype=bool)
            missing[rng.permutation(40)[:s]] = True
            assert code.squared_error(missing, enough=False) <= code.error_bound(s) + 1e-9


def test_optimal_weights_are_never_worse_than_fixed_ones():
    rng = np.random.default_rng(6)
    fixed, optimal = (ExpanderGradientCoding(20, chunks_per_worker=4, decoding=d) for d in ("fixed", "optimal"))
    for _ in range(20):
        missing = rng.random(20) < 0.4
        errors = [code.squared_error(missing, enough=False) for code in (optimal, fixed)]
        assert errors[0] <= errors[1] + 1e-9


def test_nobody_answering_leaves_the_whole_gradient_as_error():
    for code in (
        BibdGradientCoding(7),
        ExpanderGradientCoding(8, chunks_per_worker=3),
        BernoulliGradientCoding(8, p=0.4),
    ):
        assert isinstance(code, ApproximateScheme)
        assert code.squared_error(np.ones(code.n_workers, dtype=bool), enough=False) == code.n_error_blocks


# --- parameters that make no sense ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientCoding(4, s=4), "s must be between 0 and 3, got 4"),
        (lambda: FractionalRepetition(12, s=4), "workers must be a multiple of s \\+ 1 = 5, got 12"),
        (lambda: FastestK(4, k=5), "k must be between 1 and 4, got 5"),
        (lambda: BibdGradientCoding(12), "workers must be q\\^2 \\+ q \\+ 1 for a prime q"),
        (lambda: BibdGradientCoding(21), "workers must be q"),  # of order 4, not a prime
        (lambda: ExpanderGradientCoding(5, chunks_per_worker=3), "^1 validation.*\\n.*chunks_per_worker must be even"),
        (lambda: Multiplexed(4, B=3, W=3, lam=1), "B must be between 1 and W - 1 = 2, got 3"),
        (lambda: Multiplexed(4, B=1, W=2, lam=5), "lam must be between 0 and 4, got 5"),
        (lambda: SelectiveRepeat(4, B=2, W=4, lam=1), r"W must be a multiple of B = 2, plus 1.*got 4"),
        (lambda: SelectiveRepeat(4, B=2, W=1, lam=1), r"W must be a multiple of B = 2, plus 1.*got 1"),
        (lambda: SelectiveRepeat(4, B=1, W=2, lam=5), "lam must be between 0 and 4, got 5"),
        (lambda: SelectiveRepeat(1, B=1, W=2, lam=1), "lam must leave s"),
        (lambda: Multiplexed(5, B=1, W=2, lam=1, code="fractional_repetition"), "multiple of lam \\+ 1 = 2"),
        (lambda: Multiplexed(5, B=1, W=2, lam=1, accepts="recoverable", as_published=True), "accepts must be left out"),
        (lambda: Multiplexed(5, B=1, W=2, lam=1, credit="prefix", as_published=True), "credit must be whole_list"),
        (
            lambda: Multiplexed(5, B=1, W=2, lam=1, late_responses="keep", as_published=True),
            "late_responses must be drop",
        ),
        (lambda: Multiplexed(5, B=1, W=2, lam=1.5), "valid integer"),
        (lambda: Multiplexed(5, B=1, W=2, lam=1, nu=3), "nu"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
