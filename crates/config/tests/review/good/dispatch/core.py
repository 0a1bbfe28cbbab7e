from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

engine = create_engine(
    "postgresql+psycopg2://incidents@incidents-db.internal:5432/incidents",
    pool_size=20,
    max_overflow=0,
    pool_timeout=2,
    pool_recycle=3600,
    pool_pre_ping=True,
)

SessionLocal = sessionmaker(bind=engine)
