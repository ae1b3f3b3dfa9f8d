"""From a trace to the best setting, and advice."""
