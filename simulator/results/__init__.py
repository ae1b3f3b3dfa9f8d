"""The tables of a run, on disk and as frames, and which scheme is better."""
