"""One run: worker times, rounds, arrivals, and when the master stops."""
