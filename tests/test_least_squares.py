"""Squared errors of nested sets of responses: against least squares, exact arithmetic and themselves."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import stragglersim
from schemes import ApproximateScheme, BernoulliGradientCoding, ExpanderGradientCoding, PartialGradientCoding
from schemes.assignment import BernoulliAssignment, RandomRegular
from schemes.base.batch import Closed
from schemes.base.least_squares import least_squares_error, least_squares_errors
from simulator.engine.master_rules import FixedTime
from straggler_models import ShiftedExponential


def random_rows(n_workers, n_chunks, rng):
    """Rows of zeros and ones, often with rows that are equal, sums of others or zero."""
    rows = (rng.random((n_workers, n_chunks)) < rng.choice([0.05, 0.1, 0.2, 0.5, 0.8])).astype(float)
    kind = rng.integers(0, 6)
    if kind == 1:
        rows = rows[rng.integers(0, n_workers, n_workers)]
    elif kind == 2:
        rows[rng.random(n_workers) < 0.3] = 0
    elif kind == 3:
        rows = np.repeat(rows, rng.integers(2, 5), axis=0)
    elif kind == 4:
        parts = rows[: max(1, n_chunks // 4)]
        rows = np.minimum(1, (rng.random((n_workers, len(parts))) < 0.3) @ parts)
    elif kind == 5:
        rows = (np.arange(n_chunks) - np.arange(n_workers)[:, np.newaxis]) % n_chunks < rng.integers(1, n_chunks + 1)
    return np.asarray(rows, dtype=float)


def random_rounds(n_workers, n_deadlines, rng):
    """One order of arrival, sometimes with ties, and who is missing at some deadlines."""
    due_s = rng.integers(0, n_workers, n_workers).astype(float) if rng.random() < 0.3 else rng.random(n_workers)
    missing = due_s > rng.choice([-1.0, *due_s, np.inf], n_deadlines)[:, np.newaxis]
    return np.repeat(due_s[np.newaxis], n_deadlines, axis=0), missing


def check(rows, errors, expected):
    np.testing.assert_array_equal(errors == 0, np.array(expected) == 0, repr(rows))
    np.testing.assert_allclose(errors, expected, rtol=1e-9, atol=0, err_msg=repr(rows))


@pytest.mark.parametrize(("largest", "n_cases"), [(12, 1000), (40, 500), (150, 15)])
def test_errors_are_those_of_least_squares(largest, n_cases):
    rng = np.random.default_rng(largest)
    for _ in range(n_cases):
        rows = random_rows(*rng.integers(largest // 4, largest + 1, 2), rng)
        due_s, missing = random_rounds(len(rows), 5, rng)
        expected = [least_squares_error(rows[~row].T) for row in missing]
        check(rows, least_squares_errors(rows, due_s, missing), expected)


def test_errors_of_small_matrices_are_exact():
    rng = np.random.default_rng(0)
    for _ in range(300):
        rows = random_rows(*rng.integers(1, 9, 2), rng)
        due_s, missing = random_rounds(len(rows), 4, rng)
        expected = [float(exact_error(rows[~row].astype(int).tolist(), rows.shape[1])) for row in missing]
        check(rows, least_squares_errors(rows, due_s, missing), expected)


def exact_error(rows, n_chunks):
    """By Gram and Schmidt, in rational numbers."""
    basis, residual = [], [Fraction(1)] * n_chunks
    for row in rows:
        new = [Fraction(value) for value in row]
        for old in basis:
            share = dot(new, old) / dot(old, old)
            new = [a - share * b for a, b in zip(new, old, strict=True)]
        if any(new):
            basis.append(new)
            share = dot(residual, new) / dot(new, new)
            residual = [a - share * b for a, b in zip(residual, new, strict=True)]
    return dot(residual, residual)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("largest", "n_cases"), [(40, 300), (150, 30)])
def test_an_error_does_not_depend_on_what_else_is_asked_for(largest, n_cases):
    rng = np.random.default_rng(1)
    for _ in range(n_cases):
        rows = random_rows(*rng.integers(largest // 4, largest + 1, 2), rng)
        rounds = [random_rounds(len(rows), 4, rng) for _ in range(3)]
        due_s, missing = (np.concatenate(parts) for parts in zip(*rounds, strict=True))
        together = least_squares_errors(rows, due_s, missing)
        shuffled = rng.permutation(12)
        for which in (shuffled, shuffled[:7], *shuffled[:, np.newaxis]):
            np.testing.assert_array_equal(least_squares_errors(rows, due_s[which], missing[which]), together[which])
        ranks = due_s[0].argsort(kind="stable").argsort()  # what a session knows: the order alone
        np.testing.assert_array_equal(least_squares_errors(rows, ranks[np.newaxis], missing[:1]), together[:1])


@dataclass(frozen=True)
class Sums(ApproximateScheme):
    """Any sums."""

    n_workers: int
    rows: tuple[tuple[float, ...], ...]

    def encoding_matrix(self):
        return np.array(self.rows)


def test_an_estimate_is_enough_from_the_arrival_on_with_which_a_session_says_so():
    rng, n_enough = np.random.default_rng(4), 0
    for _ in range(200):
        rows = random_rows(*rng.integers(2, 14, 2), rng)
        rows[0, 0] = 1
        scheme = Sums(len(rows), tuple(map(tuple, rows.tolist())))
        [batch] = scheme.batches(1, [scheme] * 6)
        due_s, missing = random_rounds(len(rows), 6, rng)
        due_s[np.isnan(batch.loads()[:, :, 0]).repeat(6, axis=0)] = -np.inf
        by_s = np.where(missing, -np.inf, due_s).max(axis=1)
        enough = batch.enough(due_s[:, :, np.newaxis], by_s, EACH)
        np.testing.assert_array_equal(enough, batch.enough_s(due_s[:, :, np.newaxis], EACH) <= by_s, repr(rows))
        n_enough += enough.sum()
    assert 200 < n_enough < 1000


WORKERS = 24
EACH = np.arange(6)


@pytest.mark.parametrize(
    "scheme",
    [
        ExpanderGradientCoding(WORKERS, chunks_per_worker=4),
        BernoulliGradientCoding(WORKERS, p=0.05),
        BernoulliGradientCoding(WORKERS, p=0.2),
        PartialGradientCoding(WORKERS, assignment=RandomRegular(chunks_per_worker=3), credit="whole_list"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("time_s", [0.5, 2.0, 5.0])
def test_both_engines_report_the_same_error_to_the_bit(scheme, time_s):
    scenario = stragglersim.Scenario(
        workers=WORKERS,
        jobs=20,
        trials=2,
        stragglers={"speed": ShiftedExponential(shift=0, mean=10.0, adds_to="seconds_per_load")},
        master=FixedTime(time_s=time_s),
        schemes={"it": scheme},
    )
    errors = [stragglersim.run(scenario, engine=engine).jobs["squared_error"] for engine in ("events", "vectorised")]
    assert errors[0].max() > 0
    assert errors[0].tolist() == errors[1].tolist()


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_copies_are_counted_where_chunks_have_unlike_many(blocks):
    scheme = PartialGradientCoding(12, assignment=BernoulliAssignment(p=0.7), blocks=blocks, seed=3)
    [batch], rng = scheme.batches(1, [scheme] * 6), np.random.default_rng(blocks)
    loads = batch.loads()
    seconds_per_load = rng.exponential(1.0, (6, 12, 1))
    seconds_per_load[:, 0], seconds_per_load[:, 1] = 0, np.inf
    due_s = np.where(np.isnan(loads), -np.inf, seconds_per_load * loads)
    lists, held = scheme.placement.lists, scheme.held

    def lacking(row, by_s):
        done = [chunk for worker, chunks in enumerate(lists) for place, chunk in enumerate(chunks)
                if due_s[row, worker, place] <= by_s]  # fmt: skip
        return np.maximum(blocks - np.bincount(done, minlength=len(held)), 0).sum()

    for by_s in (rng.exponential(0.5, 6), rng.exponential(2.0, 6)):
        expected = [lacking(row, by_s[row]) for row in range(6)]
        assert (batch.enough(due_s, by_s, EACH) == (np.array(expected) == 0)).all()
        missing = due_s[:, :, -1] > by_s[:, np.newaxis]
        closed = Closed(EACH, due_s, by_s, missing, np.zeros(6, dtype=bool), takes_estimate=True)
        assert batch.squared_errors(closed).tolist() == expected
    enough_s = batch.enough_s(due_s, EACH)
    for row in np.flatnonzero(np.isfinite(enough_s)).tolist():
        assert lacking(row, enough_s[row]) == 0 < lacking(row, np.nextafter(enough_s[row], 0))
