"""``poolhouse doctor``: why don't I see anything?

It runs in the application's environment, and needs only the standard library there.
"""
