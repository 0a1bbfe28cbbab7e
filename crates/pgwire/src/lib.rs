//! PostgreSQL's protocol as bytes and values
