"""What responses carry: every scheme's gradients, encoded, decoded and compared with their sum."""

import dataclasses
import itertools
import pickle
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import examples
from schemes import (
    Adaptive,
    ApproximateScheme,
    BernoulliGradientCoding,
    BibdGradientCoding,
    ExpanderGradientCoding,
    FastestK,
    FractionalRepetition,
    GradientCoding,
    Ideal,
    KBatchAsync,
    LinearScheme,
    Multiplexed,
    NestedGradientCoding,
    PartialGradientCoding,
    SelectiveRepeat,
    ToDoList,
    Uncoded,
)
from schemes.assignment import Cyclic
from schemes.base.codec import Encoder, least_squares_weights
from schemes.base.playing import play, play_valued
from schemes.base.task_codec import TaskCodec, codec_of
from schemes.base.updates import UpdateScheme
from schemes.base.valued import ValuedSession
from schemes.base.work import Closing, Heard, Outcome
from schemes.codes import code_weights, cyclic_repetition, cyclic_weights
from schemes.testing import EXACT, UnitGradients, check_codec
from simulator.engine.probing import Probing

LINEAR = [scheme for scheme in examples.SCHEMES if isinstance(scheme, LinearScheme)]
WHOLE = [scheme for scheme in LINEAR if scheme.blocks == 1]  # a response is as long as a gradient


def valued(scheme, codec, plane, n_jobs):
    """A run of a scheme with numbers."""
    return ValuedSession(scheme.start(n_jobs, np.random.default_rng(0)), codec, plane)


@pytest.mark.parametrize("scheme", [*WHOLE, GradientCoding(256, s=27)], ids=repr)
def test_messages_in_float32_lose_what_rounding_loses(scheme):
    rng = np.random.default_rng(2)
    matrix = scheme.encoding_matrix()
    gradients = rng.standard_normal((matrix.shape[1], 5))
    answered = np.sort(rng.permutation(scheme.n_workers)[: max(1, round(0.9 * scheme.n_workers))]).tolist()
    results = []
    for precision in ("float64", "float32"):
        codec = codec_of(scheme, precision, rng)
        session = scheme.start(1, rng)
        codec.open_round(0, session.open_round(0), session)
        codec.close_round(
            Heard.of([(worker, 0) for worker in answered]), Closing(np.zeros(scheme.n_workers, dtype=bool), False)
        )
        results.append(codec.end(Outcome(0, "decoded")).decoded(gradients).gradient)
    # each message is wrong by at most 2^-24 of itself, and the weights add that up
    bound = 2**-24 * np.abs(scheme.weights(np.array(answered)).values) @ np.abs(matrix @ gradients)
    loss = np.abs(results[1] - results[0])
    assert (loss <= bound * (1 + 1e-6)).all()
    assert loss.any()


@pytest.mark.parametrize("scheme", examples.SCHEMES, ids=repr)
def test_every_codec_rounds_messages_to_float32(scheme):
    plane = check_codec(scheme, n_jobs=60, precision="float32")
    has_exact = not isinstance(scheme, ApproximateScheme | FastestK | UpdateScheme)
    has_exact &= not (isinstance(scheme, ToDoList) and scheme.k < scheme.n_workers)
    assert 1e-10 < plane.worst < 1e-3 or not has_exact


class Scales:
    """A value plane that wants no values, only to know how much a codec holds when every third job ends."""

    def __init__(self, codec):
        self.codec = codec
        self.sizes = {}

    def end(self, ended):
        if ended.outcome.job % 3 == 0:
            self.sizes[ended.outcome.job] = len(pickle.dumps(vars(self.codec)))


LASTING = [
    (scheme, is_own)
    for scheme in examples.SCHEMES
    for is_own in (True, False)
    # results that are used in another job than they were begun for are no combinations for a TaskCodec
    if is_own or not isinstance(scheme, UpdateScheme)
    # what comes beyond k results waits for the next update, and here more comes than is used
    if not isinstance(scheme, KBatchAsync)
]


@pytest.mark.parametrize(("scheme", "is_own"), LASTING, ids=repr)
def test_no_codec_grows_with_the_run(scheme, is_own):
    codec = codec_of(scheme, "float64", np.random.default_rng(0)) if is_own else TaskCodec(scheme)
    scales = Scales(codec)
    play_valued(scheme, valued(scheme, codec, scales, 480), np.random.default_rng(0))
    early, late = ([scales.sizes[job] for job in range(first, first + 210, 3)] for first in (30, 249))
    assert max(late) <= 1.2 * max(early)


SLOW_PATH = [
    scheme
    for scheme in examples.SCHEMES
    # whose task it is in an adaptive run, its session knows alone
    if not isinstance(scheme, Adaptive | NestedGradientCoding | PartialGradientCoding | FastestK | Ideal)
    and not isinstance(scheme, UpdateScheme | ToDoList)
    and getattr(scheme, "decoding", "optimal") == "optimal"
    and (scheme in WHOLE or scheme not in LINEAR)
]


@pytest.mark.parametrize("scheme", SLOW_PATH, ids=repr)
def test_codecs_agree_with_the_tasks_that_a_session_names(scheme):
    # the second codec knows only `Session.tasks` and least squares over everything
    n_jobs = max(12, 2 * scheme.delay_rounds + 3)
    for seed in range(2):
        planes = UnitGradients(scheme.n_error_blocks), UnitGradients(scheme.n_error_blocks)
        session = valued(scheme, codec_of(scheme, "float64", np.random.default_rng(0)), planes[0], n_jobs)
        session = ValuedSession(session, TaskCodec(scheme), planes[1])
        play_valued(scheme, session, np.random.default_rng(seed))
        assert planes[0].ended.keys() == planes[1].ended.keys() == set(range(n_jobs))
        assert max(plane.worst for plane in planes) < EXACT
        for job, gradient in planes[0].ended.items():
            if gradient is None:
                assert planes[1].ended[job] is None
            else:
                np.testing.assert_allclose(gradient, planes[1].ended[job], atol=1e-8)


@given(examples.conforming_patterns(), st.sampled_from(["drop", "keep"]))
@settings(deadline=None, max_examples=100)
def test_sequential_schemes_decode_gradients_under_patterns_that_they_claim(case, late_responses):
    scheme, pattern, n_jobs = case
    scheme = dataclasses.replace(scheme, late_responses=late_responses)
    plane = UnitGradients(scheme.n_error_blocks)
    session = valued(scheme, codec_of(scheme, "float64", np.random.default_rng(0)), plane, n_jobs)
    outcomes, accepted = play(scheme, n_jobs, lambda index, busy: pattern[index], session)
    assert all(accepted)
    assert all(outcome.status == "decoded" for outcome in outcomes)
    assert plane.worst < EXACT


@pytest.mark.parametrize("scheme", [GradientCoding(4, s=1), Multiplexed(4, B=1, W=2, lam=2)], ids=repr)
def test_probing_decodes_jobs_on_both_sides_of_the_switch(scheme):
    probing = Probing(4, scheme, probe=3)
    plane = UnitGradients(4)
    plane.n_error_blocks = 1  # the chunks are others after the switch
    session = valued(probing, codec_of(probing, "float64", np.random.default_rng(0)), plane, 9)
    play(probing, 9, lambda index, busy: np.zeros(4, dtype=bool), session)
    assert sorted(plane.ended) == list(range(9))
    assert plane.worst < 1e-12


# --- by hand ---


class Given:
    """A value plane with the same gradients in every job."""

    def __init__(self, gradients):
        self.gradients, self.ended = np.array(gradients, dtype=float), {}

    def end(self, ended):
        assert len(ended.chunk_loads) == len(self.gradients)
        job = ended.outcome.job
        is_failed = ended.outcome.status == "failed"
        self.ended[job] = None if is_failed else ended.decoded(self.gradients * (job + 1)).gradient


def ended(scheme, gradients, missing_by_round, takes_estimate=False):
    plane, n_jobs = Given(gradients), len(missing_by_round) - scheme.delay_rounds
    session = ValuedSession(
        scheme.start(n_jobs, np.random.default_rng(0)), codec_of(scheme, "float64", np.random.default_rng(0)), plane
    )
    for index, gone in enumerate(missing_by_round):
        work = session.open_round(index)
        missing = np.isin(np.arange(scheme.n_workers), gone) & work.busy
        workers = np.flatnonzero(work.busy & ~missing).tolist()
        heard = [(worker, report) for worker in workers for report in range(int(work.last_report[worker]) + 1)]
        for report in heard:
            session.receive(*report)
        session.close_round(Closing(missing, not session.enough(), takes_estimate, Heard.of(heard)))
    return plane.ended


def test_the_first_k_responses_are_scaled_by_hand():
    # workers 0 and 1 answer first, although 2 has answered, too: 4/2 times (1 + 10)
    assert ended(FastestK(4, k=2), [[1], [10], [100], [1000]], [[3]])[0] == pytest.approx([22.0])


def test_the_order_of_arrival_says_which_are_the_first_k():
    codec = FastestK(4, k=2).codec("float64", np.random.default_rng(0))
    codec.close_round(Heard.of([(3, 0), (1, 0), (0, 0)]), Closing(np.array([False, False, True, False]), forced=False))
    assert codec.end(Outcome(0, "decoded")).decoded(
        np.array([[1.0], [10.0], [100.0], [1000.0]])
    ).gradient == pytest.approx([2 * 1010.0])


def test_repetition_takes_one_response_of_each_group_by_hand():
    assert ended(FractionalRepetition(4, s=1), [[1], [10], [100], [1000]], [[0, 3]])[0] == pytest.approx([1111.0])


def test_a_forced_round_fails_and_has_no_gradient():
    assert ended(GradientCoding(3, s=1), [[1], [10], [100]], [[0, 1], [2]]) == {0: None, 1: pytest.approx([222.0])}


def test_a_repeated_task_carries_the_gradient_of_its_own_job():
    # n = 4, (1, 2, 2): s = 1. In round 0, 2 and 3 are missing; in round 1 worker 2 repeats job 0, and 0, 1, 3 do job 1
    result = ended(SelectiveRepeat(4, B=1, W=2, lam=2), [[1], [10], [100], [1000]], [[2, 3], [], []])
    assert result[0] == pytest.approx([1111.0])
    assert result[1] == pytest.approx([2222.0])


def test_multiplexed_repeats_what_went_missing_by_hand():
    # n = 3, (1, 2, 1): chunks 0-2 are D1, 3-5 the D2 group. Worker 1 loses its D1 of job 0 and repeats it in round 1
    chunks = [[1], [10], [100], [1000], [10000], [100000]]
    result = ended(Multiplexed(3, B=1, W=2, lam=1), chunks, [[1], [], []])
    assert result[0] == pytest.approx([111111.0])
    assert result[1] == pytest.approx([222222.0])


def test_partial_coding_estimates_what_is_there_by_hand():
    # 3 workers, chunks w and w + 1 at worker w; only worker 0 has finished anything, all of it: chunks 0 and 1
    scheme = PartialGradientCoding(3, assignment=Cyclic(2))
    assert ended(scheme, [[1], [10], [100]], [[1, 2]], takes_estimate=True)[0] == pytest.approx([11.0])


def test_the_baseline_of_partial_coding_weighs_plain_sums_by_hand():
    # workers 0 (chunks 0, 1) and 1 (chunks 1, 2) finish: x = y = 2/3 minimises (x-1)^2 + (x+y-1)^2 + (y-1)^2
    scheme = PartialGradientCoding(3, assignment=Cyclic(2), credit="whole_list")
    result = ended(scheme, [[1], [10], [100]], [[2]], takes_estimate=True)
    assert result[0] == pytest.approx([2 / 3 * (1 + 20 + 100)])


# --- the parts ---


@pytest.mark.parametrize("code", ["gradient_coding", "fractional_repetition"])
@pytest.mark.parametrize("late_responses", ["drop", "keep"])
@pytest.mark.parametrize("is_multiplexed", [False, True])
def test_codes_with_memory_use_what_has_come_and_nothing_else(monkeypatch, code, late_responses, is_multiplexed):
    given = {"code": code, "late_responses": late_responses, "accepts": "recoverable"}
    scheme = (
        Multiplexed(8, B=2, W=3, lam=3, **given) if is_multiplexed else SelectiveRepeat(8, B=2, W=3, lam=6, **given)
    )
    used = []

    def spy(code, n_workers, s, answered):
        used.append(set(answered.tolist()))
        return code_weights(code, n_workers, s, answered)

    for module in ("multiplexed", "selective_repeat"):
        monkeypatch.setattr(f"schemes.{module}.code_weights", spy)
    n_used, forgotten = [], []

    class Watched(TaskCodec):
        """Lists the workers of each coded message that has come, and asks the scheme's own codec for the gradient."""

        def __init__(self):
            super().__init__(scheme)
            self.own = codec_of(scheme, "float64", np.random.default_rng(0))
            self.is_closing = False

        def open_round(self, index, work, session):
            super().open_round(index, work, session)
            self.own.open_round(index, work, session)

        def receive_late(self, index, worker, report):
            super().receive_late(index, worker, report)
            if not self.is_closing:
                self.own.receive_late(index, worker, report)

        def close_round(self, heard, closing):
            self.is_closing = True
            super().close_round(heard, closing)
            self.is_closing = False
            self.own.close_round(heard, closing)

        def end(self, outcome):
            heard, ended = self._heard[outcome.job], self.own.end(outcome)
            forgotten.append(outcome.job)

            def decode(responses, gradients):
                used.clear()
                result = ended.decode(responses, gradients)
                by_group = defaultdict(set)
                for worker, task, _ in heard:
                    if task.kind in ("coded", "repeat") and len(task.chunks) > 1:
                        by_group[min(task.chunks) // 8].add(worker)
                assert sorted(map(sorted, used)) == sorted(map(sorted, by_group.values()))
                n_used.extend(map(len, used))
                return result

            return ended._replace(decode=decode)

    plane = UnitGradients(scheme.n_error_blocks)
    session = ValuedSession(scheme.start(30, np.random.default_rng(0)), Watched(), plane)
    play_valued(scheme, session, np.random.default_rng(1))
    assert sorted(forgotten) == list(range(30))
    assert min(n_used) < 8


@pytest.mark.parametrize(("n", "s"), [(5, 2), (7, 6), (12, 0), (40, 9), (64, 15)])
def test_cyclic_weights_are_those_of_least_squares(n, s):
    rng = np.random.default_rng(n)
    for n_missing in range(s + 1):
        answered = rng.permutation(n)[: n - n_missing]
        ours = cyclic_weights(n, s, answered)
        np.testing.assert_allclose(
            ours.values, least_squares_weights(cyclic_repetition(n, s), answered).values, atol=1e-8
        )
        assert not ours.values[np.setdiff1d(np.arange(n), answered)].any()
        assert np.abs(ours.values @ cyclic_repetition(n, s) - 1).max() < 1e-9


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 17), (40, 31), (5, 60)])
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_an_encoder_is_a_matrix_product(shape, density):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal(shape) * (rng.random(shape) < density)
    gradients = rng.standard_normal((shape[1], 3, 7))
    product = np.einsum("wc,cjd->wjd", matrix, gradients)
    np.testing.assert_allclose(Encoder(matrix).messages(gradients), product, atol=1e-12)
    other = matrix * rng.standard_normal(shape)
    product = np.einsum("wc,cjd->wjd", other, gradients)
    np.testing.assert_allclose(Encoder(matrix).reweighted(other).messages(gradients), product, atol=1e-12)


@pytest.mark.parametrize("scheme", LINEAR, ids=repr)
def test_whoever_has_not_answered_has_weight_zero(scheme):
    rng = np.random.default_rng(1)
    for n_responses in range(scheme.n_workers + 1):
        answered = rng.permutation(scheme.n_workers)[:n_responses]
        values = scheme.weights(answered).values
        assert not values[np.setdiff1d(np.arange(scheme.n_workers), answered)].any()


def test_an_estimate_is_the_nearest_combination():
    for scheme in (BernoulliGradientCoding(9, p=0.3), ExpanderGradientCoding(8, chunks_per_worker=3)):
        assert isinstance(scheme, ApproximateScheme)
        matrix = scheme.encoding_matrix()
        answered = np.array([0, 2, 5])
        error = scheme.weights(answered).values @ matrix - 1
        assert np.abs(matrix[answered] @ error).max() < 1e-12  # orthogonal to all that could be added


def test_a_coded_task_without_coefficients_is_refused():
    class Silent(GradientCoding):
        def coefficients(self, worker, task, index):
            return super(LinearScheme, self).coefficients(worker, task, index)

    scheme = Silent(3, s=1)
    plane = UnitGradients(3)
    session = valued(scheme, TaskCodec(scheme), plane, 1)
    with pytest.raises(ValueError, match="Silent must say the coefficients"):
        play(scheme, 1, lambda index, busy: np.zeros(3, dtype=bool), session)


# --- the size of the paper ---

PAPER = [
    GradientCoding(256, s=15),
    GradientCoding(256, s=27),
    SelectiveRepeat(256, B=2, W=3, lam=23),
    Multiplexed(256, B=1, W=2, lam=27),
    Uncoded(256),
    FastestK(256, k=229),
    FractionalRepetition(256, s=15),
    SelectiveRepeat(256, B=1, W=2, lam=30, code="fractional_repetition"),
    Multiplexed(256, B=1, W=2, lam=31, code="fractional_repetition"),
    PartialGradientCoding(256, assignment=Cyclic(8)),
    PartialGradientCoding(256, assignment=Cyclic(8), blocks=2),
    PartialGradientCoding(256, assignment=Cyclic(8), credit="whole_list"),
    BernoulliGradientCoding(256, p=8 / 256),
    ExpanderGradientCoding(256, chunks_per_worker=8),
    BibdGradientCoding(307),
    Ideal(256),
]


@pytest.mark.parametrize("scheme", PAPER, ids=repr)
def test_the_papers_codes_decode_at_256_workers(scheme):
    plane = check_codec(scheme, n_jobs=8)
    is_random = isinstance(scheme, GradientCoding) or getattr(scheme, "code", None) == "gradient_coding"
    assert plane.condition > 100 or not is_random
    assert [gradient for gradient in plane.ended.values() if gradient is not None]


def test_sequential_codes_decode_at_256_workers_with_as_many_stragglers_as_they_tolerate():
    for scheme, per_round in ((PAPER[2], 11), (PAPER[3], 13)):  # in 3 and 2 rounds: at most 23 and 27
        order = itertools.cycle(np.random.default_rng(0).permutation(256).tolist())
        rounds = [[next(order) for _ in range(per_round)] for _ in range(12)]
        if scheme.B == 2:  # two rounds of the same workers, then one round of none
            rounds = [rounds[index - index % 3] * (index % 3 < 2) for index in range(12)]
        plane, n_jobs = UnitGradients(256), 12 - scheme.delay_rounds
        plane.n_error_blocks = 1
        session = valued(scheme, codec_of(scheme, "float64", np.random.default_rng(0)), plane, n_jobs)
        chooser = lambda index, busy, rounds=rounds: np.isin(np.arange(256), rounds[index])  # noqa: E731
        outcomes, accepted = play(scheme, n_jobs, chooser, session)
        assert all(accepted)
        assert {outcome.status for outcome in outcomes} == {"decoded"}
        assert 0 < plane.worst < EXACT


def test_an_ill_conditioned_pattern_is_solved_once_more():
    rng = np.random.default_rng(0)  # number 229 misses 1e-8 tenfold without that
    matrix = cyclic_repetition(256, 27)
    for _ in range(250):
        weights = cyclic_weights(256, 27, rng.permutation(256)[:229])
        assert np.linalg.norm(weights.values @ matrix - 1) < EXACT * np.sqrt(256)
