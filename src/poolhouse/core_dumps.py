"""No core dump of a process of ours: it would contain passwords, and data that users sent.

`RLIMIT_CORE` keeps the kernel from writing a file; a program to which the kernel pipes dumps gets none of the
memory (``core(5)``).
"""

from contextlib import suppress


def forbid() -> None:
    """Forbid core dumps of this process and of the processes that it starts."""
    with suppress(ImportError, OSError, ValueError):  # ImportError: on systems other than Unix.
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The file is missing on systems other than Linux.
    with suppress(OSError), open("/proc/self/coredump_filter", "w") as file:
        file.write("0")
