"""Snapshots in the formats of other systems."""
