"""SQLAlchemy's own pool (QueuePool) in front of the pooler, through restarts of PostgreSQL."""

from contextlib import contextmanager

import sqlalchemy
from checks import URL
from pool_restart import SIZE, run
from sqlalchemy import event, text


class Pool:
    def __init__(self):
        url = URL.replace("postgresql://", "postgresql+psycopg://").replace("postgres://", "postgresql+psycopg://")
        self.engine = sqlalchemy.create_engine(url, pool_size=SIZE, max_overflow=0, pool_timeout=60)
        self.connections = 0
        event.listen(self.engine, "connect", self.count)

    def count(self, *_):
        self.connections += 1

    def ask(self, sql):
        with self.engine.connect() as connection:
            return connection.execute(text(sql)).scalar()

    @contextmanager
    def hold(self):
        with self.engine.connect() as connection:
            answer = connection.execute(text("select 1")).scalar()
            connection.rollback()  # SQLAlchemy begins a transaction of its own accord; it would keep a server connection
            yield answer

    def opened(self):
        return self.connections

    def state(self, error):
        return getattr(getattr(error, "orig", None), "sqlstate", None)


run(Pool())
