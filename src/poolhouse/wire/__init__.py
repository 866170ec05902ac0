"""collectd's network protocol and our private parts in it: bytes to values and back, no I/O."""
