"""Django's own pool (psycopg_pool behind its database backend) in front of the pooler, through restarts of PostgreSQL."""

import os
import sys
from contextlib import contextmanager

import django
from django.conf import settings

sys.stderr = sys.stdout
from pool_restart import SIZE, run  # noqa: E402

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "app",
            "USER": os.environ["PGUSER"],
            "PASSWORD": os.environ["PGPASSWORD"],
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "CONN_MAX_AGE": 0,
            "OPTIONS": {"pool": {"min_size": SIZE, "max_size": SIZE, "timeout": 60}},
        }
    }
)
django.setup()

from django.db import connections  # noqa: E402
from django.db.utils import Error  # noqa: E402


class Pool:
    """Django has one connection per thread and alias; a request ends with `close`, which gives it back to the pool."""

    def ask(self, sql):
        connection = connections["default"]
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()[0]
        finally:
            connection.close()

    @contextmanager
    def hold(self):
        connection = connections.create_connection("default")
        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
                yield cursor.fetchone()[0]
        finally:
            connection.close()

    def opened(self):
        return connections["default"].pool.get_stats()["connections_num"]

    def state(self, error):
        return getattr(error.__cause__, "sqlstate", None) if isinstance(error, Error) else None


try:
    run(Pool())
finally:
    connections["default"].close_pool()
