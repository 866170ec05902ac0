"""Measures pools without a change in the application's code: how poolhouse gets into a process.

Most of this runs in the application's process before the application: `finder` and `targets` import nothing but
`os` and `sys`, and nothing else of poolhouse is imported until the application makes a pool.
"""
