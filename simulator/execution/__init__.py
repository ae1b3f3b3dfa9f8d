"""All runs of a scenario: tasks, executors, finished parts, resuming."""
