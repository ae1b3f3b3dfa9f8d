"""Other jobs at the workers: by hand, in closed form, and against a simulation in small steps."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

import stragglersim
from simulator.engine.speed_changes import SpeedChanges
from simulator.errors import ScenarioError
from straggler_models import Constant, Groups, PerWorker, Queueing, TimeOfDay
from straggler_models.base import SharedModel
from straggler_models.queueing import DISCIPLINES
from stragglersim import Scenario

ALL = ["fifo", "processor_sharing", "priority"]


@dataclass(frozen=True)
class Told(SharedModel):
    """The same jobs at each worker, as they are told: when each comes, and how long it takes."""

    discipline: str
    jobs: list[tuple[float, float]]
    there: list[float]

    def other_work(self, rng):
        comes = itertools.tee(iter(self.jobs), 1)[0]
        return DISCIPLINES[self.discipline](comes, list(self.there))


def finished(model, works_s, n_workers=1, dropped_s=()):
    """When lists are done that begin at the same time as the one before is done, or is dropped."""
    changes, now_s, done = SpeedChanges({"it": model}, n_workers, seed=1, trial=0), 0.0, []
    for work_s, drop_s in itertools.zip_longest(works_s, dropped_s, fillvalue=math.inf):
        [finish_s] = changes.finishing_s(now_s, np.zeros(n_workers), np.full((n_workers, 1), work_s))[0].tolist()
        done.append(now_s + finish_s)
        now_s = min(now_s + finish_s, drop_s)
        changes.drop(now_s)
    return done


# --- by hand ---

JOBS = [(1.0, 2.0), (4.0, 1.0), (4.5, 3.0)]


def test_fifo_waits_for_what_is_there_and_then_goes_on_to_the_end():
    # 1.5 s are there; ours goes from 1.5 s to 5.5 s; the jobs of 2, 1 and 3 s that came wait, until 11.5 s; then ours
    assert finished(Told("fifo", JOBS, [0.5, 1.0]), [4.0, 2.0]) == [5.5, 13.5]
    # the first is dropped at 2 s, 0.5 s after its begin: the job of 1 s at 1 s is served until 4 s, then ours
    assert finished(Told("fifo", JOBS, [0.5, 1.0]), [4.0, 2.0], dropped_s=[2.0]) == [5.5, 6.0]
    # dropped before it is served at all: the jobs that came in between wait no longer
    assert finished(Told("fifo", JOBS, [3.0]), [4.0, 1.0], dropped_s=[1.5]) == [7.0, 6.0]


def test_sharing_slows_both_down():
    # two of 0.5 s and 2 s are there: at a third of the speed until 1.5 s, with one until 1 s ...
    told = Told("processor_sharing", [(10.0, 1.0)], [0.5, 2.0])
    # 1.5 s: ours has 0.5; then half speed until the other one has 2 s, at 4.5 s: ours has 2; then alone
    assert finished(told, [0.5, 1.5, 1.0]) == pytest.approx([1.5, 4.5, 5.5])
    assert finished(told, [2.0, 4.0]) == pytest.approx([4.5, 8.5])
    # a job of 1 s comes at 10 s, when ours has 5.5 s from 4.5 s on: 6 s is done half a second of work later
    assert finished(told, [2.0, 6.0]) == pytest.approx([4.5, 11.0])
    # dropped at 1.5 s: the other one, of which 1.5 s are left, goes on alone, until 3 s
    told = Told("processor_sharing", [(10.0, 1.0)], [0.5, 2.0])
    late = SpeedChanges({"it": told}, 1, 1, 0)
    late.finishing_s(0.0, np.zeros(1), np.ones((1, 1)))
    late.drop(1.5)
    assert late.finishing_s(2.0, np.zeros(1), np.full((1, 1), 2.0))[0, 0] == pytest.approx(3.0)  # half until 4 s


def test_priority_stands_still_while_anything_else_is_there():
    # idle from 0.5 s to 1 s and from 3 s to 4 s, then not before 8 s
    assert finished(Told("priority", JOBS, [0.5]), [0.5, 0.75, 0.25, 1.0]) == [1.0, 3.75, 4.0, 9.0]


def test_what_others_do_composes_with_a_slowdown_of_ours():
    models = {
        "jobs": Told("processor_sharing", [], [1.0]),
        "day": TimeOfDay(steps=[{"at_s": 0.0, "slowdown": 3.0}]),
    }
    changes = SpeedChanges(models, 1, 1, 0)
    # a sixth of the speed until the other one is done at 2 s, then a third
    assert changes.finishing_s(0.0, np.zeros(1), np.array([[1 / 3, 1.0]]))[0].tolist() == pytest.approx([2.0, 4.0])


def test_a_worker_without_work_leaves_the_others_alone():
    changes = SpeedChanges({"it": Told("processor_sharing", [], [2.0])}, 2, 1, 0)
    changes.finishing_s(0.0, np.zeros(2), np.array([[np.nan], [3.0]]))
    # worker 0 had nothing: its other job has 1 s to go at 1 s
    assert changes.finishing_s(1.0, np.array([0.0, 4.0]), np.ones((2, 1)))[:, 0].tolist() == [2.0, 5.0]


# --- in small steps ---


def steps(discipline, jobs, there, lists, step_s=1 / 512):
    """Serve jobs and lists of ours, each (when it comes, its work, when it is dropped), step by step."""
    waiting = [["other", work_s] for work_s in there]
    comes = sorted(
        [(at_s, "other", work_s) for at_s, work_s in jobs] + [(at_s, k, w) for k, (at_s, w, _) in enumerate(lists)],
        key=lambda each: each[0],
    )
    done, now_s = {}, 0.0
    while len(done) < len(lists):
        while comes and comes[0][0] <= now_s + 1e-9:
            _, kind, work_s = comes.pop(0)
            waiting.append([kind, work_s])
        for kind, (_, _, drop_s) in enumerate(lists):
            if drop_s <= now_s + 1e-9 and kind not in done:
                done[kind] = math.inf
        waiting = [each for each in waiting if each[0] not in done]
        others = [each for each in waiting if each[0] == "other"]
        served = (
            waiting
            if discipline == "processor_sharing"
            else ((others or waiting) if discipline == "priority" else waiting)[:1]
        )
        for each in served:
            each[1] -= step_s / len(served)
        now_s += step_s
        done |= {kind: now_s for kind, left_s in waiting if kind != "other" and left_s <= 1e-9}
        waiting = [each for each in waiting if each[1] > 1e-9]
    return [done[kind] for kind in range(len(lists))]


eighths = st.integers(1, 24).map(lambda k: k / 8)


@settings(max_examples=60, deadline=None)
@given(
    discipline=st.sampled_from(ALL),
    gaps=st.lists(eighths, max_size=8),
    sizes=st.lists(eighths, min_size=8, max_size=8),
    there=st.lists(eighths, max_size=3),
    lists=st.lists(st.tuples(eighths, eighths, st.one_of(st.none(), eighths)), min_size=1, max_size=4),
)
def test_lists_and_jobs_share_a_worker_as_in_small_steps(discipline, gaps, sizes, there, lists):
    jobs = list(zip(np.cumsum(gaps).tolist(), sizes, strict=False))
    changes = SpeedChanges({"it": Told(discipline, jobs, there)}, 1, 1, 0)
    now_s, spans, found = 0.0, [], []
    for pause_s, work_s, patience_s in lists:
        now_s += pause_s
        finish_s = now_s + changes.finishing_s(now_s, np.zeros(1), np.array([[work_s]]))[0, 0]
        drop_s = math.inf if patience_s is None else now_s + patience_s
        if finish_s > drop_s + 0.05:
            changes.drop(drop_s)
            found.append(math.inf)
            spans.append((now_s, work_s, drop_s))
            now_s = drop_s
        else:
            found.append(finish_s)
            spans.append((now_s, work_s, math.inf))
            now_s = math.ceil(finish_s * 8) / 8
    assert found == pytest.approx(steps(discipline, jobs, there, spans), abs=0.05)


# --- closed forms ---


@pytest.mark.parametrize("scv", [1.0, 0.0, 3.0])
@pytest.mark.parametrize("discipline", ALL)
def test_a_first_list_takes_its_mean_time_in_the_stationary_distribution(discipline, scv):
    model, work_s, n = Queueing(rate=0.5, mean_s=1.2, discipline=discipline, scv=scv), 2.0, 6000
    rho, mu = 0.6, 1 / 1.2
    wait_s = rho / (mu - 0.5) * (1 + scv) / 2  # M/M/1 with scv = 1
    expected = {
        "fifo": wait_s + work_s,
        "processor_sharing": work_s / (1 - rho),
        "priority": (wait_s + work_s) / (1 - rho),
    }
    changes = SpeedChanges({"it": model}, n, seed=4, trial=0)
    took_s = changes.finishing_s(0.0, np.zeros(n), np.full((n, 1), work_s))[:, 0]
    assert model.wait_s == pytest.approx(wait_s)
    assert took_s.mean() == pytest.approx(expected[discipline], abs=3.5 * took_s.std() / math.sqrt(n))


def test_a_long_list_behind_all_others_takes_its_share_of_the_time():
    n, work_s = 60, 400.0
    changes = SpeedChanges({"it": Queueing(rate=0.6, mean_s=1.0, discipline="priority")}, n, seed=2, trial=0)
    took_s = changes.finishing_s(0.0, np.zeros(n), np.full((n, 1), work_s))[:, 0]
    assert took_s.mean() == pytest.approx(work_s / (1 - 0.6), rel=0.02)


def test_the_wait_in_fifo_is_nought_or_exponential():
    n, rho, mu = 20_000, 0.6, 1.0
    changes = SpeedChanges({"it": Queueing(rate=rho, mean_s=1.0, discipline="fifo")}, n, seed=2, trial=0)
    wait_s = changes.finishing_s(0.0, np.zeros(n), np.full((n, 1), 1.0))[:, 0] - 1.0
    for at_s in (0.0, 0.5, 2.0, 5.0):
        assert (wait_s > at_s).mean() == pytest.approx(rho * math.exp(-mu * (1 - rho) * at_s), abs=0.012)


@pytest.mark.parametrize("discipline", ALL)
def test_after_a_pause_the_distribution_is_stationary_again(discipline):
    # rounds far apart: the work that a list finds is as if there had been none of ours before
    model, n = Queueing(rate=0.5, mean_s=1.0, discipline=discipline), 200
    changes, took_s = SpeedChanges({"it": model}, n, seed=6, trial=0), []
    for start_s in range(0, 1500, 50):
        took_s.append(changes.finishing_s(float(start_s), np.zeros(n), np.full((n, 1), 1.0))[:, 0])
    expected = {"fifo": 1.0 + 1.0, "processor_sharing": 2.0, "priority": 4.0}[discipline]
    assert np.mean(took_s) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("discipline", ALL)
def test_lists_without_a_pause_get_what_others_leave(discipline):
    # the worker is never idle: others take rho of its time, whatever the discipline, and lists the rest
    rho = 0.6
    stragglers = {
        "work": Constant(seconds_per_load=2.0),
        "jobs": Queueing(rate=rho, mean_s=1.0, discipline=discipline),
    }
    schemes = {"alone": {"kind": "uncoded"}}
    results = stragglersim.run(Scenario(workers=1, jobs=3000, seed=3, stragglers=stragglers, schemes=schemes))
    assert results.runs["makespan_s"].item() / 3000 == pytest.approx(2.0 / (1 - rho), rel=0.05)


# --- schemes ---


def test_other_jobs_are_the_same_whatever_lists_do():
    def comes(lists, discipline):
        changes = SpeedChanges({"it": Queueing(rate=0.6, mean_s=1.0, discipline=discipline)}, 3, seed=5, trial=1)
        for start_s, work_s in lists:
            changes.finishing_s(start_s, np.zeros(3), work_s * np.ones((3, 1)))
            changes.drop(start_s + 4.0, [1])
        changes.drop(860.0)
        [path] = changes._shared
        path.forget_until(900.0)
        return [[next(other._jobs) for _ in range(5)] for other in path._others]

    few, many = [(0.0, 1.0)], [(float(at_s), 7.0) for at_s in range(0, 850, 9)]
    by = [comes(lists, discipline) for lists in (few, many) for discipline in ALL]
    assert by == [by[0]] * 6
    assert len({tuple(each) for each in by[0]}) == 3


@dataclass(frozen=True)
class OnWorker1(Told):
    """The other jobs are worker 1's alone."""

    def others(self, n_workers, rng):
        nothing = [Told(self.discipline, [], []).other_work(rng) for _ in range(n_workers)]
        return [nothing[0], self.other_work(rng), *nothing[2:]]


def rounds_of(scheme, n_jobs, **how):
    """Rounds of two workers with 1 s of work each; worker 1 shares itself among three jobs of 1 s, too."""
    stragglers = {"work": Constant(seconds_per_load=2.0), "jobs": OnWorker1("processor_sharing", [], [1.0, 1.0, 1.0])}
    scenario = Scenario(workers=2, jobs=n_jobs, stragglers=stragglers, schemes={"it": scheme}, **how)
    return stragglersim.run(scenario, detail="workers")


def test_lists_that_are_dropped_leave_the_worker_to_the_others():
    # the copy is done at 2 s, when each other job has 0.5 s to go; again at 4 s, when they are done
    results = rounds_of({"kind": "backup_tasks", "policy": {"after": "deadline", "deadline_s": 1.0}}, 3)
    assert results.rounds["duration_s"].tolist() == pytest.approx([2.0, 2.0, 1.0])
    # dropped at 1 s, when the others have 3/4 s to go each: at 2 s it is 5/12 s
    policy = {"after": "deadline", "deadline_s": 1.0}
    results = rounds_of({"kind": "backup_tasks", "policy": policy, "relaunch": True}, 2)
    assert results.rounds["duration_s"].tolist() == pytest.approx([2.0, 2.0])
    done = results.workers.query("worker == 1")["load_done"].tolist()
    # the share of a list's own time that ran: 1 s of 4 s; and 1 s of 1 + 3 * 5/12 s
    assert done == pytest.approx([0.5 / 4, 0.5 / 2.25])


def test_a_round_that_ends_drops_lists_or_lets_them_go_on():
    results = rounds_of({"kind": "fastest_k", "k": 1}, 5)
    assert results.rounds["duration_s"].tolist() == [1.0] * 5
    # a quarter of a second in each of 4 rounds: lists would take 4, 3.25, 2.5 and 1.75 s; then the worker is free
    done = results.workers.query("worker == 1")["load_done"].tolist()
    assert done == pytest.approx([0.5 / 4, 0.5 / 3.25, 0.5 / 2.5, 0.5 / 1.75, 0.5])
    # the first list takes 4 s, with the others, and the second one 1 s
    done = rounds_of({"kind": "fastest_k", "k": 1}, 5, leftover="finish").workers.query("worker == 1")
    assert done["load_done"].tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]


# --- what is refused ---


def test_each_worker_may_have_its_own_other_jobs():
    model = PerWorker(Queueing.each(rate=[0.0, 0.9], mean_s=1.0, discipline="fifo"))
    n = 400
    changes = [SpeedChanges({"it": model}, 2, seed=seed, trial=0) for seed in range(n)]
    took_s = np.mean([each.finishing_s(0.0, np.zeros(2), np.ones((2, 1)))[:, 0] for each in changes], axis=0)
    assert took_s[0] == 1.0
    assert took_s[1] == pytest.approx(1.0 + 9.0, abs=3.5 * 10 / math.sqrt(n))
    assert model.changes_per_s == 1.8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Queueing(rate=1.0, mean_s=1.0, discipline="fifo"), "rate must be less than 1 / mean_s = 1, got 1"),
        (lambda: Queueing(rate=0.1, mean_s=1.0, discipline="lifo"), "fifo"),
        (lambda: Queueing(rate=0.1, mean_s=1.0, discipline="fifo", scv=math.inf), "finite"),
        (
            lambda: Groups(Queueing(rate=0.1, mean_s=1.0, discipline="fifo"), size=2),
            "model must not be one of other jobs",
        ),
        (
            lambda: Groups(PerWorker(Queueing.each(rate=0.1, mean_s=1.0, discipline="fifo")), size=2),
            "model must not be one of other jobs",
        ),
    ],
)
def test_other_jobs_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_other_jobs_out_of_all_proportion_are_refused():
    stragglers = {"work": Constant(1.0), "jobs": Queueing(rate=1e6, mean_s=1e-8, discipline="fifo")}
    with pytest.raises(ScenarioError, match="must change the speed of a worker at most 100000 times in the 1 s"):
        Scenario(workers=2, jobs=1, stragglers=stragglers, schemes={"it": {"kind": "uncoded"}})
