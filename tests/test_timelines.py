"""Timelines of schemes that act: lists that begin in mid-round, or that go on over several rounds."""

import itertools
import math

import numpy as np
import pytest
from test_acting import SHARE, run
from test_engine import starts
from test_plots import drawn_by, make, texts

from schemes import BackupTasks, Dsag, FastestK, KAsync, KBatchAsync, KBatchSync, Uncoded
from simulator.engine.master_rules import FirstEnough
from simulator.plots.stragglers import straggler_logs
from simulator.plots.timeline import N_SHOWN_ROUNDS, draw_timeline, timelines
from simulator.plots.timeline_log import TimelineLog
from straggler_models import Bernoulli, Constant, ShiftedExponential


def log_of(scheme, n_jobs, rows, window=range(1), is_in_step=True, **how):
    log = TimelineLog(window, range(scheme.n_workers), is_in_step, **how.pop("log", {}))
    return run(scheme, n_jobs, rows, collector=log, **how)


def said(view):
    """Worker, job, list, beginning and end, and whether it is heard."""
    return [(bar.worker, bar.job, bar.place, bar.begin_s, bar.end_s, bar.is_heard) for bar in view.bars]


def test_copies_are_drawn_where_they_begin_and_originals_until_they_are_cancelled():
    rows, again = starts([1, 2, 9]), [starts([2, 3, 0])]
    policy = {"after": "share", "share": 2 / 3}
    log = log_of(BackupTasks(3, policy=policy), 1, rows, again=again)
    assert said(log.rounds[0]) == [
        (0, 0, 0, 0.0, 1.0, True),
        (0, 0, 1, 2.0, 4.0, True),  # of chunk 2, from when two results are there
        (1, 0, 0, 0.0, 2.0, True),
        (2, 0, 0, 0.0, 9.0, False),  # drawn until the round ends, and as a line beyond
    ]
    assert (log.rounds[0].stop_s, log.rounds[0].drops) == (4.0, True)
    log = log_of(BackupTasks(3, policy=policy, relaunch=True), 1, rows, again=again)
    assert said(log.rounds[0])[-1] == (2, 0, 0, 0.0, 2.0, False)


def test_start_up_of_a_copy_is_told_from_its_work():
    # each takes 1 s of start-up, and 1 s for a half; worker 1 is ten times slower
    rows, again = [[(1.0, 2.0, 1.0), (1.0, 2.0, 10.0)]], [[(1.0, 6.0, 2.0), (0.0, 0.0, 1.0)]]
    log = log_of(BackupTasks(2, policy=SHARE), 1, rows, again=[again])
    copy = [bar for bar in log.rounds[0].bars if bar.place]
    assert [(bar.kind, bar.job, bar.begin_s, bar.end_s) for bar in copy] == [
        ("startup", -1, 2.0, pytest.approx(4.0)),
        ("plain", 0, pytest.approx(4.0), pytest.approx(10.0)),
    ]


def test_a_list_that_goes_on_is_one_bar_that_counts():
    log = log_of(KAsync(3, k=1), 4, starts([1, 2.5, 9], [1, 9, 9], [9, 9, 9], [9, 9, 9]), range(3), is_in_step=False)
    assert said(log.rounds[0]) == [
        (0, 0, 0, 0.0, 1.0, True),
        (1, 0, 0, 0.0, 2.5, True),
        (2, 0, 0, 0.0, 9.0, True),
    ]
    assert said(log.rounds[1]) == [(0, 1, 0, 1.0, 2.0, True)]
    assert not any(view.drops for view in log.rounds)


def test_lists_begun_before_the_window_are_kept():
    log = log_of(KAsync(3, k=1), 3, starts([1, 2.5, 9], [1, 9, 9], [9, 9, 9]), range(2, 3), is_in_step=False)
    assert [view.index for view in log.before] == [0, 1]
    names, scenario = {"it": "it"}, make(workers=3, schemes={"it": KAsync(3, k=1)})
    figure = drawn_by(draw_timeline, {"it": log}, scenario, names)
    # at 2 s, worker 1 is half a second from the end of its first list, worker 2 seven
    ends = sorted({corner for bars in figure.axes[0].patches for corner in bars.get_path().vertices[:, 0]})
    assert 0.5 in ends


def test_rounds_without_own_length_are_shown_for_as_long_as_the_others():
    usual = {"usual": ShiftedExponential(shift=1.0, mean=1.0, adds_to="startup_s")}
    schemes = {"sync": Uncoded(4), "async": KAsync(4, k=1), "batch": KBatchAsync(4, k=2), "DSAG": Dsag(4, w=2)}
    scenario = make(jobs=200, stragglers=usual, schemes=schemes, master=FirstEnough())
    shown = timelines(scenario, straggler_logs(scenario, schemes))
    span_s = {label: log.rounds[-1].stop_s - log.rounds[0].start_s for label, log in shown.items()}
    assert len(shown["sync"].rounds) == N_SHOWN_ROUNDS
    assert min(span_s.values()) == span_s["sync"]
    assert max(span_s.values()) < span_s["sync"] + 4
    assert len(shown["async"].rounds) > 3 * N_SHOWN_ROUNDS
    alone = make(jobs=200, master=FirstEnough(), stragglers=usual, schemes={"async": KAsync(4, k=1)})
    [log] = timelines(alone, straggler_logs(alone, alone.schemes)).values()
    assert log.n_results >= N_SHOWN_ROUNDS * 4
    assert len(log.rounds) < 40


def test_a_single_task_has_the_colour_of_its_job_if_starting_up_is_all_of_it():
    usual = {"usual": Constant(startup_s=1.0)}
    scenario = make(stragglers=usual, schemes={"sync": FastestK(4, k=2)})
    [log] = timelines(scenario, straggler_logs(scenario, scenario.schemes)).values()
    assert {(bar.job, bar.kind) for bar in log.rounds[0].bars} == {(log.rounds[0].index, "plain")}


@pytest.mark.parametrize("model", [ShiftedExponential(shift=0.5, mean=2.0, adds_to="startup_s"), Constant(1.0)])
def test_the_numbers_of_many_rounds_do_not_overlap(model):
    usual = {"usual": model}  # at random, or thirty rounds at once
    schemes = {"sync": Uncoded(30), "async": KAsync(30, k=1)}
    scenario = make(workers=30, jobs=2000, trials=1, stragglers=usual, schemes=schemes, master=FirstEnough())
    shown = timelines(scenario, straggler_logs(scenario, schemes))
    assert len(shown["async"].rounds) > 100
    figure = drawn_by(draw_timeline, shown, scenario, {label: label for label in schemes})
    figure.canvas.draw()
    axes = figure.axes[1]
    above = [text for text in axes.texts if text.get_window_extent().y0 >= axes.bbox.y1]
    boxes = sorted((text.get_window_extent() for text in above), key=lambda box: box.x0)
    assert len(boxes) >= 4
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    assert boxes[-1].x1 <= axes.bbox.x1
    full = [line for line in axes.lines if np.ptp(line.get_ydata()) == 1]
    assert len(full) == len(boxes)  # others are short, above the bars


def test_the_key_says_what_began_in_mid_round():
    usual = {"usual": ShiftedExponential(shift=0.5, mean=1.0, adds_to="seconds_per_load")}
    for scheme, is_told in ((KBatchSync(4, k=6), True), (KAsync(4, k=2), False)):
        scenario = make(jobs=20, stragglers=usual, schemes={"it": scheme})
        shown = timelines(scenario, straggler_logs(scenario, scenario.schemes))
        assert math.isfinite(shown["it"].rounds[-1].stop_s)
        figure = drawn_by(draw_timeline, shown, scenario, {"it": "it"})
        assert ("begun in mid-round" in texts(figure)) == is_told


def test_rounds_in_which_copies_pay_are_shown_with_their_workers():
    usual = {"usual": ShiftedExponential(shift=0.9, mean=0.1, adds_to="startup_s"), "slow": Bernoulli(0.01, 8.0)}
    backup = BackupTasks(20, policy={"after": "share", "share": 0.8})  # most copies of most rounds are in vain
    scenario = make(workers=20, jobs=60, stragglers=usual, schemes={"it": backup}, master=FirstEnough())
    [log] = timelines(scenario, straggler_logs(scenario, scenario.schemes)).values()
    assert any(view.stop_s - view.start_s > 1.9 for view in log.rounds)
    assert any(bar.place > 0 and bar.is_heard for view in log.rounds for bar in view.bars)
