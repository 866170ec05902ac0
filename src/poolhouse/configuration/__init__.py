"""``connmon.cfg``: the services of connmond, their nodes, and how they are reached.

Daemon, clients and console read the same file.
"""
