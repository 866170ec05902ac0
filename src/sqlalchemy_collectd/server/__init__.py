"""The server plugin's place."""
