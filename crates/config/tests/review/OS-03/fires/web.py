from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

engine = create_engine("postgresql+psycopg://shop@pgbouncer.internal:6432/shop", poolclass=NullPool)
