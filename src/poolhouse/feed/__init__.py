"""From a daemon to its consoles: the protocol on UDP 25828, and the console's end of it."""
