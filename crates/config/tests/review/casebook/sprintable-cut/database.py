from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(
    "postgresql+asyncpg://backend@pgbouncer.internal:6432/sprintable",
    pool_size=2,      # PgBouncer is the real pool
    max_overflow=1,
    pool_timeout=30,
    pool_recycle=1800,
)
