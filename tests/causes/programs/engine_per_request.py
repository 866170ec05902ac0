"""Each request makes an engine of its own. Threads, Core."""

from sqlalchemy import Engine, create_engine, text

from support.acting import MENDED, begin, serve, symptom, url

#: Engines by request, for a page that shows what requests have done.
recent: dict[int, Engine] = {}


def make() -> Engine:
    return create_engine(url("psycopg"), pool_size=2)  # culprit


shared = make()


def handle() -> None:
    engine = shared if MENDED else make()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    recent[len(recent)] = engine
    if len(recent) > 20:
        recent.clear()
    if not MENDED and len(recent) > 4:
        symptom("connections")


begin()
serve(2, handle, think=0.8)
