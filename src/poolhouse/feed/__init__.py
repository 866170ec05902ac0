"""From a daemon to its consoles: what they say to each other on UDP 25828, and the console's end of it."""
