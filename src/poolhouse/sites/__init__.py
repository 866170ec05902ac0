"""Which line of the application holds a connection, and what its holder does, for every pool in this process."""
