from sqlalchemy import create_engine

engine = create_engine("postgresql+psycopg://shop@pgbouncer.internal:6432/shop", pool_size=10, max_overflow=0)
