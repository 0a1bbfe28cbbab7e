from sqlalchemy import create_engine

event_log_storage = create_engine(
    "postgresql+psycopg2://dagster@dagster-pgbouncer.dagster.svc:5432/dagster",
    pool_size=10,
    max_overflow=10,
    pool_timeout=30,
    pool_recycle=1800,
)
