//! HTTP, metrics and the rows of the SQL console
