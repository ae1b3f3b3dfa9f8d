"""Way from a trace to the best setting, and advice."""
