"""Makes named tuples where each microsecond counts."""

#: Makes a named tuple from its fields, in half the time of a call of its class.
made = tuple.__new__
