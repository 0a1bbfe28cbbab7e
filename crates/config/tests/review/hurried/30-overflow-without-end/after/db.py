from sqlalchemy import create_engine

engine = create_engine(
    "postgresql+psycopg2://app@pooler.internal:6432/app",
    pool_size=10,
    max_overflow=0,
    pool_timeout=2,
    pool_recycle=1500,
)
