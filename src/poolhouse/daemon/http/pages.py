"""The page over HTTP: its document, its files, and its views as JSON and as streams."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from poolhouse.daemon.http.assets import ASSETS, DOCUMENT, Asset
from poolhouse.daemon.http.frames import Wanted
from poolhouse.daemon.http.live import Live, Reader
from poolhouse.daemon.http.moments import moment_text
from poolhouse.daemon.http.server import PUSH
from poolhouse.daemon.part import Hub
from poolhouse.views.address import Place, place_of
from poolhouse.views.moment import time_of
from poolhouse.views.page import MOST_ROWS

#: The most characters of a filter or heading that are considered.
_LONGEST_WORD = 200
_NOT_KEPT = {"cache-control": "no-store", "vary": "accept, accept-encoding"}
#: A browser must ask again whether a file has changed.
_ASKED_AGAIN = {"cache-control": "no-cache"}
_STREAM = "text/event-stream"


class Pages:
    """The answers to all paths of the page."""

    def __init__(self, live: Live, hub: Hub) -> None:
        """Prepare.

        Args:
            live: The live views.
            hub: The daemon's hub.
        """
        self._live = live
        self._hub = hub
        #: Distinguishes this daemon from an earlier one in the tags of answers.
        self._boot = f"{hub.clock.wall_time():.6f}"

    async def page(self, request: Request) -> Response:
        """The document, for every path that names a view."""
        if place_of(_raw_path(request)) is None:
            return PlainTextResponse("There is no such page.\n", status_code=404)
        return _file(request, DOCUMENT)

    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        found = ASSETS.get(request.path_params["name"])
        return (
            PlainTextResponse("There is no such file.\n", status_code=404)
            if found is None
            else _file(request, found)
        )

    async def view(self, request: Request) -> Response:
        """A view: a frame as JSON, or a stream of frames for clients that accept one."""
        wanted = self._wanted(request)
        if wanted is None:
            return PlainTextResponse("There is no such view.\n", status_code=404)
        if (at := request.query_params.get("at")) is not None:
            return await self._moment(wanted.place, at)
        if _STREAM in request.headers.get("accept", ""):
            return self._stream(request, wanted)
        topic = await self._live.frame(wanted, address_of(request))
        if topic is None:
            return _too_many()
        headers = _NOT_KEPT | {"etag": f'"{self._boot}-{topic.number}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(topic.text + b"\n", media_type="application/json", headers=headers)

    async def _moment(self, place: Place, at: str) -> Response:
        """The recorded state at a time in the last hour."""
        if place.kind not in ("programs", "program"):
            return PlainTextResponse("Of a past time only / and /program/NAME are kept.\n", status_code=404)
        wall_time = time_of(at, self._hub.clock.wall_time())
        if wall_time is None:
            expected = "expected seconds since the epoch, 2026-11-30T14:03:20Z, or 14:03:20"
            return PlainTextResponse(f"at: {expected}\n", status_code=400)
        text = await moment_text(self._hub, place, wall_time)
        if text is None:
            return PlainTextResponse("Nothing is known of that time: the last hour is kept.\n", status_code=404)
        return Response(text, media_type="application/json", headers=_NOT_KEPT)

    def _stream(self, request: Request, wanted: Wanted) -> Response:
        reader = request.scope.get("state", {}).get(PUSH)
        if reader is None or request.scope["http_version"] == "1.0":
            return PlainTextResponse("A stream needs HTTP/1.1.\n", status_code=406)
        if request.method == "HEAD":
            return Response(media_type=_STREAM, headers=_NOT_KEPT)
        if not self._live.has_room(wanted, reader.address):
            return _too_many()
        is_packed = "gzip" in request.headers.get("accept-encoding", "")
        return _Stream(self._live, wanted, reader, is_packed=is_packed)

    def _wanted(self, request: Request) -> Wanted | None:
        place = place_of(_raw_path(request).removeprefix("/api"))
        if place is None:
            return None
        query = request.query_params
        is_wide = query.get("columns") == "all"
        sort, containing = (query.get(name, "")[:_LONGEST_WORD] for name in ("sort", "filter"))
        return Wanted(place, is_wide, sort, containing, _rows(query.get("rows", "")))


class _Stream(Response):
    """A stream of frames. `Live` pushes them past this class, since each is made once for all streams."""

    def __init__(self, live: Live, wanted: Wanted, reader: Reader, *, is_packed: bool) -> None:
        # Keeps proxies from buffering it.
        headers = _NOT_KEPT | {"x-accel-buffering": "no"}
        super().__init__(media_type=_STREAM, headers=headers | ({"content-encoding": "gzip"} if is_packed else {}))
        del self.headers["content-length"]
        self._is_packed = is_packed
        self._live = live
        self._wanted = wanted
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if self._live.open(self._wanted, self._reader, is_packed=self._is_packed):
            try:
                while (await receive())["type"] != "http.disconnect":
                    pass
            finally:
                self._live.leave(self._wanted, self._reader)
        await send({"type": "http.response.body"})


def _file(request: Request, asset: Asset) -> Response:
    headers = _ASKED_AGAIN | {"etag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.content_type, headers=headers)


def _rows(text: str) -> int:
    """The requested number of rows; all that are sent if the text is not a valid number."""
    return min(MOST_ROWS, max(1, int(text))) if text.isdecimal() and len(text) < 10 else MOST_ROWS


def _too_many() -> Response:
    sentence = "Too many views are open; try again in some seconds.\n"
    return PlainTextResponse(sentence, status_code=503, headers={"retry-after": "5"})


def address_of(request: Request) -> str:
    """The address that a request came from, without a port; empty if it is unknown."""
    return "" if request.client is None else request.client.host


def _raw_path(request: Request) -> str:
    """The path as it was received: a slash that is part of a name is still encoded."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.partition(b"?")[0].decode("ascii", "replace")
