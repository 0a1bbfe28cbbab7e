from sqlalchemy import create_engine

engine = create_engine(
    "postgresql+psycopg2://studio@poolwarden:6432/studio",
    pool_size=30,
    max_overflow=10,
    pool_timeout=5,
    pool_recycle=3600,
    pool_pre_ping=True,
    pool_use_lifo=True,
)
