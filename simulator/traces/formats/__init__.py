"""Formats of traces, a file for each."""

from simulator.traces.formats.chrome import CHROME
from simulator.traces.formats.format import Format
from simulator.traces.formats.long import LONG
from simulator.traces.formats.npy import NPY
from simulator.traces.formats.recorder import RECORDER
from simulator.traces.formats.records import RECORDS
from simulator.traces.formats.run import RUN
from simulator.traces.formats.wide import WIDE

FORMATS: dict[str, Format] = {  # the first that fits is meant; a table that is nothing else is a long one
    form.kind: form for form in (RUN, NPY, RECORDS, CHROME, RECORDER, WIDE, LONG)
}
