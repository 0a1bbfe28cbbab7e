//! How long queries took and transactions were left idle, by size.

/// Upper bounds of [`Histogram`]'s buckets in nanoseconds; one more bucket holds the rest.
pub const BOUNDS: [u64; 15] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Spans of time by bucket, not cumulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram(pub [u64; BOUNDS.len() + 1]);

impl Histogram {
    /// Counts a span of so many nanoseconds.
    #[inline]
    pub(crate) fn note(&mut self, span: u64) {
        self.0[BOUNDS.partition_point(|&bound| bound < span)] += 1;
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// The spans of one server connection, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Of each round, from when it went out (in a pipeline: from the answer before it) to its ReadyForQuery.
    pub query: Histogram,
    /// Within a transaction, from an answer until the client's next request.
    pub idle_in_transaction: Histogram,
}

impl Spans {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.query.add(&other.query);
        self.idle_in_transaction.add(&other.idle_in_transaction);
    }
}
