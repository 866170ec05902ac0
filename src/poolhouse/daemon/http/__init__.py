"""connmond's HTTP face: metrics for Prometheus, the snapshot as JSON, the page, and health checks.

`part` is the part of the daemon, `server` speaks HTTP, `gate` decides which requests are answered, `answers` makes
the answers, and `face` combines them. They need the packages of the extra ``daemon``; `part` imports them if those
are installed.
"""
