"""A small real fleet to look at."""
