"""SQLAlchemy over psycopg: an application's own pool before the pooler, and its reflection queries."""

import threading
import time

import psycopg
import sqlalchemy
from checks import CONNECTIONS, LARGE, URL, at_once, cancel_when_running, equal, run
from sqlalchemy import column, insert, select, table, text
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

ENGINE = sqlalchemy.create_engine(
    URL.replace("postgres://", "postgresql+psycopg://"),
    pool_size=CONNECTIONS,
    pool_timeout=60,
    connect_args={"prepare_threshold": 2},
)


def check_simple():
    with ENGINE.connect() as connection:
        equal(tuple(connection.execute(text("select 6 * 7, null, 'text'")).one()), (42, None, "text"))


def check_parameters():
    with ENGINE.connect() as connection:
        query = text("select cast(:n as bigint), cast(:t as text), cast(:b as bytea)")
        equal(tuple(connection.execute(query, {"n": 1 << 40, "t": "naïve", "b": b"\0\xff"}).one()), (1 << 40, "naïve", b"\0\xff"))


def check_prepared():
    def work(number, failures):
        try:
            for turn in range(20):
                # Each turn takes a connection of the application's pool and gives it back.
                with ENGINE.connect() as connection:
                    query = text(f"select cast(:n as int) + {number % 4}")
                    equal(connection.execute(query, {"n": turn}).scalar_one(), turn + number % 4)
        except BaseException as error:
            failures.append(error)

    at_once(20, work)


def check_rollback():
    metadata = sqlalchemy.MetaData()
    rolled = sqlalchemy.Table("rolled", metadata, sqlalchemy.Column("n", sqlalchemy.Integer, primary_key=True))
    metadata.create_all(ENGINE)
    with Session(ENGINE) as session:
        session.execute(insert(rolled).values(n=1))
        with session.begin_nested() as savepoint:
            session.execute(insert(rolled).values(n=2))
            savepoint.rollback()
        equal(session.execute(select(sqlalchemy.func.count()).select_from(rolled)).scalar_one(), 1)
        session.rollback()
    with ENGINE.begin() as connection:
        connection.execute(insert(rolled), [{"n": n} for n in range(10, 1010)])
    with ENGINE.connect() as connection:
        equal(connection.execute(select(sqlalchemy.func.min(rolled.c.n), sqlalchemy.func.count())).one(), (10, 1000))
    equal([c["name"] for c in sqlalchemy.inspect(ENGINE).get_columns("rolled")], ["n"])


def check_error_then_reuse():
    for _ in range(3):
        with ENGINE.connect() as connection:
            for error, query in ((DataError, "select 1 / cast(:n as int)"), (ProgrammingError, "select nothing, :n")):
                try:
                    connection.execute(text(query), {"n": 0})
                except error:
                    connection.rollback()
                else:
                    raise AssertionError(f"{query} passed")
            equal(connection.execute(text("select 5")).scalar_one(), 5)


def check_copy_in():
    with ENGINE.begin() as connection:
        connection.execute(text("create table copied (n int)"))
        cursor = connection.connection.driver_connection.cursor()
        with cursor.copy("copy copied from stdin") as copy:
            for number in range(1000):
                copy.write_row((number,))
        equal(connection.execute(select(sqlalchemy.func.sum(column("n"))).select_from(table("copied"))).scalar_one(), 499_500)


def check_copy_out():
    with ENGINE.connect() as connection:
        cursor = connection.connection.driver_connection.cursor()
        with cursor.copy("copy (select generate_series(1, 1000)) to stdout") as copy:
            equal([row[0] for row in copy.rows()], [str(n) for n in range(1, 1001)])


def check_cancel():
    with ENGINE.connect() as connection:
        cancel = connection.connection.driver_connection.cancel_safe
        canceller = cancel_when_running(lambda: psycopg.connect(URL, autocommit=True), cancel)
        started = time.monotonic()
        try:
            connection.execute(text("select pg_sleep(30)"))
        except OperationalError:
            connection.rollback()
        else:
            raise AssertionError("pg_sleep was not cancelled")
        canceller.join()
        assert time.monotonic() - started < 10, "the cancel came late"
        equal(connection.execute(text("select 7")).scalar_one(), 7)


def check_large_row():
    with ENGINE.connect() as connection:
        large = "x" * LARGE
        got = connection.execute(text("select cast(:t as text)"), {"t": large}).scalar_one()
        assert got == large, "an 8 MiB text changed on its way"


def check_hundred_connections():
    barrier = threading.Barrier(CONNECTIONS)

    def work(number, failures):
        try:
            with ENGINE.connect() as connection:
                barrier.wait(60)
                equal(connection.execute(text("select cast(:n as int) from pg_sleep(0.01)"), {"n": number}).scalar_one(), number)
                connection.commit()
        except BaseException as error:
            barrier.abort()
            failures.append(error)

    at_once(CONNECTIONS, work)


run([
    check_simple,
    check_parameters,
    check_prepared,
    check_rollback,
    check_error_then_reuse,
    check_copy_in,
    check_copy_out,
    check_cancel,
    check_large_row,
    check_hundred_connections,
])
