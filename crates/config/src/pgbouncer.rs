//! PgBouncer's configuration: its ini grammar, every setting of it classified, and what it becomes here.

mod process;

pub use process::{Process, Standing, Syslog};
