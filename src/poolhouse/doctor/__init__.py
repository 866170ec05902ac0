"""``poolhouse doctor``: why do I see nothing?

It runs where the application runs, and like it needs the standard library only.
"""
