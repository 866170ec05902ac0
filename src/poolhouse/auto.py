"""``import poolhouse.auto``: every pool of this process is measured and reported from now on.

One line, anywhere in the application, even after its pools were made. Reports go where ``poolhouse.report_to()``
or the environment variable ``POOLHOUSE_REPORT`` says, otherwise to port 25827 of this machine. An engine that is
already measured keeps its settings. With ``POOLHOUSE_DISABLE=1`` the import does nothing.
"""

from poolhouse.attach.late import attach

attach("import poolhouse.auto")
