"""The files of the page: a document, a style sheet and JavaScript modules, part of the package; read once."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "page"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file, as it is sent."""

    content: bytes
    content_type: str
    etag: str


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, _TYPES[path.suffix], f'"{sha256(content).hexdigest()[:16]}"')


#: The files by name.
ASSETS = {path.name: _read(path) for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
#: The document that every view of the page begins with.
DOCUMENT = ASSETS.pop("page.html")
