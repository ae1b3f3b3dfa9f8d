"""The sizes beyond which a scenario is refused: the one list of them."""

MOST_NODES = 200_000  # values of a YAML file
MOST_REPEATED = 100_000  # of them by aliases
MOST_DEPTH = 100  # levels of a YAML file
MOST_LINES = 100  # of complaints
MOST_WORKERS = 1_000_000
MOST_POINTS = 500_000  # of a sweep
MOST_RUNS = 10_000_000  # all points, schemes and trials
MOST_ROUNDS = 1_000_000  # of one run
MOST_TASKS = 1_000_000  # of one job, over all workers
MOST_COUNT = 10**15  # in any parameter of a plug-in
MOST_SECONDS = 1e30  # in any parameter, so that sums and squares of them are numbers too
MOST_STEPS = 10**10  # workers times jobs of one run
MOST_NUMBERS = 10**8  # that training keeps at a time
MOST_CODED = 10_000  # workers whose coefficients stand in a matrix
MOST_PIECES = 100_000  # changes of a worker's speed in a round
LEAST_POLL = 1e-9  # of the median worker time of the first round of trial 0 ...
COARSE_POLL_S = 1e-3  # ... which is not drawn again at each point of a sweep for polls above this
