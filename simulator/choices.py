"""The words among which a user chooses, in Python and on the command line."""

from typing import Literal

Detail = Literal["runs", "rounds", "workers"]  # the finest table to keep
Engine = Literal["auto", "vectorised", "events"]  # what computes the numbers
ExecutorName = Literal["serial", "processes", "dask"]  # where they are computed
Leftover = Literal["cancel", "finish"]  # what becomes of lists that a closed round leaves over
WaitFor = Literal["all", "enough", "nobody"]  # what a master waits for, if there is not enough at its look
Reference = Literal["first", "median"]  # the worker whose time the mu-rule multiplies
LoadEffect = Literal["additive", "proportional", "fitted"]  # how a measured time changes with the load
Measure = Literal["loss", "accuracy"]  # of a model in training
Axis = Literal["worker", "round"]  # what a row of a wide table is
Missing = Literal["error", "inf", "drop"]  # what becomes of rounds in which workers have no time
TraceKind = Literal["wide", "long", "npy", "records", "chrome", "run", "recorder"]  # what is read as a trace
Work = Literal["exposed", "compute", "step"]  # what of a step in a profile is a worker's own
Aggregate = Literal["sum", "max", "mean", "last"]  # of several times of one round and worker
TraceTarget = Literal["parquet", "chrome"]  # what a trace is written as
Unit = Literal["s", "ms", "us", "ns"]  # of measured times
FigureFormat = Literal["png", "svg", "pdf"]  # what a figure is written as
