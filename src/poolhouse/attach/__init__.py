"""Pools are measured without a line of code: how poolhouse gets into a process, and what it does there.

Most of this runs in the application's process before the application: `finder` and `targets` import nothing but
`os` and `sys`, and nothing else of poolhouse is imported until the application makes a pool.
"""
