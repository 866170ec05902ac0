"""connmond's HTTP face: metrics for Prometheus, the snapshot as JSON, and whether it is well.

`part` is the part of the daemon, `server` speaks HTTP, `gate` decides which requests are answered, `answers` makes
the answers, and `face` puts these together. They need packages of the extra ``daemon``; `part` imports them if
those are there.
"""
