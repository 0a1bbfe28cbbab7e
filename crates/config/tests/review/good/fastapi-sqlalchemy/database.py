import os

from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(
    "postgresql+asyncpg://catalog@pgbouncer.internal:6432/catalog",
    pool_size=10,
    max_overflow=5,
    pool_timeout=2,
    pool_recycle=1200,
    pool_pre_ping=True,
    connect_args={"statement_cache_size": 0, "password": os.environ["CATALOG_PASSWORD"]},
)

Session = async_sessionmaker(engine, expire_on_commit=False)
