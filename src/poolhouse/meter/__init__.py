"""The measurements of one pool, as plain values: no clock, no thread, no I/O."""
