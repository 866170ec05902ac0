"""collectd's network protocol and our private parts in it: bytes to values and back, without clock or socket.

`report` and `message` are the two ends of a process's report; `encode` and `decode` speak to any collectd.
"""
