//! Classes of requests as the picture shows them; what each met in a pool stands in the pool's snapshot.

/// One class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassView {
    /// Its name.
    pub name: String,
    /// Share of the servers' time when classes compete.
    pub weight: u32,
    /// Server connections of a pool kept for it, where a rule assigns it.
    pub reserve: u32,
    /// Until when an operator sheds it, in milliseconds since 1970 UTC; `None`: nobody does.
    pub shed_until_ms: Option<u64>,
}
