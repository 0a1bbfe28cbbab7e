//! The SQL console's other end: what the application answers, as plain values.

use std::net::SocketAddr;
use std::pin::Pin;

use poolwarden_switch::relay::console::ColumnKind;

/// What the SQL console asks the application.
pub trait Operator: Send + Sync + 'static {
    /// Answers one text.
    fn ask(&self, sql: String, who: Who) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

    /// The columns that the answer to this text will have; `None`: no rows.
    fn columns(&self, sql: &str, who: &Who) -> Option<Vec<(&'static str, ColumnKind)>>;
}

/// Who speaks on the SQL console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user it logged in as.
    pub user: String,
    /// Whether it may change things.
    pub admin: bool,
    /// Where it comes from; `None` is the unix socket.
    pub remote: Option<SocketAddr>,
}

/// The application's answer to the SQL console.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A table.
    Rows {
        /// Name and kind of each column.
        columns: Vec<(&'static str, ColumnKind)>,
        /// One text or NULL per column.
        rows: Vec<Vec<Option<String>>>,
        /// The command tag.
        tag: String,
    },
    /// Done.
    Done {
        /// The command tag.
        tag: String,
        /// What to tell besides.
        notices: Vec<String>,
    },
    /// Not done.
    Error {
        /// Why, by code.
        sqlstate: String,
        /// Why, in words.
        message: String,
        /// The next step.
        hint: Option<String>,
    },
}
