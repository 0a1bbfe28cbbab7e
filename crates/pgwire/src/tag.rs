//! The type bytes of protocol version 3. The same byte means different things in each direction
//! (`D` is Describe or DataRow), hence two modules.

/// Messages a client sends.
pub mod client {
    /// Simple query: one text, any number of statements.
    pub const QUERY: u8 = b'Q';
    /// Names and plans a statement.
    pub const PARSE: u8 = b'P';
    /// Makes a portal of a statement and its parameters.
    pub const BIND: u8 = b'B';
    /// Asks for a statement's or a portal's shape.
    pub const DESCRIBE: u8 = b'D';
    /// Runs a portal.
    pub const EXECUTE: u8 = b'E';
    /// Drops a statement or a portal.
    pub const CLOSE: u8 = b'C';
    /// Asks for the replies so far.
    pub const FLUSH: u8 = b'H';
    /// Ends an extended-protocol cycle.
    pub const SYNC: u8 = b'S';
    /// The old fast-path function call.
    pub const FUNCTION_CALL: u8 = b'F';
    /// COPY rows, towards the server.
    pub const COPY_DATA: u8 = b'd';
    /// COPY's good end.
    pub const COPY_DONE: u8 = b'c';
    /// COPY's bad end.
    pub const COPY_FAIL: u8 = b'f';
    /// Goodbye.
    pub const TERMINATE: u8 = b'X';
    /// Password, SASL or GSS answer: which of them follows from what was asked.
    pub const PASSWORD: u8 = b'p';
}

/// Messages a server sends.
pub mod server {
    /// What to prove next, or that all is proven.
    pub const AUTHENTICATION: u8 = b'R';
    /// A setting's current value.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// The pid and secret a cancel must name.
    pub const BACKEND_KEY: u8 = b'K';
    /// Ready for the next cycle, with the transaction's state.
    pub const READY: u8 = b'Z';
    /// The columns that follow.
    pub const ROW_DESCRIPTION: u8 = b'T';
    /// One row.
    pub const DATA_ROW: u8 = b'D';
    /// A statement's good end.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// The answer to an empty text.
    pub const EMPTY_QUERY: u8 = b'I';
    /// An error.
    pub const ERROR: u8 = b'E';
    /// A notice, at any time.
    pub const NOTICE: u8 = b'N';
    /// A NOTIFY's delivery, at any time.
    pub const NOTIFICATION: u8 = b'A';
    /// Parse is done.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// Bind is done.
    pub const BIND_COMPLETE: u8 = b'2';
    /// Close is done.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// A Describe of something that returns no rows.
    pub const NO_DATA: u8 = b'n';
    /// A statement's parameter types.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// Execute stopped at its row limit.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// COPY towards the server begins.
    pub const COPY_IN: u8 = b'G';
    /// COPY towards the client begins.
    pub const COPY_OUT: u8 = b'H';
    /// COPY both ways begins (replication).
    pub const COPY_BOTH: u8 = b'W';
    /// COPY rows, towards the client.
    pub const COPY_DATA: u8 = b'd';
    /// COPY's good end.
    pub const COPY_DONE: u8 = b'c';
    /// A function call's result.
    pub const FUNCTION_RESPONSE: u8 = b'V';
    /// The server speaks an older minor version, or does not know an option.
    pub const NEGOTIATE: u8 = b'v';
}
