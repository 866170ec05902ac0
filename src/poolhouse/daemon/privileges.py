"""The limits and rights of connmond's process: many open files, no core dump, and an unprivileged user."""

import grp
import os
import pwd
import resource
from contextlib import suppress

from poolhouse import core_dumps
from poolhouse.errors import SettingError

#: Wanted number of open files: each client over TCP is one.
WANTED_FILES = 32_768


def prepare_process() -> int:
    """Raise the limit of open files as far as possible, forbid core dumps, and keep written files private.

    Returns:
        How many files may be open.
    """
    os.umask(os.umask(0o077) | 0o007)
    core_dumps.forbid()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


def find_user(name: str, setting: str = "--user") -> pwd.struct_passwd:
    """The user of this name.

    Raises:
        SettingError: If there is none, or if this process may not become it.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise SettingError(setting, f"there is no user {name!r}") from None
    if os.geteuid() not in (0, user.pw_uid):
        raise SettingError(setting, f"only root may become {name!r}; start connmond as root, or as {name!r}")
    return user


def become(user: pwd.struct_passwd, setting: str = "--user") -> None:
    """Become this user for good, with its groups and no others.

    Raises:
        SettingError: If that is not allowed; the process then has no half-dropped rights.
    """
    if os.geteuid() == user.pw_uid and os.geteuid() != 0:
        return
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except OSError as error:
        raise SettingError(setting, f"cannot become {user.pw_name!r}: {error.strerror}") from error
    if user.pw_uid != 0 and _can_return():
        raise SettingError(setting, f"cannot become {user.pw_name!r} for good")


def groups_of(user: pwd.struct_passwd) -> list[str]:
    """The names of the user's groups; a group without a name by its number."""
    names = []
    for group in sorted(os.getgrouplist(user.pw_name, user.pw_gid)):
        try:
            names.append(grp.getgrgid(group).gr_name)
        except KeyError:
            names.append(str(group))
    return names


def _can_return() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True
