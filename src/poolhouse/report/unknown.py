"""The error message for a setting that does not exist."""

from collections.abc import Sequence

from poolhouse.errors import SettingError


def no_such_setting(key: str, prefix: str, names: Sequence[str]) -> SettingError:
    """The error for a setting that does not exist: it names the one that was probably meant, or all.

    Args:
        key: As it was typed.
        prefix: What the settings of this place begin with.
        names: The settings that there are, without the prefix.
    """
    meant = nearest(key.removeprefix(prefix), names)
    if meant is not None:
        return SettingError(key, f"there is no such setting; did you mean {prefix}{meant}?")
    return SettingError(key, f"there is no such setting; there are {', '.join(prefix + name for name in names)}")


def nearest(word: str, words: Sequence[str]) -> str | None:
    """The one of the words that is most like a word; ``None`` if none is like it."""
    from difflib import get_close_matches  # Only here: most processes never need it.

    return next(iter(get_close_matches(word, words, 1)), None)
