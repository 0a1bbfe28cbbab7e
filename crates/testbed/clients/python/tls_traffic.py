"""Heavy traffic over TLS: a hundred megabytes each way past a reader that is slow, and many clients at once."""

import asyncio
import hashlib
import sys
import threading
import time

import psycopg
from checks import run

MEGABYTE = 1 << 20


def check_large_result():
    """A hundred rows of a megabyte, read slowly at first."""
    with psycopg.connect(autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use
        got, rows = hashlib.md5(), 0
        query = "copy (select repeat(chr(97 + n % 26), 1048575) from generate_series(1, 100) n) to stdout"
        with connection.cursor().copy(query) as copy:
            for piece in copy:
                got.update(piece)
                rows += 1
                if rows % 5 == 0 and rows <= 30:
                    time.sleep(0.2)
        want = hashlib.md5()
        for n in range(1, 101):
            want.update((chr(97 + n % 26) * (MEGABYTE - 1) + "\n").encode())
        assert (rows, got.hexdigest()) == (100, want.hexdigest())


def check_large_input():
    """A hundred megabytes in."""
    with psycopg.connect() as connection:
        connection.execute("create temp table heap (line text) on commit drop")
        with connection.cursor().copy("copy heap from stdin") as copy:
            for n in range(100):
                copy.write(chr(97 + n % 26) * (MEGABYTE - 1) + "\n")
        got = connection.execute("select count(*), sum(length(line)), count(distinct md5(line)) from heap").fetchone()
        assert got == (100, 100 * (MEGABYTE - 1), 26), got


def check_both_ways_at_once():
    """Pipelined large parameters whose answers are as large: both sides write before they read."""
    with psycopg.connect() as connection, connection.pipeline():
        cursors = []
        for n in range(8):
            cursors.append(connection.execute("select %s::text", (str(n) * (2 * MEGABYTE),)))
        for n, cursor in enumerate(cursors):
            assert cursor.fetchone()[0] == str(n) * (2 * MEGABYTE)


def check_five_hundred_clients():
    """All connected at once, each served in turn; then once more."""

    async def client(start):
        connection = await psycopg.AsyncConnection.connect(autocommit=True)
        async with connection:
            await start.wait()
            for n in range(3):
                got = await (await connection.execute("select %s::int + 1", (n,))).fetchone()
                assert got == (n + 1,) and connection.pgconn.ssl_in_use
        return 1

    async def crowd():
        start = asyncio.Event()
        tasks = []
        for batch in range(10):
            tasks += [asyncio.create_task(client(start)) for _ in range(50)]
            await asyncio.sleep(0)
        start.set()
        return sum(await asyncio.gather(*tasks))

    assert asyncio.run(crowd()) == 500


def check_idle():
    """Three hundred connections that want nothing, until standard input ends."""
    connections = [psycopg.connect(autocommit=True) for _ in range(300)]
    sys.stdin.read()
    assert all(connection.execute("select 1").fetchone() == (1,) for connection in connections)


def check_storm():
    """For as long as it takes: clients that come, ask and go, until standard input ends."""

    async def client():
        served = 0
        while not over.is_set():
            async with await psycopg.AsyncConnection.connect(autocommit=True) as connection:
                for n in range(50):
                    got = await (await connection.execute("select %s::int, repeat('x', 30000)", (n,))).fetchone()
                    assert got[0] == n and len(got[1]) == 30000
                    served += 1
        return served

    async def storm():
        asyncio.get_running_loop().run_in_executor(None, lambda: (sys.stdin.read(), over.set()))
        return sum(await asyncio.gather(*[client() for _ in range(24)]))

    over = threading.Event()
    assert asyncio.run(storm()) > 0


CHECKS = {name.removeprefix("check_"): value for name, value in list(globals().items()) if name.startswith("check_")}
run([CHECKS[name] for name in sys.argv[1:]])
