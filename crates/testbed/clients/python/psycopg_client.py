"""psycopg 3: the libpq family from Python, its pipeline mode too."""

import threading
import time

import psycopg
from checks import CONNECTIONS, LARGE, URL, at_once, cancel_when_running, equal, run


def connect(**options):
    return psycopg.connect(URL, autocommit=True, **options)


def check_simple():
    with connect() as connection:
        equal(connection.execute("select 6 * 7, null, 'text'").fetchone(), (42, None, "text"))
        # ClientCursor sends everything in one simple query.
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute("select %s::int; select %s", (1, "two"))
            equal(cursor.fetchone(), (1,))
            equal(cursor.nextset(), True)
            equal(cursor.fetchone(), ("two",))


def check_parameters():
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            row = cursor.execute("select %s::int8, %s::text, %s::bytea, %s::int[]", (1 << 40, "naïve", b"\0\xff", [1, 2])).fetchone()
            equal(row, (1 << 40, "naïve", b"\0\xff", [1, 2]))


def check_prepared():
    def work(number, failures):
        try:
            with connect(prepare_threshold=0) as connection:
                for turn in range(20):
                    # Same client-side name, different text: every connection counts its own statements.
                    row = connection.execute(f"select %s::int + {number}, %s::text", (turn, "x"), prepare=True).fetchone()
                    equal(row, (turn + number, "x"))
                    with connection.transaction():
                        equal(connection.execute("select %s::int * 2", (turn,), prepare=True).fetchone(), (2 * turn,))
        except BaseException as error:
            failures.append(error)

    at_once(20, work)


def check_rollback():
    with connect() as connection:
        connection.execute("create table rolled (n int)")
        try:
            with connection.transaction():
                connection.execute("insert into rolled values (1)")
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
        equal(connection.execute("select count(*) from rolled").fetchone(), (0,))
        with connection.transaction():
            connection.execute("insert into rolled values (2)")
        equal(connection.execute("select n from rolled").fetchall(), [(2,)])


def check_error_then_reuse():
    with connect() as connection:
        for _ in range(3):
            try:
                connection.execute("select 1 / %s::int", (0,))
            except psycopg.errors.DivisionByZero:
                pass
            else:
                raise AssertionError("a division by zero passed")
            equal(connection.execute("select %s::int", (5,)).fetchone(), (5,))
        try:
            with connection.transaction():
                connection.execute("select no_such_column")
        except psycopg.errors.UndefinedColumn:
            pass
        equal(connection.info.transaction_status, psycopg.pq.TransactionStatus.IDLE)
        equal(connection.execute("select 6").fetchone(), (6,))


def check_copy_in():
    with connect() as connection:
        connection.execute("create table copied (n int, t text)")
        with connection.cursor().copy("copy copied from stdin") as copy:
            for number in range(10_000):
                copy.write_row((number, f"row {number}"))
        equal(connection.execute("select count(*), sum(n) from copied").fetchone(), (10_000, 49_995_000))
        try:
            with connection.cursor().copy("copy copied from stdin") as copy:
                copy.write("not a number\tx\n")
        except psycopg.errors.InvalidTextRepresentation:
            pass
        else:
            raise AssertionError("a broken COPY passed")
        equal(connection.execute("select count(*) from copied").fetchone(), (10_000,))


def check_copy_out():
    with connect() as connection:
        with connection.cursor().copy("copy (select n, n * 2 from generate_series(1, 5000) n) to stdout") as copy:
            rows = [tuple(map(int, row)) for row in copy.rows()]
        equal(rows, [(n, 2 * n) for n in range(1, 5001)])


def check_cancel():
    with connect() as connection:
        canceller = cancel_when_running(connect, connection.cancel_safe)
        started = time.monotonic()
        try:
            connection.execute("select pg_sleep(30)")
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise AssertionError("pg_sleep was not cancelled")
        canceller.join()
        assert time.monotonic() - started < 10, "the cancel came late"
        equal(connection.execute("select 7").fetchone(), (7,))


def check_large_row():
    with connect() as connection:
        for value in ("x" * LARGE, bytes(range(256)) * (LARGE // 256)):
            cast = "text" if isinstance(value, str) else "bytea"
            row = connection.execute(f"select %s::{cast}", (value,), binary=True).fetchone()
            assert row == (value,), f"an 8 MiB {cast} changed on its way"


def check_hundred_connections():
    barrier = threading.Barrier(CONNECTIONS)

    def work(number, failures):
        try:
            with connect() as connection:
                barrier.wait(60)
                with connection.transaction():
                    equal(connection.execute("select %s::int", (number,)).fetchone(), (number,))
                    equal(connection.execute("select %s::text, pg_sleep(0.01)::text", (str(number),)).fetchone(), (str(number), ""))
        except BaseException as error:
            barrier.abort()
            failures.append(error)

    at_once(CONNECTIONS, work)


def check_pipeline():
    with connect() as connection:
        connection.execute("create table piped (n int primary key)")
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("select %s::int", (n,)) for n in range(100)]
            equal([cursor.fetchone()[0] for cursor in cursors], list(range(100)))
            with connection.transaction():
                connection.cursor().executemany("insert into piped values (%s)", [(n,) for n in range(50)])
            pipeline.sync()
        equal(connection.execute("select count(*) from piped").fetchone(), (50,))
        # An error aborts the pipeline up to its Sync, and nothing of it stays.
        try:
            with connection.pipeline():
                connection.execute("insert into piped values (%s)", (100,))
                connection.execute("insert into piped values (%s)", (0,))
                connection.execute("insert into piped values (%s)", (101,))
        except psycopg.errors.UniqueViolation:
            pass
        else:
            raise AssertionError("a doubled key passed")
        equal(connection.execute("select count(*) from piped where n >= 100").fetchone(), (0,))


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
    check_pipeline,
])
