"""The command line: `stragglersim`, also `python -m simulator`.

Heavy libraries are imported where they are used, so that `--help` answers at once.
"""

import gc
import sys
from typing import Annotated

import typer

from simulator.cli.advise import advise
from simulator.cli.fit import fit
from simulator.cli.live import live
from simulator.cli.look_up import examples, explain, list_plugins, schema
from simulator.cli.report import report
from simulator.cli.run import run, validate
from simulator.cli.show import compare, plot
from simulator.cli.surroundings import prepare_streams, stoppable
from simulator.cli.terminal import InputError, complain, say
from simulator.cli.trace import trace
from simulator.cli.tune import tune
from simulator.errors import OUTSIDE, LostError, UserError, place_in, told

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate distributed gradient computation with slow workers: what does redundancy buy?\n\n"
    "Start with:\n\n  stragglersim examples quickstart\n\n  stragglersim run quickstart.yaml --out results/quickstart",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"stragglersim {version('stragglersim')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; `app` has its help."""


app.command()(run)
app.command()(validate)
app.command()(live)
app.command()(tune)
app.command()(advise)
app.command("list")(list_plugins)
app.command()(explain)
app.command()(plot)
app.command()(compare)
app.command()(report)
app.command()(schema)
app.command()(examples)
trace.command()(fit)
app.add_typer(trace, name="trace")

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130  # exit status; the last after Ctrl-C, as shells have it


def main() -> None:
    """Run the command line; what a user can mend ends in a line on stderr and exit status 2."""
    gc.set_threshold(10_000)  # libraries make many objects and few cycles: a twentieth of the time of a short command
    prepare_streams()
    code, said = 0, ""
    with stoppable() as status_of_stop:
        try:
            code = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (Exception, SystemExit) as error:
            cause = error.__context__ if isinstance(error, SystemExit) else error  # typer makes the one of the other
            if isinstance(cause, OSError):
                sys.stdout = None  # so that nothing is flushed into it at exit
            if not isinstance(cause, BrokenPipeError):  # of `stragglersim ... | head`
                code, said = _outcome(error)
        if code == INTERRUPTED:
            code, said = status_of_stop(), said or "stopped; nothing was written"
        if said:
            complain(said)
    sys.exit(code)


def _outcome(error: BaseException) -> tuple[int, str]:
    """Exit status and line for an error; one of ours is raised again, since its traceback is wanted."""
    from simulator.results.folder import Stopped

    if isinstance(error, MemoryError):
        error = InputError("stragglersim: not enough memory (use fewer workers or jobs, or a coarser --detail)")
    if isinstance(error, OSError):
        what = error.filename or "output"
        error = InputError(f"{what}: must be a file that can be used, got {error.strerror or error}")
    if isinstance(error, typer.Abort):  # what typer makes of an EOFError
        error = InputError("stragglersim: must be able to read all of a file, got one that ends too early")
    said = str(error) if isinstance(error, UserError) else _usage(error)
    if said is None and not OUTSIDE:
        raise error
    status = INTERRUPTED if isinstance(error, Stopped) else FAILED if isinstance(error, LostError) else WRONG_INPUT
    return status, said or f"stragglersim: {told(error, place_in(error, OUTSIDE))}"


def _usage(error: BaseException) -> str | None:
    """Describe the mistake in the call, if the library of the command line has found it."""
    if not hasattr(error, "format_message"):
        return None
    said = " ".join(str(error.format_message()).split()).replace("Value error, ", "")  # of the library below it
    return f"stragglersim: {said} (see --help)"
