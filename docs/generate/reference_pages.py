"""Pages of the reference, made from the code whenever the site is built. Each function returns a page as Markdown."""

import importlib
import inspect
import re
from collections.abc import Iterable

import typer

import stragglersim
from simulator.cli.app import app
from simulator.columns import DERIVED, KEYS, SCHEMAS, TABLES, Column
from simulator.engine.network import Network
from simulator.engine.training import Training
from simulator.plugins import kinds
from simulator.plugins.messages import Parameter, parameters
from simulator.scenario.scenario import Scenario

FAMILIES = {  # of plug-ins: the page, its table, its title and how a scenario names one
    "schemes": (kinds.SCHEME_TABLE, "Schemes", "schemes: {LABEL: {kind: ...}}"),
    "straggler-models": (kinds.MODEL_TABLE, "Straggler models", "stragglers: {LABEL: {kind: ...}}"),
    "master-rules": (kinds.RULE_TABLE, "Master rules", "master: {kind: ...}"),
    "assignments": (kinds.ASSIGNMENT_TABLE, "Assignments", "assignment: {kind: ...}"),
    "orderings": (kinds.ORDERING_TABLE, "Orderings", "ordering: {kind: ...}"),
    "workloads": (kinds.WORKLOAD_TABLE, "Workloads", "training: {workload: {kind: ...}}"),
}
COMPOSED = {  # keys of a scenario that hold more than one value
    "stragglers": "a mapping of labels to [straggler models](straggler-models.md), or a file with one",
    "master": "a [master rule](master-rules.md)",
    "network": "a mapping ([keys](#network))",
    "training": "a mapping ([keys](#training))",
    "schemes": "a mapping of labels to [schemes](schemes.md), each of which may have a `master` of its own",
    "sweep": "a mapping of dotted keys to values ([syntax](scenario.md#dotted-keys-and-sweeps))",
}
OF_PAPERS = {  # what the papers call a kind: a search for it is to lead there
    "bernoulli_gradient_coding": "BGC",
    "bounded_staleness": "SSP",
    "dsag": "DSAG",
    "dynamic_clusters": "GC-DC",
    "fastest_k": "K-sync SGD, ignore stragglers",
    "fractional_repetition": "GC-Rep, FRC",
    "gradient_coding": "GC",
    "gilbert_elliott": "Gilbert-Elliott, bursts with memory",
    "k_async": "K-async SGD",
    "k_batch_async": "K-batch-async SGD",
    "k_batch_sync": "K-batch-sync SGD",
    "local_sgd": "local SGD",
    "mu_rule": "mu-rule, wait-out",
    "multiplexed": "M-SGC",
    "partial_gradient_coding": "partial stragglers",
    "selective_repeat": "SR-SGC",
}
ESTIMATED = {  # whose jobs may end with an estimate, whatever the rule
    *("bernoulli_gradient_coding", "bibd_gradient_coding", "expander_gradient_coding", "sparse_graph_gradient_coding"),
    *("bounded_staleness", "dsag", "fastest_k", "k_async", "k_batch_async", "k_batch_sync", "local_sgd", "to_do_list"),
}
EXPLAINED = {  # kinds whose rounds a page goes through
    **dict.fromkeys(("multiplexed", "selective_repeat"), "[Sequential gradient coding](../explanation/sequential.md)"),
    "partial_gradient_coding": "[Partial stragglers](../explanation/partial.md)",
    "mu_rule": "[When a round closes](../explanation/model.md#when-a-round-closes)",
    **dict.fromkeys(
        ("adaptive", "backup_tasks", "bounded_staleness", "dsag", "dynamic_clusters"),
        "[Schemes that act](../explanation/acting.md)",
    ),
    **dict.fromkeys(("k_async", "k_batch_async", "k_batch_sync"), "[Schemes that act](../explanation/acting.md)"),
}
HEADS = {
    "schemes": """\
**Estimates.** A job that ends with an estimate of its gradient has the status `approximate`. It counts as finished, in
[`jobs_per_s`](tables.md#runs-jobs_per_s) and [`overhead`](tables.md#runs-overhead), and never as failed.
[`relative_error_mean`](tables.md#runs-relative_error_mean) says how far off estimates are. Partial gradient coding
gives them under a rule that waits for nobody; schemes marked *estimates* may give them under any rule.
"""
}
FILLED_IN = ("masters", "points")  # what a scenario in Python has besides
SECTION = re.compile(r"^(\w+)\n-+$", re.M)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def of_docstring(said: str, *, examples: bool = True) -> str:
    """A docstring as Markdown: its sections become paragraphs, its examples a block of code."""
    first, *rest = SECTION.split(said)
    parts, example = [first.strip()], ""
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        if name == "Examples" and examples:
            example = f"\n\n```pycon\n{body.strip()}\n```"
        elif name == "References":
            parts.append(f"**Source.** {body.strip()}")
        elif name == "Notes":
            parts.append(body.strip())
    text = "\n\n".join(parts).replace("``", "`")
    return re.sub(r":\w+:`~?\.?([^`]*)`", r"`\1`", text) + example


def parameter_table(rows: Iterable[Parameter]) -> str:
    """What each key must be, its default, and what it means."""
    shown = []
    for parameter in rows:
        default = "" if parameter.default is None else f"`{parameter.default}`".replace("'", "")
        shown.append((f"`{parameter.name}`", parameter.must_be, default, parameter.meaning.replace("``", "`")))
    return table(("key", "must be", "default", "meaning"), shown) if shown else "No parameters.\n"


def heading(kind: str) -> str:
    """A kind with the papers' names of it; its anchor is the kind."""
    names = f" ({OF_PAPERS[kind]})" if kind in OF_PAPERS else ""
    return f"{kind}{names} {{ #{kind} }}"


def family(page: str) -> str:
    """Every plug-in of a family, with its parameters and where it comes from."""
    plugins, title, usage = FAMILIES[page]
    lines = [f"# {title}\n", f"In a scenario: `{usage}`.\n", HEADS.get(page, "")]
    for kind, cls in plugins.shipped.items():
        lines += [f"## {heading(kind)}\n", of_docstring(inspect.getdoc(cls) or ""), ""]
        lines += ["*Estimates*: a job may end as `approximate`, which counts as finished.\n"] * (kind in ESTIMATED)
        lines += [f"**Explanation.** {EXPLAINED[kind]}.\n"] if kind in EXPLAINED else []
        lines += [parameter_table(parameters(cls, plugins.filled_in)), ""]
    return "\n".join(lines)


def scenario_keys() -> str:
    """Every key of a scenario, and those of its sections."""
    head = [
        parameter._replace(
            must_be=COMPOSED.get(parameter.name, parameter.must_be),
            default=None if parameter.name in COMPOSED else parameter.default,
        )
        for parameter in parameters(Scenario, FILLED_IN)
    ]
    lines = ["# Scenario keys\n", "`workers`, `jobs`, `stragglers` and `schemes` are required.\n"]
    lines += [parameter_table(head), ""]
    for name, cls in (("network", Network), ("training", Training)):
        found = [one._replace(must_be=_or_each(one)) for one in parameters(cls)]
        lines += [
            f"## {name}\n",
            of_docstring(inspect.getdoc(cls) or "", examples=False),
            "",
            parameter_table(found),
            "",
        ]
    return "\n".join(lines)


def _or_each(parameter: Parameter) -> str:
    return "a number greater than 0, or a list of them" if parameter.must_be == "a list" else parameter.must_be


def command_line() -> str:
    """Every command with its arguments and options."""
    lines = [
        "# Command line\n",
        "Exit status: 0 done; 1 done, but an aim was missed or runs failed; 2 a mistake in",
    ]
    lines += ["the input; 3 the engines differ; 130, 143 and 129 stopped by Ctrl-C, SIGTERM and SIGHUP.\n"]
    root = typer.main.get_command(app)
    for path, command in commands(("stragglersim",), root):
        context = command.make_context(path[-1], [], resilient_parsing=True)
        lines += [
            f"## {' '.join(path)}\n",
            "```text",
            " ".join((*path, *(piece.strip("{}") for piece in command.collect_usage_pieces(context)))),
            "```\n",
        ]
        lines += [_help(command.help or ""), ""]
        records = [one.get_help_record(context) for one in command.params]
        rows = [(f"`{record[0]}`", " ".join(record[1].split())) for record in records if record]
        if rows:
            lines += [table(("argument or option", "meaning"), rows), ""]
    return "\n".join(lines)


def commands(path: tuple[str, ...], command: typer.core.TyperCommand) -> Iterable[tuple[tuple[str, ...], object]]:
    """Every command below one, with the words that call it."""
    for name, below in command.commands.items():
        if hasattr(below, "commands"):
            yield from commands((*path, name), below)
        else:
            yield (*path, name), below


def _help(said: str) -> str:
    """A help text; what stands after "Example:" is a command."""
    said = re.sub(r"\n(?!\n)[ \t]*(?! )", "\n", inspect.cleandoc(said).replace("\b", ""))
    return re.sub(r"^((?:Example|Then \w[^:]*):\s*)(.+)$", r"\1`\2`", said, flags=re.M)


def tables() -> str:
    """Every table and column, with its type, unit and meaning."""
    lines = [
        "# Tables and columns\n",
        "`run` writes the first five as Parquet files, the others are printed and written as CSV by the command that",
        "makes them. [What the numbers mean](../explanation/numbers.md) explains what is not obvious, and has the",
        "formulas of intervals.\n",
    ]
    for name, columns in TABLES.items():
        first = "" if name == "runs" else f" Its first columns are {', '.join(f'`{key}`' for key in KEYS)}."
        rows = [(_anchored(name, column), of.type, _unit(of), of.meaning) for column, of in columns.items()]
        lines += [f"## {name}\n", f"{inspect.getdoc(SCHEMAS[name])}{first}\n"]
        lines += [table(("column", "type", "unit", "formula or meaning"), rows), ""]
    for name, columns in DERIVED.items():
        rows = [(_anchored(name, column), _unit(of), of.meaning) for column, of in columns.items()]
        lines += [f"## {name}\n", table(("column", "unit", "formula or meaning"), rows), ""]
    return "\n".join(lines)


def _anchored(table_name: str, column: str) -> str:
    """A column that pages can point at, as `tables.md#runs-makespan_s`."""
    return f"`{column}`{{ #{table_name}-{column} }}"


def _unit(column: Column) -> str:
    """The unit of a column, also where its label is one."""
    return column.unit or (column.label if column.label.endswith(" per second") else "")


def python() -> str:
    """The public face of the package, by mkdocstrings."""
    lines = ["# Python\n", "```python", "import stragglersim", "```\n"]
    for name in stragglersim.__all__:
        found = getattr(stragglersim, name)
        if inspect.ismodule(found):
            lines += [
                f"## stragglersim.{name}\n",
                f"The package `{name}`, which can be imported by itself: each class is a",
            ]
            lines += [f"kind of [{name.replace('_', ' ')}]({name.replace('_', '-')}.md).\n"]
            continue
        module = importlib.import_module(found.__module__)
        lines += [f"## stragglersim.{name}\n", f"::: {module.__name__}.{found.__qualname__}", ""]
    return "\n".join(lines)


PAGES = {
    "scenario-keys": scenario_keys,
    "command-line": command_line,
    "tables": tables,
    "python": python,
    **{page: (lambda page=page: family(page)) for page in FAMILIES},
}
