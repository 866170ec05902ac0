"""Screens and tables as documents: the expected text is a file, reviewed by a person."""

import os
from pathlib import Path


def assert_document(path: Path, text: str) -> None:
    """The text is exactly what the file says.

    ``POOLHOUSE_REWRITE_DOCUMENTS=1`` writes the file anew; look at the difference before you commit it.
    """
    if os.environ.get("POOLHOUSE_REWRITE_DOCUMENTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
