"""The contract of a scheme, and all that follows from it."""
