"""``connmon.cfg``: the services of connmond, their nodes, and how to reach them.

The daemon, the clients and the console all read this file.
"""
