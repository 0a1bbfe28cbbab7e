"""asyncpg: its own protocol code, with Flush between Parse and Bind and named statements by default."""

import asyncio
import io

import asyncpg
from checks import CONNECTIONS, LARGE, URL, equal, run_async


async def connect():
    return await asyncpg.connect(URL, timeout=60)


async def check_simple():
    connection = await connect()
    equal(await connection.execute("select 1; select 2"), "SELECT 1")
    equal(tuple(await connection.fetchrow("select 6 * 7, null, 'text'")), (42, None, "text"))
    await connection.close()


async def check_parameters():
    connection = await connect()
    row = await connection.fetchrow("select $1::int8, $2::text, $3::bytea, $4::int[]", 1 << 40, "naïve", b"\0\xff", [1, 2])
    equal(tuple(row), (1 << 40, "naïve", b"\0\xff", [1, 2]))
    await connection.execute("create table many (n int, t text)")
    await connection.executemany("insert into many values ($1, $2)", [(n, str(n)) for n in range(1000)])
    equal(await connection.fetchval("select sum(n) from many where t = n::text"), 499_500)
    await connection.close()


async def check_prepared():
    async def work(number):
        connection = await connect()
        statement = await connection.prepare(f"select $1::int + {number}, $2::text")
        for turn in range(20):
            equal(tuple(await statement.fetchrow(turn, "x")), (turn + number, "x"))
            async with connection.transaction():
                equal(await connection.fetchval("select $1::int * 2", turn), 2 * turn)
        equal([a.type.name for a in statement.get_attributes()], ["int4", "text"])
        await connection.close()

    await asyncio.gather(*(work(number) for number in range(20)))


async def check_rollback():
    connection = await connect()
    await connection.execute("create table rolled (n int)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("insert into rolled values (1)")
    await transaction.rollback()
    equal(await connection.fetchval("select count(*) from rolled"), 0)
    async with connection.transaction():
        await connection.execute("insert into rolled values ($1)", 2)
    equal(await connection.fetchval("select n from rolled"), 2)
    await connection.close()


async def check_error_then_reuse():
    connection = await connect()
    for _ in range(3):
        try:
            await connection.fetchval("select 1 / $1::int", 0)
        except asyncpg.DivisionByZeroError:
            pass
        else:
            raise AssertionError("a division by zero passed")
        equal(await connection.fetchval("select $1::int", 5), 5)
    try:
        async with connection.transaction():
            await connection.execute("select no_such_column")
    except asyncpg.UndefinedColumnError:
        pass
    equal(connection.is_in_transaction(), False)
    equal(await connection.fetchval("select 6"), 6)
    await connection.close()


async def check_copy_in():
    connection = await connect()
    await connection.execute("create table copied (n int, t text)")
    records = [(number, f"row {number}") for number in range(10_000)]
    equal(await connection.copy_records_to_table("copied", records=records), "COPY 10000")
    equal(tuple(await connection.fetchrow("select count(*), sum(n) from copied")), (10_000, 49_995_000))
    try:
        await connection.copy_to_table("copied", source=io.BytesIO(b"not a number\tx\n"))
    except asyncpg.InvalidTextRepresentationError:
        pass
    else:
        raise AssertionError("a broken COPY passed")
    equal(await connection.fetchval("select count(*) from copied"), 10_000)
    await connection.close()


async def check_copy_out():
    connection = await connect()
    out = io.BytesIO()
    await connection.copy_from_query("select n, n * 2 from generate_series(1, $1::int) n", 5000, output=out)
    equal(out.getvalue(), b"".join(b"%d\t%d\n" % (n, 2 * n) for n in range(1, 5001)))
    await connection.close()


async def check_cancel():
    connection = await connect()
    try:
        # A timeout makes asyncpg send a cancel and wait for the connection to be usable again.
        await connection.execute("select pg_sleep(30)", timeout=0.3)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("pg_sleep was not cancelled")
    equal(await asyncio.wait_for(connection.fetchval("select $1::int", 7), 10), 7)
    await connection.close()


async def check_large_row():
    connection = await connect()
    text, blob = "x" * LARGE, bytes(range(256)) * (LARGE // 256)
    assert await connection.fetchval("select $1::text", text) == text, "an 8 MiB text changed on its way"
    assert await connection.fetchval("select $1::bytea", blob) == blob, "8 MiB of bytea changed on their way"
    await connection.close()


async def check_hundred_connections():
    connections = await asyncio.gather(*(connect() for _ in range(CONNECTIONS)))

    async def work(number, connection):
        async with connection.transaction():
            equal(await connection.fetchval("select $1::int", number), number)
            equal(await connection.fetchval("select $1::text from pg_sleep(0.01)", str(number)), str(number))

    await asyncio.gather(*(work(number, connection) for number, connection in enumerate(connections)))
    await asyncio.gather(*(connection.close() for connection in connections))


asyncio.run(run_async([
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
]))
