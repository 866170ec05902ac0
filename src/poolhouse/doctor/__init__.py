"""``poolhouse doctor``: why do I see nothing?

It runs in the application's environment, and needs only the standard library there.
"""
