"""What must not be seen in foreign text: passwords and statements are left out before it is logged or raised.

Drivers repeat what they were given: a part of a conninfo that they cannot read, a statement with its literals, the
connection string in the `repr` of a connection. ``…`` stands for what is left out.
"""

import re
from collections.abc import Iterable
from operator import is_

#: Stands for what is left out.
HIDDEN = "…"

# Patterns are texts: `re` compiles one when it is first needed, which most processes never do.

#: A part of the names that drivers and databases give to settings with a secret value: ``sslpassword``, ``PWD``,
#: ``oauth_client_secret``, ``scram_client_key``, ``access_token``.
SECRET_NAME = r"(?i:passw|passphrase|pwd|secret|token|api[-_]?key|scram_\w+_key)"
#: Such a name and its value, which may be quoted as in a conninfo.
ASSIGNED = rf"({SECRET_NAME}\w{{0,30}}\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&;,'\"]+)"
#: Such a name and its value in a dictionary's `repr`, or in JSON.
_ENTRY = rf"(([\"'])\w{{0,30}}{SECRET_NAME}\w{{0,30}}\2\s*:\s*)('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")"
#: After ``user:`` and before the last ``@`` of a URL, whose password may have any character but a blank.
_PASSWORD_IN_URL = r"(://[^\s:/@'\"]*?(?::|%3[Aa]))\S*@"
#: The same in a word of its own.
_PASSWORD_IN_WORD = r"((?<![^\s\"'(,])[^\s:/@'\"()]+:(?!//))[^\s'\"]*@"
#: A password with an unencoded ``@``: drivers take its end for a part of the host.
_END_IN_HOST = r"((?:host name|server on|server at) [\"'])[^\s\"']*@"
#: Messages of libpq and asyncpg about a connection string that they cannot read.
_UNREADABLE = r"connection info string|percent-encoded|\bURI\b|connection option|invalid DSN"
_PIECE = r"(connection option )?([\"'])([^\"']+)\2"

#: Where messages of PostgreSQL and SQLAlchemy begin to quote a statement or a row.
_STATEMENT = r"(?s)\n(?:LINE \d+|DETAIL|HINT|QUERY|CONTEXT|\[SQL|\[parameters):.*"
#: The quotation marks that PostgreSQL, in all its languages, and MySQL put around pieces of a statement.
_MARKS = "\"'«»„“"
#: From the first quotation mark to the last: a quoted piece of a statement may contain more of them.
_QUOTED = rf"(?s)[{_MARKS}].*[{_MARKS}]"
#: A message that quotes nothing but one word of letters.
_ONE_WORD = rf"[^{_MARKS}]*[{_MARKS}]\s?[A-Za-z]+\s?[{_MARKS}][^{_MARKS}]*"
#: PostgreSQL's SQLSTATE of a syntax error.
_SYNTAX_ERROR = "42601"
#: SQLite's messages that name a piece of a statement without quotation marks.
_UNQUOTED = r"(?s)(no such [\w ]+|ambiguous column name): .*"
#: Classes of SQLSTATE (PostgreSQL's Appendix A) whose messages concern the connection, not a statement.
_NOT_OF_STATEMENTS = ("08", "28", "3D", "53", "57")
#: The same among the numbers of MySQL's server, which begin at 1000; those of its client are from 2000 to 2999.
_OF_CONNECTING = frozenset({1040, 1042, 1043, 1044, 1045, 1049, 1129, 1130, 1203, 1226, 1698, 3118, 3159, 4031})


def conceal(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without passwords: known ones, and those that stand in a URL, a conninfo or a piece of one.

    Args:
        text: What a driver, a server or a user wrote.
        secrets: Passwords known to the caller, and a part of one after the whole.

    >>> conceal("postgresql://me:secret@db/shop"), conceal("host=db password='my secret' user=me")
    ('postgresql://me:…@db/shop', 'host=db password=… user=me')
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = re.sub(_PASSWORD_IN_URL, rf"\1{HIDDEN}@", text)
    text = re.sub(_PASSWORD_IN_WORD, rf"\1{HIDDEN}@", text)
    text = re.sub(_END_IN_HOST, rf"\1{HIDDEN}@", text)
    text = re.sub(ASSIGNED, rf"\1{HIDDEN}", text)
    text = re.sub(_ENTRY, rf"\1{HIDDEN}", text)
    return re.sub(_PIECE, _hide_piece, text) if re.search(_UNREADABLE, text) else text


def _hide_piece(found: "re.Match[str]") -> str:
    # The name of an option is no secret, and a wrong one has to be seen; ``=`` and the like are libpq's own.
    is_name = found[1] is not None and re.fullmatch("[a-z_]+", found[3])
    return found[0] if is_name or len(found[3]) == 1 else f"{found[1] or ''}{found[2]}{HIDDEN}{found[2]}"


def text_of(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """The text of an exception without passwords and without what it quotes of a statement or a row.

    Of a statement that begins with an unknown command, the command is told.

    Args:
        error: Any exception.
        secrets: As in `conceal`.

    Raises:
        Exception: Whatever the `__str__` of its class raises.
    """
    text = re.sub(_STATEMENT, "", str(error))
    origin = getattr(error, "orig", None) or error
    if _quotes_statements(origin):
        if not (_is_about_first_word(origin) and re.fullmatch(_ONE_WORD, text.partition("\n")[0])):
            text = re.sub(_UNQUOTED, rf"\1: {HIDDEN}", re.sub(_QUOTED, HIDDEN, text))
        # Where libpq speaks another language, the lines that `_STATEMENT` ends begin with other words.
        text = text.partition("\n")[0]
    return conceal(text, secrets)


def _sqlstate(error: BaseException) -> object:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)


def _is_about_first_word(error: BaseException) -> bool:
    """Whether PostgreSQL does not understand the first word of a statement: a command, and no value.

    psycopg and psycopg2 have the place in `diag`, asyncpg has it in `position`; the first character's is 1.
    """
    place = getattr(getattr(error, "diag", error), "statement_position", None) or getattr(error, "position", None)
    return place == "1" and _sqlstate(error) == _SYNTAX_ERROR


def _quotes_statements(error: BaseException) -> bool:
    """Whether a server, or SQLite, refused a statement: its message then quotes pieces of it."""
    state = _sqlstate(error)
    if isinstance(state, str):
        return not state.startswith(_NOT_OF_STATEMENTS)
    number = error.args[0] if error.args else None
    if type(number) is int and not isinstance(error, OSError):
        return number >= 1000 and not 2000 <= number < 3000 and number not in _OF_CONNECTING
    return type(error).__module__ == "sqlite3"


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def stand_in(error: BaseException, depth: int = 8) -> BaseException:
    """An exception for a traceback in a log: the same, or one of the same name without passwords and statements.

    Args:
        error: The exception.
        depth: How many causes and contexts, and groups within groups, are looked at.
    """
    try:
        plain, text = str(error), text_of(error)
    except Exception:  # Its class is the application's or a driver's; logging copes with it.
        return error
    following = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    cause = stand_in(following, depth - 1) if following is not None and depth > 0 else None
    members = [stand_in(each, depth - 1) for each in _members(error)] if depth > 0 else []
    if text == plain and cause is following and all(map(is_, members, _members(error))):
        return error
    kind = type(error)
    if isinstance(error, BaseExceptionGroup):
        twin: BaseException = BaseExceptionGroup(conceal(error.message), members or [Exception(HIDDEN)])
    else:
        twin = type(kind.__name__, (Exception,), {"__module__": kind.__module__})(text)
    twin.__traceback__ = error.__traceback__
    for note in getattr(error, "__notes__", ()):
        twin.add_note(conceal(f"{note}"))
    if error.__cause__ is not None:
        twin.__cause__ = cause
    else:
        twin.__context__ = cause
    return twin
