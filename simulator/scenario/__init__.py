"""Scenarios: from YAML and options to a frozen Scenario, or a line for each mistake."""
