"""The same schemes and rules on real processes: workers that compute, a master that hears them, and a verdict."""
