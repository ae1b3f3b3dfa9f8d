"""From a trace to straggler models."""
