"""Measured worker times: read, converted, described."""
