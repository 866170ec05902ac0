"""The four parts of the window."""
