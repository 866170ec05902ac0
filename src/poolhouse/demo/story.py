"""What the demo's window says below each page: what is to be seen there, and where to press next."""

#: The programs with a story, each with what its page shows and what the page of its pool shows.
PROGRAMS = {
    "checkout": (
        "Slow: HOLD99 is long, and ten threads wait for 5 connections. ↵ a pool",
        "The holds are 0.3 s and more: shorten them, then add connections. esc",
    ),
    "billing": (
        "It leaks: USED climbs to its maximum and OUT/S falls to 0. ↵ its pool",
        "Connections are taken and never given back: callers time out. esc",
    ),
    "orders": (
        "poolhouse's pool: ten threads share 3 connections, first come first served. ↵",
        "Short holds, so short waits, though the pool is small. esc",
    ),
    "mailer": ("It forks: each child counts as a process, and nothing is counted twice. esc", ""),
    "catalog": ("Nothing is wrong here: nobody waits. esc", ""),
}
PAGES = {
    "programs": "checkout is slow, billing leaks, orders has poolhouse's pool. ↓ to one, ↵",
    "hosts": "↵ opens the programs on a host. p: all programs",
    "host": "The programs on this host. ↵ opens one, esc goes back",
    "events": "What appeared, had callers wait or time out, and recovered. p: all programs",
    "legend": "Every column and key. ↓ scrolls, esc goes back",
}


def hint(page: str, program: str | None) -> str:
    """The sentence for a page; empty where there is none.

    >>> hint("hosts", None)
    '↵ opens the programs on a host. p: all programs'
    """
    if page in ("program", "pool") and program in PROGRAMS:
        return PROGRAMS[program][page == "pool"]
    return PAGES.get(page, "")
