"""The hints of the demo's window below each page: what the page shows, and which key to press next."""

#: The programs with a story: for each, the hint of its page and the hint of its pool's page.
PROGRAMS = {
    "checkout": (
        "It keeps connections while it asks the bank; ten threads want 5. ↵ a pool",
        "Held for a second, and idle: ask first, then take a connection. esc",
    ),
    "reports": (
        "Its statement takes a second, and six threads want 3 connections. ↵ its pool",
        "Busy in the database all the time: the statement is what to fix. esc",
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
    "programs": "checkout holds, reports is slow, billing leaks, orders is fine. ↓ to one, ↵",
    "hosts": "↵ opens the programs on a host. p: all programs",
    "host": "The programs on this host. ↵ opens one, esc goes back",
    "lines": "The lines that hold connections, those that hold most first. ↵ opens one",
    "line": "What it holds, for how long, and what it does meanwhile. esc goes back",
    "verdicts": "What is wrong, where it is, what to do, and what would disprove it. esc",
    "events": "What appeared, had callers wait or time out, and recovered. p: all programs",
    "legend": "Every column and key. ↓ scrolls, esc goes back",
}


def hint(address: str, page: str, program: str | None) -> str:
    """The hint for a page of the window; empty if there is none.

    Args:
        address: The address of the page for browsers, which the legend repeats because the window hides the lines
            printed before it. Empty if there is none.
        page: The page's name.
        program: The program that the page shows; ``None`` if it shows several.

    >>> hint("", "hosts", None)
    '↵ opens the programs on a host. p: all programs'
    >>> hint("http://127.0.0.1:25829", "legend", None)
    'The same in a browser: http://127.0.0.1:25829. ↓ scrolls, esc goes back'
    """
    if page == "legend" and address:
        return f"The same in a browser: {address}. ↓ scrolls, esc goes back"
    if page in ("program", "pool") and program in PROGRAMS:
        return PROGRAMS[program][page == "pool"]
    return PAGES.get(page, "")
