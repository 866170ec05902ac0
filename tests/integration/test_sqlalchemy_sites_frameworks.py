"""Which line of an application holds a connection that Flask-SQLAlchemy or SQLModel takes for it."""

from ast import literal_eval
from pathlib import Path
from typing import Any

from support.programs import run

TOLD = """
import logging
logging.disable()  # Nobody receives the reports.

from poolhouse.instrumentation import watch

def told():
    (pool,) = watch._watches.values()
    return {site.site: (site.open, site.returned) for site in pool.read(1).signs.sites}

def show(what):
    print(what, told())
"""

FLASK = (
    TOLD
    + """
import sys
from flask import Flask, abort
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{sys.argv[1]}?plugin=collectd&collectd_program_name=shop"
db = SQLAlchemy(app)

class Order(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)

def prepare():
    with app.app_context():
        db.create_all()

@app.route("/orders/<int:number>")
def get_order(number):
    order = db.get_or_404(Order, number)
    show("get_order")
    return str(order.id)

@app.route("/orders/")
def list_orders():
    page = db.paginate(db.select(Order))
    show("list_orders")
    return str(page.total)

@app.route("/old/orders/")
def list_as_of_old():
    orders = Order.query.all()
    show("list_as_of_old")
    return str(len(orders))

@app.route("/orders/new")
def place_order():
    db.session.add(Order())
    db.session.flush()
    show("place_order")
    db.session.commit()
    return "placed"

@app.route("/refused")
def refuse():
    db.session.execute(db.select(Order))
    abort(403)

prepare()
client = app.test_client()
paths = "/orders/new", "/orders/1", "/orders/", "/old/orders/", "/refused", "/orders/", "/orders/7"
print("status", [client.get(path).status_code for path in paths])
show("back")
"""
)

SQLMODEL = (
    TOLD
    + """
import sys
from contextlib import contextmanager
from sqlmodel import Field, Session, SQLModel, create_engine, select

class Order(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)

engine = create_engine(f"sqlite:///{sys.argv[1]}?plugin=collectd&collectd_program_name=shop")

def prepare():
    SQLModel.metadata.create_all(engine)

def list_orders():
    with Session(engine) as session:
        orders = session.exec(select(Order)).all()
        show("list_orders")

def get_order():
    with Session(engine) as session:
        session.get(Order, 1)
        show("get_order")

def place_order():
    with Session(engine) as session:
        session.add(Order())
        session.commit()

@contextmanager
def transaction():
    with Session(engine) as session, session.begin():
        session.exec(select(Order)).first()
        yield session

def in_transaction():
    with transaction() as session:
        session.exec(select(Order)).all()
        show("in_transaction")

prepare()
for page in (place_order, list_orders, get_order, in_transaction, list_orders):
    page()
show("back")
"""
)


def shown(program: str, *arguments: str) -> dict[str, dict[str, tuple[int, int]]]:
    """By what the program showed last under each name: the lines, how many they hold, how many came back."""
    told: dict[str, Any] = {}
    for line in run(program, *arguments).splitlines():
        name, _, sites = line.partition(" ")
        told[name] = literal_eval(sites)
    return told


def by_function(sites: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {words.partition(" in ")[2]: counts for words, counts in sites.items()}


def held_now(sites: dict[str, tuple[int, int]]) -> list[str]:
    return [name for name, (out, _) in by_function(sites).items() if out]


def test_the_connections_of_flask_sqlalchemy_are_held_by_the_lines_of_views(tmp_path: Path) -> None:
    told = shown(FLASK, f"{tmp_path}/shop.db")
    assert told.pop("status") == [200, 200, 200, 200, 403, 200, 404]
    back = by_function(told.pop("back"))
    assert back == {
        "prepare": (0, 1),
        "place_order": (0, 1),
        "get_order": (0, 2),
        "list_orders": (0, 2),
        "list_as_of_old": (0, 1),
        "refuse": (0, 1),
    }
    # Each view sees its own line, while its connection is out, and no other.
    for view in ("place_order", "get_order", "list_orders", "list_as_of_old"):
        assert held_now(told.pop(view)) == [view]
    assert told == {}


def test_the_connections_of_sqlmodel_are_held_by_the_lines_that_use_its_sessions(tmp_path: Path) -> None:
    told = shown(SQLMODEL, f"{tmp_path}/shop.db")
    helped = {words for words in told["back"] if " via " in words}
    assert [words.count(" in in_transaction via ") + words.count(" in transaction") for words in helped] == [2]
    back = by_function(told.pop("back"))
    assert {name.partition(" via ")[0]: counts for name, counts in back.items()} == {
        "prepare": (0, 1),
        "place_order": (0, 1),
        "list_orders": (0, 2),
        "get_order": (0, 1),
        "in_transaction": (0, 1),
    }
    for function, sites in told.items():
        assert [name.partition(" via ")[0] for name in held_now(sites)] == [function]
