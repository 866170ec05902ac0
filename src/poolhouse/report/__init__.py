"""Getting reports out of a process: destinations, the reporter thread, fork, exit."""
