"""The states of a connection, as drivers tell them: libpq's numbers, and one for drivers that cannot tell."""

IDLE, ACTIVE, IN_TRANSACTION, IN_ERROR, BROKEN = range(5)
#: There may be a transaction: it is ended when the connection comes back, which is then taken for idle.
UNTOLD = 5
