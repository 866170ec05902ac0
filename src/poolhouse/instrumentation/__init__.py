"""From somebody else's pool to a meter."""
