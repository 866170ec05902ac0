"""connmon, the live view in a terminal."""
