"""Nested codes: as many stragglers as there are, found out while a round goes on."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stragglersim
from schemes import GradientCoding, NestedGradientCoding
from schemes.base.codec import Upload
from schemes.base.work import Closing, Heard, Outcome
from schemes.codes import cyclic_weights
from schemes.testing import check_messages
from straggler_models import Constant, GilbertElliott, PerWorker, ShiftedExponential
from stragglersim import Network


def is_enough(n_done, s_max):
    """The definition."""
    return any(sum(done >= s + 1 for done in n_done) >= len(n_done) - s for s in range(s_max + 1))


@pytest.mark.parametrize(("n", "s_max"), [(n, s) for n in range(1, 6) for s in range(min(n, 3))])
def test_it_is_enough_when_it_is_for_some_number_of_stragglers(n, s_max):
    code = NestedGradientCoding(n, s_max=s_max)
    session, rng = code.start(1, np.random.default_rng(0)), np.random.default_rng(0)
    codec = code.codec("float64", rng)
    gradients = rng.standard_normal((n, 3))
    for n_done in itertools.product(range(s_max + 2), repeat=n):
        session.open_round(0)
        heard = [(worker, report) for worker in range(n) for report in range(n_done[worker])]
        for each in rng.permutation(len(heard)):
            session.receive(*heard[each])
        assert session.enough() == is_enough(n_done, s_max)
        asked = session.uploads(np.array(n_done))
        uploads = codec.uploads(np.array(n_done), False)
        assert np.flatnonzero(asked).tolist() == [*uploads]
        assert set(asked.tolist()) <= {0.0, 1.0}
        if session.enough():
            s = code.level(np.array(n_done))
            assert n - len(uploads) <= s
            messages = np.array([upload.of(gradients[list(upload.chunks)]) for upload in uploads.values()])
            weights = cyclic_weights(n, s, np.array([*uploads])).values[[*uploads]]
            np.testing.assert_allclose(weights @ messages, gradients.sum(axis=0), atol=1e-9)
            codec.close_round(Heard.of(heard), Closing(np.zeros(n, dtype=bool), forced=False))
            found = codec.combine(codec.end(Outcome(0, "decoded")), messages).gradient
            np.testing.assert_allclose(found, gradients.sum(axis=0), atol=1e-9)
        else:
            assert not uploads


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_larger_ones_decode_whatever_order_chunks_come_in(data):
    n = data.draw(st.integers(6, 40))
    code = NestedGradientCoding(n, s_max=data.draw(st.integers(0, n - 1)))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    session, n_done, heard = code.start(1, rng), np.zeros(n, dtype=np.int64), []
    session.open_round(0)
    for worker in rng.permutation(np.repeat(np.arange(n), code.s_max + 1)).tolist():
        if session.enough():
            break
        assert not is_enough(n_done, code.s_max)
        heard.append((worker, int(n_done[worker])))
        session.receive(*heard[-1])
        n_done[worker] += 1
    assert is_enough(n_done, code.s_max)
    codec, gradients = code.codec("float64", rng), rng.standard_normal((n, 3))
    codec.close_round(Heard.of(heard), Closing(n_done <= code.s_max, forced=False))
    found = codec.end(Outcome(0, "decoded")).decoded(gradients).gradient
    np.testing.assert_allclose(found, gradients.sum(axis=0), atol=1e-6)


def test_only_finished_chunks_are_uploaded():
    code = NestedGradientCoding(4, s_max=2)
    uploads = code.codec("float64", np.random.default_rng(0)).uploads(np.array([3, 2, 0, 2]), False)
    assert {worker: upload.chunks for worker, upload in uploads.items()} == {0: (0, 1), 1: (1, 2), 3: (3, 0)}
    assert all(isinstance(upload, Upload) and upload.coefficients.shape == (2, 1) for upload in uploads.values())


def test_the_smallest_number_of_stragglers_counts():
    code = NestedGradientCoding(4, s_max=2)
    assert [code.level(np.array(done)) for done in ([3, 3, 3, 1], [3, 3, 3, 0], [3, 3, 1, 0], [3, 2, 0, 0])] == [
        0,
        1,
        2,
        None,
    ]


def rounds_of(scheme, engine="auto", **more):
    given = {"workers": scheme.n_workers, "jobs": 40, "seed": 3, "schemes": {"it": scheme}} | more
    return stragglersim.run(stragglersim.Scenario(**given), engine=engine).rounds


@pytest.mark.parametrize("engine", ["events", "vectorised"])
def test_a_round_is_as_short_as_that_of_the_best_code_in_hindsight(engine):
    models = {
        "usual": ShiftedExponential(shift=0.5, mean=1.0, adds_to="seconds_per_load"),
        "start": ShiftedExponential(shift=0.0, mean=0.1, adds_to="startup_s"),
        "bursts": GilbertElliott(p_slow=0.1, p_recover=0.5, slowdown=5.0),
    }
    nested = rounds_of(NestedGradientCoding(6, s_max=3), engine, stragglers=models)["duration_s"]
    fixed = [rounds_of(GradientCoding(6, s=s), engine, stragglers=models)["duration_s"] for s in range(4)]
    assert nested.to_numpy() == pytest.approx(np.min(fixed, axis=0))
    assert len(set(np.argmin(fixed, axis=0))) > 1


def test_a_round_by_hand():
    # chunks of 1, 1, 1, 9 s: all have one at 9 s, three have two at 2 s; the word takes 0.1 s, three uploads 1 s each
    models = {"usual": PerWorker(Constant.each(seconds_per_load=[4.0, 4.0, 4.0, 36.0]))}
    network = Network(latency_s=0.1, gradient_bytes=10.0, worker_bytes_per_s=10.0)
    rounds = rounds_of(NestedGradientCoding(4, s_max=2), "events", stragglers=models, network=network, jobs=2)
    # told at 2.1 s, the word there at 2.2 s, sent at 3.2 s, there at 3.3 s
    assert rounds["duration_s"].tolist() == pytest.approx([3.3, 3.3])
    assert rounds["bytes_up"].tolist() == [30.0, 30.0]


def test_messages_give_what_the_simulator_gives():
    assert check_messages(NestedGradientCoding(9, s_max=4), n_jobs=20) > 0


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="s_max must be between 0 and 4, got 5"):
        NestedGradientCoding(5, s_max=5)
