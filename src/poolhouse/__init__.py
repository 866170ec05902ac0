"""Connection pools for Python, and a live, fleet-wide view of every pool."""
