"""Hostile bytes for every decoder and every reader: `python -m fuzz`."""
