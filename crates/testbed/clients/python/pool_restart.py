"""The frame of a driver pool's life through restarts of PostgreSQL: `run(pool)`.

A pool is an object with `ask(sql)` (borrow, run in a transaction of its own, give back), `hold()` (a context that keeps one
connection, to run `select 1` on), `opened()` (connections made so far) and `state(error)` (an error's SQLSTATE).
The test stops and starts PostgreSQL; both sides signal by files in $SIGNALS.
"""

import os
import threading
import time
from contextlib import ExitStack

from checks import equal

SIZE = 8
SIGNALS = os.environ["SIGNALS"]


def signal(name):
    open(os.path.join(SIGNALS, name), "x").close()


def await_signal(name):
    path = os.path.join(SIGNALS, name)
    while not os.path.exists(path):
        time.sleep(0.01)


def fill(pool):
    """Borrows all connections at once."""
    with ExitStack() as stack:
        for _ in range(SIZE):
            equal(stack.enter_context(pool.hold()), 1)


def ask_all(pool, asking):
    """One request per connection, at once: the SQLSTATEs of those that failed."""
    failed = []

    def work():
        try:
            equal(pool.ask("select 1"), 1)
        except Exception as error:
            failed.append(pool.state(error) or repr(error))

    threads = [threading.Thread(target=work) for _ in range(SIZE)]
    for thread in threads:
        thread.start()
    signal(asking)
    for thread in threads:
        thread.join()
    return failed


def run(pool):
    fill(pool)
    equal(pool.opened(), SIZE, "connections opened by the pool")
    print("ok fills", flush=True)

    signal("filled")
    await_signal("stopped")
    equal(ask_all(pool, "asking"), [], "requests that waited through a short restart and failed")
    equal(pool.opened(), SIZE, "connections opened by the pool after a short restart")
    print("ok waits_through_a_restart", flush=True)

    signal("served")
    await_signal("stopped_again")
    failed = ask_all(pool, "asking_again")
    equal(sorted(failed), ["58000"] * SIZE, "SQLSTATEs while PostgreSQL is away for longer")
    signal("refused")
    await_signal("started")
    fill(pool)
    equal(pool.opened(), SIZE, "connections opened by the pool after a long absence")
    print("ok keeps_its_connections", flush=True)
