"""What one pool has done, as plain values: no clock, no thread, no I/O."""
