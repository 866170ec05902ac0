"""The one function that cleans foreign text before anyone sees it: in a terminal, in a log, or in JSON.

Names of hosts, programs and pools, a server's words, another library's error message: a stranger may have written
any of them. They can send escape sequences to a terminal, reverse the text direction, or imitate another name.
"""

import re

#: The most characters shown of one text; names are shorter (a pool's is at most 255 bytes).
LONGEST = 300
#: What stands for a character that is not shown.
PLACEHOLDER = "·"
#: Letters, marks and symbols that are drawn as nothing, though `str.isprintable` calls them printable.
#: Source: Unicode 15, ``Default_Ignorable_Code_Point`` less Cc, Cf and Cn; and the blank of Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def clean(text: str, longest: int = LONGEST) -> str:
    r"""The text in at most `longest` printable characters; a longer one ends with ``…``.

    ``·`` stands for each character that cannot be seen: control characters (C0, C1 and ``ESC``, so that no escape
    sequence is left), line and paragraph separators, marks and overrides of the reading direction, zero-width
    characters, blanks other than the space, lone surrogates, and code points that Unicode has not assigned.

    Cleaning a clean text changes nothing.

    >>> clean("web\x1b[2J\n1"), clean("shop\u202egpj"), clean("a\u200bb\u2028c\ud800")
    ('web·[2J·1', 'shop·gpj', 'a·b·c·')
    >>> clean("Größe 数据库"), clean("x" * 9, longest=4)
    ('Größe 数据库', 'xxx…')
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    if not text.isprintable():
        text = "".join(character if character.isprintable() else PLACEHOLDER for character in text)
    return _INVISIBLE.sub(PLACEHOLDER, text)
