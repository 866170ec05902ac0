"""Every key of the console, once: the application binds them, and the legend explains them."""

from typing import NamedTuple


class Key(NamedTuple):
    """A key, or several with the same effect."""

    #: The names used by Textual, separated by commas.
    keys: str
    #: The application's action.
    action: str
    #: The keys as shown in the legend.
    shown: str
    #: The effect, for the legend.
    meaning: str


KEYS = (
    Key("p", "go('programs')", "p", "all programs"),
    Key("h", "go('hosts')", "h", "all hosts"),
    Key(
        "l",
        "lines",
        "l",
        "the lines that hold connections: of this pool, its process, program, all: one more each time",
    ),
    Key("w", "why", "w", "why: what the verdicts are made from, and what to do"),
    Key("e", "go('events')", "e", "events: what appeared, fell silent, had callers wait, or recovered"),
    Key("up,k", "row(-1)", "↑ k", "the row above; from the first row, the verdict"),
    Key("down,j", "row(1)", "↓ j", "the row below"),
    Key("pageup", "screenful(-1)", "PgUp", "a window's height up"),
    Key("pagedown", "screenful(1)", "PgDn", "a window's height down"),
    Key("home,g", "first", "Home g", "the first row"),
    Key("end,G", "last", "End G", "the last row"),
    Key("left", "move(-1)", "←", "columns further left"),
    Key("right", "move(1)", "→", "columns further right"),
    Key("enter", "open", "↵", "open the host, program, pool or line in this row; on the verdict, why it stands"),
    Key("escape,backspace", "back", "esc", "back to the page before; on the first one, forget the filter"),
    Key("slash", "filter", "/", "show only rows whose names contain a text"),
    Key("s", "sort(1)", "s", "sort by the next column"),
    Key("S", "sort(-1)", "S", "sort by the column before"),
    Key("i", "reverse", "i", "reverse the order"),
    Key("space", "pause", "space", "pause, or resume"),
    Key("r", "retry", "r", "try to connect now"),
    Key("question_mark", "explain", "?", "this legend"),
    Key("ctrl+z", "suspend_process", "ctrl-z", "stop, until the shell's fg continues it"),
    Key("q,ctrl+c", "quit", "q", "quit"),
)
