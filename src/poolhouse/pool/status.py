"""The states of a connection, as drivers report them, and the rule for when a connection may be served.

======================= ====================== ============================ ==================
a driver says           the end of a block     a return                     after a rollback
======================= ====================== ============================ ==================
`IDLE`                  does nothing           serves it as it is           serves it
`IN_TRANSACTION`        ends the transaction   rolls back, with a warning   closes it
`IN_ERROR`              ends the transaction   rolls back, with a warning   closes it
`UNSETTLED`             ends the transaction   rolls back                   closes it
`UNTOLD`                ends the transaction   rolls back                   serves it
`ACTIVE`                ends the transaction   closes it                    closes it
`BROKEN`                does nothing           closes it                    closes it
======================= ====================== ============================ ==================

So only a connection that the driver has proven `IDLE` is served as it is. `UNTOLD` comes from drivers that can
prove nothing, and is accepted after a rollback. The numbers of the first five are libpq's.
"""

IDLE, ACTIVE, IN_TRANSACTION, IN_ERROR, BROKEN = range(5)
#: The driver never knows: there may be a transaction.
UNTOLD = 5
#: The driver does not know now: there may be a transaction, or work whose client no longer waits for it. A
#: rollback settles that.
UNSETTLED = 6

#: Statuses for which a returned connection is closed.
UNFIT = frozenset({ACTIVE, BROKEN})
#: Statuses that may hide a transaction which nobody forgot to end: the rollback deserves no warning.
HIDING = frozenset({UNTOLD, UNSETTLED})
#: Statuses that allow a connection to be served once its transaction has been ended.
CLEAN = frozenset({IDLE, UNTOLD})

#: Names for messages; the first five are libpq's, too.
STATUS = ("IDLE", "ACTIVE", "INTRANS", "INERROR", "UNKNOWN", "UNTOLD", "UNSETTLED")
