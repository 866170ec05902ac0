"""The states of a connection, as drivers tell them, and the rule: when may a connection be served?

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

So only what the driver has proven to be `IDLE` is served as it is; `UNTOLD` is the word of a driver that can prove
nothing, and is believed after a rollback. The numbers of the first five are libpq's.
"""

IDLE, ACTIVE, IN_TRANSACTION, IN_ERROR, BROKEN = range(5)
#: The driver never can tell: there may be a transaction.
UNTOLD = 5
#: The driver cannot tell now: there may be a transaction, or work whose client no longer waits for it. A rollback
#: settles it.
UNSETTLED = 6

#: What a returned connection is closed for.
UNFIT = frozenset({ACTIVE, BROKEN})
#: What may hide a transaction that nobody forgot to end: a rollback deserves no warning.
HIDING = frozenset({UNTOLD, UNSETTLED})
#: What a connection may say once its transaction was ended, to be served.
CLEAN = frozenset({IDLE, UNTOLD})

#: Names for messages; the first five are libpq's, too.
STATUS = ("IDLE", "ACTIVE", "INTRANS", "INERROR", "UNKNOWN", "UNTOLD", "UNSETTLED")
