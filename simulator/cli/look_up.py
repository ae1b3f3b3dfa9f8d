"""`stragglersim list`, `explain`, `schema` and `examples`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulator.cli.options import Overrides, ScenarioFile, Sweeps, load_scenario
from simulator.cli.terminal import InputError, print_table, said_load, say

if TYPE_CHECKING:
    from schemes import Scheme

COSTS = ("load", "of uncoded", "T", "load bound", "load / bound", "reports", "tolerates")
Family = Literal["schemes", "models", "assignments", "masters", "orderings", "workloads"]


def list_plugins(family: Annotated[Family, typer.Argument(help="Family to list.", show_default=False)]) -> None:
    """List schemes, straggler models, master rules, workloads or parts of schemes, with their parameters.

    Example: stragglersim list models
    """
    from simulator.plugins import kinds
    from simulator.plugins.messages import parameters

    table = {
        "schemes": kinds.SCHEME_TABLE,
        "models": kinds.MODEL_TABLE,
        "assignments": kinds.ASSIGNMENT_TABLE,
        "masters": kinds.RULE_TABLE,
        "orderings": kinds.ORDERING_TABLE,
        "workloads": kinds.WORKLOAD_TABLE,
    }[family]
    rows: list[tuple[str, ...]] = []
    for kind, cls in table.known().items():
        rows.append((kind, "", (cls.__doc__ or "").strip().partition("\n")[0].replace("`", "")))
        for parameter in parameters(cls, table.filled_in):
            default = "" if parameter.default is None else f" [default: {parameter.default}]"
            rows.append((f"  {parameter.name}", parameter.must_be, parameter.meaning + default))
        rows.append(("", "", ""))
    print_table(("kind, parameters", "must be", "meaning"), rows[:-1], wrap="meaning")


def explain(scenario_file: ScenarioFile, overrides: Overrides = None, sweeps: Sweeps = None) -> None:
    """Say what each scheme of a scenario costs and tolerates, without running it; of a sweep, each scheme once.

    Example: stragglersim explain quickstart.yaml

    In the table, " stands for what the row above says.

    The bound is the smallest load of any scheme, with any finite T, that tolerates the same bursts.
    """
    scenario = load_scenario(scenario_file, overrides, sweeps)
    rows: list[tuple[str, ...]] = []
    facts, told = [], set()
    for values, at_point in scenario.all_points():
        for label, scheme in at_point.schemes.items():
            at, bound = _of_scheme(values, label), scheme.load_bound
            row = (
                label,
                said_load(scheme.mean_load, scheme.load, 6),
                f"{scheme.load * at_point.workers:.3g}x",
                str(scheme.delay_rounds),
                "-" if bound is None else f"{bound:.6g}",
                "-" if bound is None else f"{scheme.load / bound:.3g}",
                str(_most_reports(scheme)),
                scheme.tolerates,
            )
            if row not in told:
                told.add(row)
                rows.append((label, at, *row[1:]))
                facts += [f"{label}{f' ({at})' if at else ''}: {name} {said}" for name, said in scheme.facts.items()]
    order = list(scenario.schemes)
    rows.sort(key=lambda row: order.index(row[0]))  # the points of a scheme one below the other
    header: tuple[str, ...] = ("scheme", "at", *COSTS)
    if not any(at for _, at, *_ in rows):  # nothing that is swept decides any of this
        header, rows = ("scheme", *COSTS), [(label, *costs) for label, _, *costs in rows]
    print_table(header, [rows[0], *itertools.starmap(_with_ditto, zip(rows[1:], rows, strict=False))], wrap="tolerates")
    for fact in facts:
        say(fact)


def _with_ditto(row: tuple[str, ...], above: tuple[str, ...]) -> tuple[str, ...]:
    """A row in which the tolerated pattern is not said again if it is that of the row above."""
    return (*row[:-1], '"' if row[-1] == above[-1] else row[-1])


def _of_scheme(values: dict[str, Any], label: str) -> str:
    """The swept values that can decide what a scheme costs and tolerates."""
    own = {key: key.removeprefix(f"schemes.{label}.").removeprefix("schemes.*.") for key in values}
    return ", ".join(f"{name} = {values[key]}" for key, name in own.items() if name != key or key == "workers")


def _most_reports(scheme: Scheme) -> int:
    """Reports of a worker in a round in the middle of a run in which nobody is missing."""
    import numpy as np

    from schemes import Closing

    session, most = scheme.start(scheme.delay_rounds + 1, np.random.default_rng(0)), 0
    for index in range(scheme.delay_rounds + 1):
        work = session.open_round(index)
        most = max(most, work.loads.shape[1])
        for worker, report in np.argwhere(work.reporting).tolist():
            session.receive(worker, report)
        session.close_round(Closing(np.zeros(scheme.n_workers, dtype=np.bool_), forced=False))
    return most


def schema() -> None:
    """Print the JSON Schema of scenarios, with which editors complete and check them.

    Example: stragglersim schema > stragglersim.schema.json

    Then let a scenario begin with:  # yaml-language-server: $schema=stragglersim.schema.json
    """
    import json

    from simulator.scenario.json_schema import scenario_schema

    say(json.dumps(scenario_schema(), indent=2))


def examples(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Scenario to copy.", show_default=False)] = None,
) -> None:
    """List the example scenarios, or copy one to the current folder.

    Example: stragglersim examples quickstart
    """
    from simulator.errors import ScenarioError
    from simulator.files import whole_file

    shipped = {file.stem: file for file in sorted(_scenarios().glob("*.yaml"))}
    if name is None:
        rows = [(stem, file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")) for stem, file in shipped.items()]
        print_table(("name", "question"), rows, wrap="question")
        return
    if name.removesuffix(".yaml") not in shipped:
        raise InputError(f"examples: {name!r} is not one of {', '.join(shipped)}")
    target = Path(f"{name.removesuffix('.yaml')}.yaml")
    if target.exists():
        raise InputError(
            f"{target}: must not exist yet, got a file of that name (rename it, or work in another folder)"
        )
    with whole_file(target) as partial:
        partial.write_bytes(shipped[target.stem].read_bytes())
    say(f"Wrote {target}")
    try:
        load_scenario(target)
    except ScenarioError as error:
        say(f"Before you can run it, mend this:\n{error}")
    else:
        say(f"Run it by: stragglersim run {target}")


def _scenarios() -> Path:
    """The shipped scenarios: inside the package in a wheel, beside it in a checkout."""
    inside, beside = (folder / "scenarios" for folder in Path(__file__).parents[1:3])
    return inside if inside.is_dir() else beside
