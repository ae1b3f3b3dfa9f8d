"""Models in seconds: the time of day, and other jobs at the workers; by hand, in closed form and by brute force."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import stragglersim
from simulator.engine.speed_changes import SpeedChanges
from simulator.plugins.fields import fields_of
from simulator.plugins.messages import must_be
from straggler_models import Constant, Groups, TimeOfDay
from stragglersim import Scenario

STEPS = [{"at_s": 2.0, "slowdown": 4.0}, {"at_s": 5.0, "slowdown": 0.5}]


def finished(model, work_s, start_s=0.0, n_workers=1, begins_s=0.0):
    """When amounts of work are done that worker 0 begins at the start of a round, in seconds after that."""
    changes = SpeedChanges({"it": model}, n_workers, seed=1, trial=0)
    given = np.tile(np.array(work_s), (n_workers, 1))
    return changes.finishing_s(start_s, np.full(n_workers, begins_s), given)[0].tolist()


# --- time of day ---


def test_steps_are_taken_once():
    # 2 s of work by 2 s, 3/4 s more by 5 s, then twice the speed of 1
    assert finished(TimeOfDay(steps=STEPS), [1.0, 2.5, 2.75, 10.75]) == [1.0, 4.0, 5.0, 9.0]
    assert finished(TimeOfDay(steps=STEPS), [8.0], start_s=1e6) == [4.0]


def test_steps_with_a_period_begin_with_the_last_one():
    model = TimeOfDay(steps=STEPS, period_s=6.0)
    # 4 s of work in the first 2 s, 3/4 s by 5 s, 2 s in the last second: 6.75 s of work in 6 s
    assert finished(model, [4.0, 4.75, 6.75, 10.75, 67.5 + 4.25]) == [2.0, 5.0, 6.0, 8.0, 63.0]
    # the same from the middle of the third period's slow hours on, the list begun 1 s after the round
    assert finished(model, [0.25, 0.5, 2.5], start_s=14.0, begins_s=1.0) == [2.0, 3.0, 4.0]


def test_workers_stand_still_for_a_while():
    model = TimeOfDay(steps=[{"at_s": 0.0, "slowdown": math.inf}, {"at_s": 3.0, "slowdown": 1.0}], period_s=4.0)
    assert finished(model, [0.5, 1.0, 2.5]) == [3.5, 4.0, 11.5]


@pytest.mark.parametrize(("mean", "amplitude", "peak_s"), [(2.0, 0.5, 3.0), (0.7, 0.9, 0.0), (3.0, 0.0, 9.0)])
def test_a_wave_does_its_work_between_degrees_exactly_and_slows_by_its_closed_form(mean, amplitude, peak_s):
    period_s = 36.0
    model = TimeOfDay(wave={"mean": mean, "amplitude": amplitude, "peak_s": peak_s}, period_s=period_s)
    whole = period_s / (mean * math.sqrt(1 - amplitude**2))
    assert finished(model, [whole, 5 * whole]) == pytest.approx([period_s, 5 * period_s], rel=1e-9)

    def speed(at_s):
        return 1 / (mean * (1 + amplitude * math.cos(2 * math.pi * (at_s - peak_s) / period_s)))

    for end_s in (0.1, 7.3, 18.0, 35.9):
        work_s = quad(speed, 0.0, end_s, epsabs=1e-13, limit=200)[0]
        assert finished(model, [work_s]) == pytest.approx([end_s], rel=1e-9)
    # within a piece of a tenth of a second the speed is constant
    work_s = quad(speed, 0.0, 7.345, epsabs=1e-13, limit=200)[0]
    assert finished(model, [work_s]) == pytest.approx([7.345], abs=0.1 / 20)


def test_a_wave_is_highest_at_its_peak():
    speeds = list(
        zip(
            range(12),
            TimeOfDay(wave={"mean": 2.0, "amplitude": 0.5, "peak_s": 9.0}, period_s=36.0).slowdowns(
                1, np.random.default_rng(0)
            ),
            strict=False,
        )
    )
    slowdowns = np.concatenate([block.slowdown[:, 0] for _, block in speeds])
    assert slowdowns.max() == pytest.approx(3.0, rel=1e-4)
    assert slowdowns.min() == pytest.approx(1.0, rel=1e-4)
    assert np.argmax(slowdowns) in (89, 90)


def test_the_time_of_day_of_some_workers_is_that_of_a_group():
    model = Groups(TimeOfDay(steps=STEPS), members=[[1]])
    changes = SpeedChanges({"it": model}, 3, seed=1, trial=0)
    assert changes.finishing_s(0.0, np.zeros(3), np.full((3, 1), 2.5))[:, 0].tolist() == [2.5, 4.0, 2.5]


def test_rounds_meet_the_time_of_day():
    # a round of 2 s of work at slowdown 1, then at 3 from 3 s on
    day = {"usual": Constant(seconds_per_load=2.0), "day": TimeOfDay(steps=[{"at_s": 3.0, "slowdown": 3.0}])}
    scenario = Scenario(workers=1, jobs=3, stragglers=day, schemes={"uncoded": {"kind": "uncoded"}})
    assert stragglersim.run(scenario).rounds["duration_s"].tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "steps must be given, or wave in its place, got none of them"),
        ({"steps": STEPS, "wave": {"mean": 1.0, "amplitude": 0.1, "peak_s": 0.0}}, "got both"),
        ({"wave": {"mean": 1.0, "amplitude": 0.1, "peak_s": 0.0}}, "period_s must be given with wave, got nothing"),
        ({"wave": {"mean": 1.0, "amplitude": 1.0, "peak_s": 0.0}, "period_s": 1.0}, "less than 1"),
        ({"steps": STEPS[::-1]}, "steps.1.at_s must be later than the one before, 5, got 2"),
        ({"steps": STEPS, "period_s": 5.0}, "steps.1.at_s must be less than period_s = 5, got 5"),
        ({"steps": []}, "at least 1 item"),
        ({"steps": [{"at_s": 1.0, "slowdown": math.inf}]}, "steps.0.slowdown must be finite"),
        ({"steps": [{"at_s": 1.0, "slowdown": math.inf}], "period_s": 2.0}, "steps.0.slowdown must be finite"),
    ],
)
def test_times_of_day_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        TimeOfDay(**given)


def test_what_is_in_a_mapping_is_said():
    assert must_be(fields_of(TimeOfDay)["wave"]) == "a mapping with mean, amplitude, peak_s"
