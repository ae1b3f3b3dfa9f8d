"""Worker times of many sources, drawn side by side, against each stream drawn by itself; and how streams are seeded."""

import itertools
import math

import numpy as np
import pytest

import examples
import stragglersim
from schemes import Uncoded
from simulator.engine.streams import ONCE, states, stream, streams
from simulator.engine.worker_times import DrawnTimes, Draws, RoundTimes, Source
from straggler_models import (
    Adversarial,
    Bernoulli,
    CommonShock,
    Constant,
    FailedWorkers,
    FailSlow,
    FailStop,
    GilbertElliott,
    Lognormal,
    MarkovSpeed,
    PartialSlowdown,
    SecondsModel,
    ShiftedExponential,
    StragglerModel,
    Trace,
    WorkerTimes,
)
from straggler_models.base import Speeds
from straggler_models.testing import draw_rounds
from stragglersim import Scenario, SimulationError

N_WORKERS, N_ROUNDS = 6, 150
NOISE = ShiftedExponential(shift=1.0, mean=2.0, adds_to="startup_s")


class OddBlocks(StragglerModel):
    """From outside: blocks of any length and shape."""

    def __repr__(self):
        return "OddBlocks"

    def rounds(self, n_workers, rng):
        for n_rounds in itertools.cycle([1, 5, 2, 70]):
            yield WorkerTimes(startup_s=rng.random((n_rounds, n_workers)), slowdown=float(n_rounds))
            yield WorkerTimes(rng.random(n_workers), 3.0)
            yield WorkerTimes(seconds_per_load=rng.random((n_rounds, 1)), slowdown=1 + rng.random((1, n_workers)))


class Alternating(Bernoulli):
    """From outside: a shipped model whose rounds are changed."""

    def rounds(self, n_workers, rng):
        for times in super().rounds(n_workers, rng):
            yield times._replace(startup_s=1.0)


class LateChain(GilbertElliott):
    """From outside: a shipped chain whose first round is left out."""

    def rounds(self, n_workers, rng):
        blocks = super().rounds(n_workers, rng)
        yield WorkerTimes(slowdown=next(blocks).slowdown[1:])
        yield from blocks


FROM_OUTSIDE = [
    OddBlocks(),
    Alternating(p=0.3, slowdown=2.0),
    LateChain(p_slow=0.3, p_recover=0.4, slowdown=3.0),
]


@pytest.fixture
def traces(tmp_path):
    path = tmp_path / "trace.csv"
    rows = "".join(f"{r},{w},{r * 10 + w + 1}\n" for r in range(7) for w in range(N_WORKERS))
    path.write_text(f"round,worker,duration_s\n{rows}", encoding="utf-8")
    replay = Trace(path=str(path), wrap="cycle", base_load=0.1, seconds_per_load=1.0)
    return [replay, Trace(path=str(path), mode="bootstrap", block_rounds=5), Trace(path=str(path))]


def composed(models, seed, trial, again=0):
    """Compose the models' rounds one after the other, as the definition says."""
    startup_s, seconds_per_load = np.zeros((2, N_ROUNDS, N_WORKERS))
    slowdown = np.ones((N_ROUNDS, N_WORKERS))
    for label, model in sorted(models.items()):
        fixed = model.settled(N_WORKERS, stream(seed, ONCE, "stragglers", label))
        name = f"{label}\0{again}" if again and model.is_noise else label
        times = draw_rounds(fixed, N_WORKERS, N_ROUNDS, stream(seed, trial, "stragglers", name))
        startup_s, seconds_per_load, slowdown = startup_s + times[0], seconds_per_load + times[1], slowdown * times[2]
    return startup_s, seconds_per_load, slowdown


def taken(sources, lengths):
    """Worker times in several goes, at full shape."""
    draws = Draws(sources, N_WORKERS)
    goes = [[np.broadcast_to(f, (len(sources), n, N_WORKERS)) for f in draws.take(n)] for n in lengths]
    return [np.concatenate(parts, axis=1) for parts in zip(*goes, strict=True)]


def assert_each_is_as_alone(sources, lengths):
    times = taken(sources, lengths)
    for place, source in enumerate(sources):
        for field, expected in zip(times, composed(*source), strict=True):
            assert np.array_equal(field[place], expected[: sum(lengths)])


@pytest.mark.parametrize("lengths", [[3, 80], [83], [1] * 10 + [64, 9]], ids=repr)
@pytest.mark.parametrize("model", [*examples.MODELS, *FROM_OUTSIDE], ids=repr)
def test_the_rounds_of_a_model_are_the_same_in_any_number_of_goes(model, lengths):
    assert_each_is_as_alone([Source({"one": model}, 7, trial) for trial in (0, 3)], lengths)
    models = {"a": NOISE, "b": model, "c": OddBlocks()}
    assert_each_is_as_alone([Source(models, 7, trial, again) for trial, again in ((0, 0), (3, 0), (3, 2))], lengths)


@pytest.mark.parametrize("lengths", [[3, 80], [83]], ids=repr)
def test_the_rounds_of_a_trace_are_the_same_in_any_number_of_goes(traces, lengths):
    for model in traces[:2]:
        assert_each_is_as_alone([Source({"a": model, "b": NOISE}, 7, trial) for trial in (0, 3)], lengths)


def test_sources_may_differ_in_everything(traces):
    slow, always = Bernoulli(p=0.3, slowdown=2.0), GilbertElliott(p_slow=0.1, p_recover=0.2, slowdown=3.0)
    first, second = {"m": NOISE, "slow": slow}, {"slow": always, "a": traces[0], "m": NOISE}
    sources = [
        *[Source(first, 1, trial) for trial in range(20)],
        *[Source(second, seed, 2) for seed in (1, 2, 2**40)],
        Source({}, 1, 0),
        Source({"slow": slow, "own": OddBlocks()}, 1, 4),
        Source(first, 1, 3),
    ]
    assert_each_is_as_alone(sources, [2, 70])


class Squared(Lognormal):
    """From outside: a shipped model whose times are changed."""

    def turn(self, draws):
        super().turn(draws)
        np.square(draws, out=draws)


def test_models_of_a_class_may_share_their_draws():
    models = [Bernoulli(p=p, slowdown=2 + 5 * p) for p in (0.1, 0.5, 0.9)]
    models += [ShiftedExponential(1.0, mean, part) for mean in (1.0, 4.0) for part in ("startup_s", "seconds_per_load")]
    models += [cls(2.0, sigma, "startup_s") for sigma in (0.0, 0.3) for cls in (Lognormal, Squared)]
    sources = [Source({"one": model, "also": NOISE}, 7, trial) for model in models for trial in (0, 3)]
    assert_each_is_as_alone(sources, [3, 80])


@pytest.mark.parametrize(
    "chain",
    [
        GilbertElliott(p_slow=0.3, p_recover=0.4, slowdown=3.0),
        FailStop(3.0, 2.0),
        FailSlow(p_fail=0.02, slowdown=3.0),
        FailSlow(p_fail=0.02, slowdown=3.0, mean_rounds=9.0),
    ],
    ids=repr,
)
def test_a_chain_compares_one_draw_of_each_worker_in_each_round(chain):
    rng = stream(7, 0, "stragglers", "chain")
    if isinstance(chain, FailStop):
        is_slow, p_slow, p_recover, slowdown = np.zeros(N_WORKERS, dtype=bool), 1 / 3, 1 / 2, math.inf
    elif isinstance(chain, FailSlow):
        is_slow, p_slow, slowdown = rng.random(N_WORKERS) < 0.02, 0.02, 3.0
        p_recover = 0.0 if chain.mean_rounds is None else 1 / 9
    else:
        is_slow, p_slow, p_recover, slowdown = rng.random(N_WORKERS) < 0.3 / 0.7, 0.3, 0.4, 3.0
    drawn = taken([Source({"chain": chain}, 7, 0)], [70])[2][0]
    for row in drawn:
        assert row.tolist() == np.where(is_slow, slowdown, 1.0).tolist()
        draws = rng.random(N_WORKERS)
        is_slow = np.where(is_slow, draws >= p_recover, draws < p_slow)


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (None, [(1, 1, 1)] * 3),
        (Constant(startup_s=1.0, seconds_per_load=2.0), [(1, 1, 1)] * 3),
        (MarkovSpeed(states=examples.TWO_STATES), [(1, 1, 1)] * 3),
        (NOISE, [(3, 4, 6), (1, 1, 1), (1, 1, 1)]),
        (Adversarial(B=2, W=3, lam=1, slowdown=2.0), [(1, 1, 1), (1, 1, 1), (1, 4, 6)]),
        (FailedWorkers(count=2, drawn="per_run"), [(1, 1, 1), (1, 1, 1), (3, 1, 6)]),
        (CommonShock(p=0.5, share=0.5, slowdown=2.0), [(1, 1, 1), (1, 1, 1), (3, 4, 6)]),
    ],
    ids=repr,
)
def test_what_is_the_same_for_all_is_not_repeated(model, shapes):
    models = {} if model is None else {"one": model}
    times = Draws([Source(models, 1, trial) for trial in range(3)], N_WORKERS).take(4)
    assert [field.shape for field in times] == shapes


def test_a_replayed_trace_is_the_same_for_all_trials(traces):
    times = Draws([Source({"trace": traces[0]}, 1, trial) for trial in range(3)], N_WORKERS).take(5)
    assert [field.shape for field in times] == [(1, 5, 6), (1, 1, 1), (1, 1, 1)]
    assert times.seconds_per_load.item() == 1.0


@pytest.mark.parametrize("shared", [Constant(startup_s=1.0), PartialSlowdown(0.5, 2.0, 4.0, drawn="per_run")], ids=repr)
def test_what_is_kept_between_goes_is_not_changed_by_composing(shared):
    models = {"a": shared, "b": Bernoulli(p=0.5, slowdown=2.0), "c": Constant(startup_s=1.0)}
    assert_each_is_as_alone([Source(models, 1, 0)], [1, 1, 1, 2])


def test_rounds_that_are_not_needed_are_not_drawn():
    asked = []

    class Counted(Bernoulli):
        def draw(self, n_rounds, n_workers, rng):
            asked.append(n_rounds)
            return super().draw(n_rounds, n_workers, rng)

    Draws([Source({"one": Counted(p=0.5, slowdown=2.0)}, 1, 0)], N_WORKERS).take(1)
    assert asked == [1]


def test_a_model_that_ends_before_the_run_is_refused(traces):
    draws = Draws([Source({"usual": NOISE, "trace": traces[2]}, 1, 0)], N_WORKERS)
    assert isinstance(draws.take(7), DrawnTimes)
    with pytest.raises(
        ValueError, match=r"^stragglers\.trace: the model must yield times for all rounds of the run, got too few$"
    ):
        draws.take(1)


def test_streams_seeded_side_by_side_are_those_seeded_one_by_one():
    entropies = [0, 1, 7, 2**32 - 1, 2**32, 2**40, 2**128 - 1, 2**128, 2**128 + 5, 3**250]
    keys = [(1,), (0, 5), (1, 2, 3, 4, 5), (2**32, 0, 2**32 - 1), (2**70, 9)]
    pairs = list(itertools.product(entropies, keys))
    expected = [np.random.SeedSequence(e, spawn_key=key).generate_state(4, np.uint64) for e, key in pairs]
    assert np.array_equal(states(*map(list, zip(*pairs, strict=True))), expected)
    where = list(itertools.product(entropies, [ONCE, 0, 1, 999, 2**33], ["usual", "bursts", "späte"]))
    for generator, (seed, trial, label) in zip(streams(where), where, strict=True):
        alone = stream(seed, trial, "stragglers", label)
        assert generator.bit_generator.state == alone.bit_generator.state
    assert streams(where[:1])[0].random() == stream(0, ONCE, "stragglers", "usual").random()


class InSeconds(SecondsModel):
    def __init__(self, duration_s, slowdown):
        vars(self).update(duration_s=duration_s, slowdown=slowdown)

    def slowdowns(self, n_workers, rng):
        while True:
            yield Speeds(np.array(self.duration_s), np.array(self.slowdown))


TOLD = "must give durations >= 0, not all 0, and slowdowns > 0"


@pytest.mark.parametrize(
    ("duration_s", "slowdown", "said"),
    [
        ([[1.0, -1.0]], [[1.0, 1.0]], TOLD),
        ([[2.0, 2.0], [-1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], TOLD),
        ([[1.0, np.nan]], [[1.0, 1.0]], TOLD),
        ([[0.0, 0.0]], [[1.0, 1.0]], TOLD),
        ([[1.0, 1.0]], [[1.0, 0.0]], TOLD),
        ([[1.0, 1.0]], [[-2.0, 1.0]], TOLD),
        ([[1.0, 1.0]], [[1.0, np.nan]], TOLD),
        ([[1.0, 1.0]], [[1.0]], r"the same shape, got \(1, 2\) and \(1, 1\)"),
        ([[1.0, 0.0]], [[1.0, 1.0]], "must go on in time for all workers, got 10000 blocks of 0 s"),
    ],
)
def test_pieces_of_speed_that_make_no_sense_are_told(duration_s, slowdown, said):
    scenario = Scenario(
        workers=2,
        jobs=2,
        stragglers={"usual": Constant(startup_s=1.0), "odd": InSeconds(duration_s, slowdown)},
        schemes={"it": Uncoded(2)},
    )
    with pytest.raises(SimulationError, match=f"schemes.it, trial 0: .*stragglers: .*{said}"):
        stragglersim.run(scenario)


def test_who_never_answers_takes_for_ever_also_for_work_that_takes_no_time():
    nothing = np.zeros(2)
    times = RoundTimes(nothing, nothing, np.array([np.inf, 1.0]), np.array([True, False]))
    found = times.work_s(np.array([[0.0, 0.5, np.nan], [0.0, 0.5, 1.0]]))
    np.testing.assert_array_equal(found, [[np.inf, np.inf, np.nan], [0.0, 0.0, 0.0]])
