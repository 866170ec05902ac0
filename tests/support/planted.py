"""Secrets with a mark that tests plant, and the search for them in whatever was written or sent."""

import base64
import re
from collections.abc import Iterator, Mapping

MARK = "Zq7secret"
#: Each place has a mark of its own, so that a failure says which one was shown.
(
    DATABASE,
    SIGNING,
    OLD,
    OTHER_USER,
    LOGIN,
    SQL,
    PARAMETER,
    ENVIRONMENT,
    PASSPHRASE,
    HEADER,
) = (f"{MARK}{place}" for place in range(10))


def _forms() -> Iterator[str]:
    """The mark as it is, in hexadecimal digits, and in base64 at each place that it can have in three bytes."""
    yield re.escape(MARK)
    yield MARK.encode().hex()
    for place in range(3):
        encoded = base64.b64encode(b"\0" * place + MARK.encode()).decode().rstrip("=")
        # The characters at both ends depend on the neighbours, too.
        yield re.escape(encoded[-(-place * 8 // 6) : -1])


_FORMS = re.compile("|".join(_forms()), re.IGNORECASE)


def planted_in(shown: Mapping[str, str]) -> list[str]:
    """Where a mark is seen, each with its surroundings; the mark is changed, so that a report has none.

    >>> planted_in({"log": "a password is Zq7secret4", "page": "nothing"})
    ['log: a password is <mark>4']
    """
    return [
        f"{place}: {_FORMS.sub('<mark>', text[max(0, found.start() - 60) : found.end() + 20])}"
        for place, text in shown.items()
        for found in _FORMS.finditer(text)
    ]
