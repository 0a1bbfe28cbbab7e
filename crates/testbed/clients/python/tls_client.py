"""Connects once for each connection string given, and says in a line what came of it.

A line is `tls PROTOCOL CIPHER`, `clear`, or `failed MESSAGE`; libpq's own settings decide about TLS.
"""

import sys

import psycopg


def attempt(conninfo):
    try:
        with psycopg.connect(conninfo, connect_timeout=20) as connection:
            connection.execute("select 1")
            if not connection.pgconn.ssl_in_use:
                return "clear"
            about = connection.pgconn
            version = getattr(about, "full_protocol_version", 0)
            return f"tls {version}"
    except psycopg.Error as error:
        return "failed " + " ".join(str(error).split())


for conninfo in sys.argv[1:]:
    print(attempt(conninfo), flush=True)
