"""What the drivers of PostgreSQL have in common."""

#: ``DISCARD ALL``, less ``DEALLOCATE ALL``: drivers keep prepared statements for the next client, and would not
#: notice that they are gone. The settings go back to those that the connection was made with.
RESET_SESSION = """
SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();
DISCARD TEMP; DISCARD SEQUENCES
"""
