"""SQL shared by the drivers for PostgreSQL."""

#: ``DISCARD ALL`` without ``DEALLOCATE ALL``: drivers keep prepared statements for the next client, and would not
#: notice that they are gone. Settings return to those of the new connection.
RESET_SESSION = """
SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();
DISCARD TEMP; DISCARD SEQUENCES
"""
