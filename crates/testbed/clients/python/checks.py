"""The frame of every Python client: runs the checks in order and prints `ok NAME` for each that passed."""

import os
import threading
import time

URL = os.environ["DATABASE_URL"]
LARGE = 8 * 1024 * 1024
CONNECTIONS = 100


def equal(got, expected, what="value"):
    if got != expected:
        raise AssertionError(f"{what}: got {str(got)[:200]!r}, expected {str(expected)[:200]!r}")


def cancel_when_running(connect, cancel):
    """In a thread: waits until PostgreSQL runs a pg_sleep(30), then calls `cancel`."""

    def work():
        with connect() as connection:
            running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'"
            while connection.execute(running).fetchone() == (0,):
                time.sleep(0.01)
        cancel()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def at_once(count, work):
    """Runs `work(number, failures)` in `count` threads; the first failure is raised here."""
    failures = []
    threads = [threading.Thread(target=work, args=(number, failures)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def report(name, started):
    print(f"ok {name} {1000 * (time.monotonic() - started):.0f} ms", flush=True)


def run(checks):
    """Runs plain functions named check_NAME."""
    for check in checks:
        started = time.monotonic()
        check()
        report(check.__name__.removeprefix("check_"), started)


async def run_async(checks):
    """The same for coroutines."""
    for check in checks:
        started = time.monotonic()
        await check()
        report(check.__name__.removeprefix("check_"), started)
