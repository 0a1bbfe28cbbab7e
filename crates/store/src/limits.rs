//! What the store may take: bytes on disk and in memory, and a caller's time.

use std::time::Duration;

/// The bounds of a store. [`Limits::default`] has those of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes the files may take together: `[history] max_size`. Below 256 KiB it counts as 256 KiB. The oldest go
    /// first; what is never removed may exceed it, and so may the log while somebody reads it.
    pub max_size: u64,
    /// How long a write is waited for. A disk that hangs costs an operator this much and no more.
    pub patience: Duration,
    /// Writes of versions kept in memory while the file cannot be written. People make them: a day of changes.
    pub queued_writes: usize,
    /// Bytes of those writes, for each carries a whole configuration.
    pub queued_bytes: usize,
    /// Entries of the audit trail kept in memory.
    pub queued_audits: usize,
    /// The first wait before a failing store tries again by itself; it doubles each time.
    pub retry_first: Duration,
    /// The longest of these waits.
    pub retry_most: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_size: 2 << 30,
            patience: Duration::from_secs(2),
            queued_writes: 256,
            queued_bytes: 16 << 20,
            queued_audits: 4_096,
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(60),
        }
    }
}
