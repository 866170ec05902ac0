"""The page at ``/about``: the available paths and what they serve."""

from html import escape

#: Each path, and what it serves.
PATHS = (
    ("", "the fleet, live"),
    ("metrics", "metrics for Prometheus, one stream a program"),
    ("metrics?by=host", "the same, one stream a program and host"),
    (
        "api/",
        "a view of the page as JSON; so for every path of the page; ?at=14:03:20 for a time in the last hour",
    ),
    (
        "api/snapshot",
        "the fleet as JSON, as connmon --json prints it; ?program=NAME lists its processes and pools",
    ),
    ("healthz", "whether connmond runs"),
    ("readyz", "whether it serves"),
)


def landing_page(name: str) -> str:
    """The page as HTML, without a script, a style or any external resource.

    Args:
        name: Name and version of the daemon.
    """
    items = "\n".join(
        f'<li><a href="/{escape(path)}">/{escape(path)}</a>: {escape(text)}</li>' for path, text in PATHS
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(name)}</title>
</head>
<body>
<h1>{escape(name)}</h1>
<p>This daemon receives the reports of database connection pools. Watch them with <code>connmon</code>.</p>
<ul>
{items}
</ul>
</body>
</html>
"""
