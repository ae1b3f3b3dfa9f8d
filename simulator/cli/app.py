"""The command line: `stragglersim`, also `python -m simulator`.

Heavy libraries are imported where they are used, so that `--help` answers at once.
"""

import gc
import sys

import typer

from simulator.cli.advise import advise
from simulator.cli.fit import fit
from simulator.cli.look_up import examples, explain, list_plugins, schema
from simulator.cli.run import run, validate
from simulator.cli.show import compare, plot
from simulator.cli.terminal import InputError, complain
from simulator.cli.trace import trace
from simulator.cli.tune import tune
from simulator.errors import OUTSIDE, UserError, place_in, told

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate distributed gradient computation with slow workers: what does redundancy buy?\n\n"
    "Start with:\n\n  stragglersim examples quickstart\n\n  stragglersim run quickstart.yaml --out results/quickstart",
)


app.command()(run)
app.command()(validate)
app.command()(tune)
app.command()(advise)
app.command("list")(list_plugins)
app.command()(explain)
app.command()(plot)
app.command()(compare)
app.command()(schema)
app.command()(examples)
trace.command()(fit)
app.add_typer(trace, name="trace")

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def main() -> None:
    """Run the command line; what a user can mend ends in a line on stderr and exit status 2."""
    gc.set_threshold(10_000)  # libraries make many objects and few cycles: a twentieth of the time of a short command
    code, stopped = INTERRUPTED, "stopped; nothing was written"
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        pass
    except BrokenPipeError:  # of `stragglersim ... | head`
        code = 0
        sys.stdout = None  # so that nothing is flushed into it at exit
    except Exception as error:
        if isinstance(error, MemoryError):
            error = InputError("this needs more memory than there is: use fewer workers, jobs or details")
        said = str(error) if isinstance(error, UserError) else _usage(error)
        if said is None and not OUTSIDE:
            raise  # a fault of ours: its traceback is wanted
        said = said or f"stragglersim: {told(error, place_in(error, OUTSIDE))}"
        from simulator.results.folder import Stopped

        if isinstance(error, Stopped):
            stopped = said
        else:
            complain(said)
            code = 2
    if code == INTERRUPTED:
        complain(stopped)
    sys.exit(code)


def _usage(error: Exception) -> str | None:
    """Describe the mistake in the call, if the library of the command line has found it."""
    if not hasattr(error, "format_message"):
        return None
    said = " ".join(str(error.format_message()).split()).replace("Value error, ", "")  # of the library below it
    return f"stragglersim: {said} (--help tells more)"
