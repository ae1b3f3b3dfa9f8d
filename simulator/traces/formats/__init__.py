"""Formats of traces, a file for each."""

from simulator.traces.formats.chrome import CHROME
from simulator.traces.formats.format import Format
from simulator.traces.formats.long import LONG
from simulator.traces.formats.run import RUN
from simulator.traces.formats.wide import WIDE

FORMATS: dict[str, Format] = {form.kind: form for form in (RUN, CHROME, WIDE, LONG)}  # the first that fits is meant
