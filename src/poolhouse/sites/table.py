"""Finds which line of the application takes a connection, by the addresses of calls.

A call has one address: ``id(code) + f_lasti``. Bytecode lies inside of its code object, so no two calls share an
address while their code objects live, and the table keeps those alive that it knows. So a line is found by looking
up the address of a frame at a depth at which that very line was found before: there is one for each way through
SQLAlchemy. Where that fails, the table has *paths*: how many frames further out than one of SQLAlchemy's own a
line was found. A path counts only if that frame is at a known line, and, where there are several paths, the frame
within it is the same function's as before. The table walks the stack only for new calls.

If a listener of the application uses SQLAlchemy so that a line further out is at its own depth, the result is the
line that caused the event.

`poolhouse.sites.stack` has the rule.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from types import CodeType, FrameType
from typing import Any, Literal, TypeAlias

from poolhouse.copies import copy_of
from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import OTHER_SITES, UNKNOWN_SITE
from poolhouse.sites.modules import Modules, modules_of
from poolhouse.sites.site import Site
from poolhouse.sites.stack import beyond, is_helper, line_of
from poolhouse.sites.stalls import notice
from poolhouse.sites.words import CallSite

#: How many sites a pool may have; connections of further ones go to `SiteTable.other`.
MOST_SITES_KNOWN = 512
#: How many paths are known from one address, and from how many addresses.
_MOST_PATHS, _MOST_STARTS = 16, 512
#: At how many depths lines are looked for first, and how deep these are at most.
_MOST_DEPTHS, _DEEPEST = 8, 40
#: How many frames lie at most between the one that started a greenlet and the application's, on the short way.
_HOPS = 8

#: From a frame to the one that is so many frames further out, in one call.
_BACK: tuple[Callable[[Any], Any], ...] = (
    lambda frame: frame,
    *(attrgetter(".".join(["f_back"] * hops)) for hops in range(1, _HOPS)),
)

_getframe = sys._getframe

#: An address; or for a line that takes its connections through a helper, the addresses of both; or for a line that
#: depends on what else is on the stack, the address and 0.
Key: TypeAlias = int | tuple[int, int]

#: How to find a line from an address: the depth of its frame, counted from `SiteTable.find`, the code of the frame
#: within it, and `_LINE`. Or for what depends on the whole stack: the depth of the outermost frame, its code,
#: and the site; ``None`` if the application's frames are those of another greenlet.
Path: TypeAlias = "tuple[int, CodeType, Site | Literal[False] | None]"

_NO_PATHS: list[Path] = []


def _nowhere(address: int) -> Site | None:
    """What is known at a depth at which no line is known."""
    return None


class SiteTable:
    """The lines that take connections from one pool; at most `MOST_SITES_KNOWN`, and two more.

    Attributes:
        get: Looks up the site of an address; ``None`` if it is not known.
        first: At which depth, counted from the caller of `seek`, to try first, and what looks up an address there.
        unknown: The site of connections whose line is not known.
        other: The site of connections whose line has no room.
    """

    def __init__(self, modules: Modules | None = None, getcurrent: Callable[[], Any] | None = None) -> None:
        """Know no line yet.

        Args:
            modules: Whose code is passed over; by default what all pools pass over, and ``POOLHOUSE_SKIP``.
            getcurrent: Greenlet's, where SQLAlchemy runs in greenlets that asyncio's tasks have started.
        """
        self._modules = modules or modules_of()
        self._getcurrent = getcurrent
        #: How deep the outermost frame was in the last greenlet without a line of the application, and its code.
        self._bottom: tuple[int, CodeType] | None = None
        #: From the frame that started a greenlet to the one within the line that was found last, and its code.
        self._to_within: Callable[[Any], Any] = _BACK[0]
        self._within: CodeType | None = None
        #: The codes of SQLAlchemy that were found right within a line.
        self._right_within: set[CodeType] = set()
        self._sites: dict[Key, Site] = {}
        #: The paths from each address, and the code that has that address.
        self._paths: dict[int, tuple[CodeType, list[Path]]] = {}
        #: The addresses of helpers' lines, and the code that has them.
        self._helpers: dict[int, CodeType] = {}
        #: The sites of lines that turned out to be helpers': what they did goes on being told.
        self._former: dict[int, Site] = {}
        self.get: Callable[[Key], Site | None] = self._sites.get
        #: The sites of lines that are the application's innermost at a depth, by their addresses.
        self._at_depths: dict[int, dict[int, Site]] = {}
        self.first: tuple[int, Callable[[int], Site | None]] = (1, _nowhere)
        self.unknown = Site(None, words=UNKNOWN_SITE)
        self.other = Site(None, words=OTHER_SITES)

    def sites(self) -> tuple[Site, ...]:
        """All sites, also those of which nothing is to be told yet."""
        return (self.unknown, self.other, *self._former.values(), *self._sites.values())

    def fold(self) -> None:
        """Fold the use times of all sites. Only for whoever folds the meter (`poolhouse.meter.meter`)."""
        for site in self.sites():
            site.fold()

    def use(self) -> Histogram:
        """How long connections were out, of all sites, as far as folded."""
        total = Histogram()
        for site in self.sites():
            if site.use.count:
                total.add(site.use)
        return total

    def clear(self) -> None:
        """Forget everything, as a forked child must."""
        for each in (self._sites, self._paths, self._helpers, self._former, self._at_depths):
            each.clear()
        self.first = (1, _nowhere)
        self.unknown = Site(None, words=UNKNOWN_SITE)
        self.other = Site(None, words=OTHER_SITES)

    def seek(self, start: int, passed: CodeType | None) -> Site:
        """The site of the connection that the caller takes, after a look at `first` has found nothing.

        Of most programs' checkouts, the application's frame is at one of a few depths. To look there first spares
        the frames in between, each of which takes as long to look at as all the rest.

        Args:
            start: As for `find`.
            passed: The code of a frame there that is passed over, with its caller.
        """
        if self._getcurrent is not None:
            return self.find(start + 1)
        for depth, there in copy_of(self._at_depths).items():
            try:
                frame = _getframe(depth + 1)
            except ValueError:
                continue  # The stack is not that deep.
            site = there.get(id(frame.f_code) + frame.f_lasti)
            if site is not None:
                self.first = depth, there.get
                return site
        with suppress(ValueError):
            start += 2 if passed is not None and _getframe(start + 1).f_code is passed else 0
        site = self.find(start + 1)
        self._learn_depth(site, _getframe(1))
        return site

    def _learn_depth(self, site: Site, caller: FrameType) -> None:
        if site.place is None or site.helper is not None:
            return
        address = id(site.place[0]) + site.place[1]
        if self._sites.get(address) is not site:
            return  # It depends on what else is on the stack.
        frame: FrameType | None = caller
        for depth in range(_DEEPEST):
            if frame is None:
                return
            if frame.f_code is site.place[0] and frame.f_lasti == site.place[1]:
                if depth in self._at_depths or len(self._at_depths) < _MOST_DEPTHS:
                    self._at_depths.setdefault(depth, {})[address] = site
                return
            frame = frame.f_back

    def find(self, start: int) -> Site:
        """The site of the connection that the caller takes for the application.

        Args:
            start: How many frames further out than the caller the frame is from whose address paths are known: the
                further out the better, but not beyond the application's frame.
        """
        sites, address, code = self._sites, 0, None
        try:
            if self._bottom is not None:
                depth, outermost = self._bottom
                frame = _getframe(depth)
                if frame.f_code is outermost and frame.f_back is None:
                    return self._find_in_parent()
            frame = _getframe(start + 1)
            code = frame.f_code
            address = id(code) + frame.f_lasti
            known = self._paths.get(address)
            paths = _NO_PATHS if known is None else known[1]
            for depth, expected, whole in paths:
                frame = _getframe(depth)
                if whole is False:
                    site = sites.get(id(frame.f_code) + frame.f_lasti) or self._helped(frame)
                    # Each frame that has to be made an object of takes as long as the rest.
                    if site is not None and (len(paths) == 1 or _getframe(depth - 1).f_code is expected):
                        return site
                elif frame.f_code is expected and frame.f_back is None:
                    return whole or self._find_in_parent()
        except ValueError:
            pass  # The stack is not that deep.
        return self._search(_getframe(1), address, code)

    def walked(self) -> Site:
        """The site of the connection that the caller asks for, where that is in vain: by a walk, each time.

        How deep the line is, as seen from there, is no way to find others.
        """
        bottom = self._bottom
        site = self._search(_getframe(1), 0, None)
        self._bottom = bottom
        return site

    def pass_over(self, site: Site) -> None:
        """Take a line for a helper's from now on: its caller, if that is the application, holds the connections.

        For a function that returns its connection, or that makes the first statement of somebody else's session.
        """
        if site.place is None or site.helper is not None:
            return
        address = id(site.place[0]) + site.place[1]
        if self._sites.get(address) is site and len(self._former) < MOST_SITES_KNOWN:
            self._former[address] = site
            self._helpers[address] = site.place[0]
            del self._sites[address]
            for there in list(self._at_depths.values()):
                there.pop(address, None)

    def _helped(self, frame: FrameType) -> Site | None:
        """The site of a helper's frame; ``None`` if its line is not known as a helper's."""
        if id(frame.f_code) + frame.f_lasti not in self._helpers:
            return None
        return self._site_of(frame)

    def _search(self, innermost: FrameType, address: int, code: CodeType | None) -> Site:
        """Walk the stack from the caller of `find` outwards, and remember the way from `address`."""
        line = line_of(innermost, self._modules)
        whole: Site | Literal[False] | None = False
        if not line.is_last_resort and line.frame is not None:
            site = self._site_of(line.frame)
        elif self._getcurrent is not None:
            whole, site = None, self._find_in_parent(line.frame)
        else:
            whole = site = self._last_resort(line.frame)
        if whole is False:
            self._remember(address, code, (line.depth + 1, line.within, False))
        elif line.outermost is not None:
            depth, outermost = line.outermost
            if whole is None:
                self._bottom = depth + 1, outermost
            self._remember(address, code, (depth + 1, outermost, whole))
        return site

    def _find_in_parent(self, otherwise: FrameType | None = None) -> Site:
        """Go on in the greenlet that started this one: its frame is SQLAlchemy's, the application's is near."""
        sites, getcurrent = self._sites, self._getcurrent
        started: Any = None
        try:
            started = getcurrent and getcurrent().parent.gr_frame
            inner = self._to_within(started)
            if inner.f_code is self._within:
                outer = inner.f_back  # Once: each look at it makes an object of the frame's.
                site = sites.get(id(outer.f_code) + outer.f_lasti)
                if site is not None:
                    return site
        except AttributeError:
            pass  # The stack is not that deep.
        within: FrameType | None = None
        frame: FrameType | None = started
        for hops in range(_HOPS):
            if frame is None:
                break
            site = sites.get(id(frame.f_code) + frame.f_lasti)
            if site is not None:
                if within is None or within.f_code not in self._right_within:
                    break  # Between them may be a line of the application that is not known yet.
                self._to_within, self._within = _BACK[hops - 1], within.f_code
                return site
            site = self._helped(frame)
            if site is not None:
                return site
            within, frame = frame, frame.f_back
        if started is None:
            return self._last_resort(otherwise)
        line = line_of(started, self._modules)
        if line.is_last_resort or line.frame is None:
            return self._last_resort(line.frame or otherwise)
        if len(self._right_within) < _MOST_STARTS:
            self._right_within.add(line.within)
        return self._site_of(line.frame)

    def _last_resort(self, frame: FrameType | None) -> Site:
        if frame is None:
            return self.unknown
        place = frame.f_code, frame.f_lasti
        return self._known((id(place[0]) + place[1], 0), place, None)

    def _site_of(self, frame: FrameType) -> Site:
        """The site of the innermost frame of the application."""
        place = frame.f_code, frame.f_lasti
        address = id(place[0]) + place[1]
        is_passed_over = address in self._former
        if not is_passed_over and not is_helper(frame):
            return self._known(address, place, None)
        if len(self._helpers) < MOST_SITES_KNOWN:
            self._helpers[address] = place[0]
        outer = beyond(frame, self._modules, self._former)
        if outer is frame:
            return self._former.get(address) or self._known((address, 0), place, None)
        return self._known((id(outer.f_code) + outer.f_lasti, address), (outer.f_code, outer.f_lasti), place)

    def _known(self, key: Key, place: CallSite, helper: CallSite | None) -> Site:
        site = self._sites.get(key)
        if site is None:
            if len(self._sites) >= MOST_SITES_KNOWN:
                return self.other
            made = Site(place, helper)
            made.loop = notice()
            site = self._sites.setdefault(key, made)  # In one step: of several threads one is the first.
        return site

    def _remember(self, address: int, code: CodeType | None, path: Path) -> None:
        if code is None:
            return
        if address not in self._paths and len(self._paths) >= _MOST_STARTS:
            return
        paths = self._paths.setdefault(address, (code, []))[1]
        if path not in paths and len(paths) < _MOST_PATHS:
            paths.append(path)
