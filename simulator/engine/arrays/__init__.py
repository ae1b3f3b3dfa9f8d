"""The vectorised engine: many runs side by side, each a row."""
