"""Making many named tuples, where each microsecond counts."""

#: Makes a named tuple of its fields in half the time that its class takes.
made = tuple.__new__
