"""The error message for a setting that does not exist."""

from collections.abc import Sequence

from poolhouse.errors import SettingError


def no_such_setting(key: str, prefix: str, names: Sequence[str]) -> SettingError:
    """The error for a setting that does not exist: it names the setting that was probably meant, or all settings.

    Args:
        key: The setting as the user typed it.
        prefix: The prefix of settings in this place.
        names: The existing settings, without the prefix.
    """
    meant = nearest(key.removeprefix(prefix), names)
    if meant is not None:
        return SettingError(key, f"there is no such setting; did you mean {prefix}{meant}?")
    return SettingError(key, f"there is no such setting; there are {', '.join(prefix + name for name in names)}")


def nearest(word: str, words: Sequence[str]) -> str | None:
    """The word in `words` that is most similar to `word`; ``None`` if none is similar."""
    from difflib import get_close_matches  # Imported here: most processes never need it.

    return next(iter(get_close_matches(word, words, 1)), None)
