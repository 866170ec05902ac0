"""A small real fleet to look at: programs, their processes and threads, and real queries on SQLite files."""
