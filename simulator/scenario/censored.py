"""Warnings of traces whose times are lower bounds for other schemes than the one that was recorded."""

from simulator.plugins.kinds import SCHEME_TABLE
from simulator.scenario.scenario import Scenario
from straggler_models import Trace
from straggler_models.trace_file import read_trace_file


def censored(scenario: Scenario) -> list[str]:
    """Return a line for each trace with censored times that is replayed to other schemes."""
    found: dict[tuple[str, str], dict[str, None]] = {}  # schemes by label of the model, and file
    for _, at_point in scenario.all_points():
        for name, model in at_point.stragglers.items():
            if not isinstance(model, Trace) or (trace := read_trace_file(model.path)).censored is None:
                continue
            others = [
                label
                for label, scheme in at_point.schemes.items()
                if trace.scheme not in (label, SCHEME_TABLE.kind_of(scheme))
            ]
            if others:
                found.setdefault((name, model.path), {}).update(dict.fromkeys(others))
    return [_line(name, path, list(schemes)) for (name, path), schemes in found.items()]


def _line(name: str, path: str, schemes: list[str]) -> str:
    trace = read_trace_file(path)
    assert trace.censored is not None  # `censored` saw to it
    which = "(the key scheme of its metadata says which)" if trace.scheme is None else f"({trace.scheme})"
    return (
        f"stragglers.{name}: {100 * trace.censored.mean():.2g} % of the times are censored (the worker was cancelled "
        f"then): lower bounds, with which {', '.join(schemes)} may look better than they are; exact only for the "
        f"scheme that was recorded {which}"
    )
