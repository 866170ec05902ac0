"""The state of all processes, kept from their reports: no clock, no thread, no I/O."""
