"""What to type to install poolhouse, in one place: it is not published yet, so it is installed from a checkout."""


def install_command(extra: str = "") -> str:
    """How to install poolhouse, with one of its extras.

    >>> install_command("console")
    "pip install '.[console]' in a checkout of poolhouse"
    >>> install_command()
    'pip install . in a checkout of poolhouse'
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"pip install {what} in a checkout of poolhouse"


def reinstall_command() -> str:
    """How to bring back modules that another package has overwritten.

    >>> reinstall_command()
    'pip install --force-reinstall --no-deps . in a checkout of poolhouse'
    """
    return "pip install --force-reinstall --no-deps . in a checkout of poolhouse"
