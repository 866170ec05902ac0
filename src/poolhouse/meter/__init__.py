"""What one pool has done, told as plain values: no clock, no thread, no I/O."""
