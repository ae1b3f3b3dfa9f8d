"""Plug-ins: their kinds, parameters and identities."""
