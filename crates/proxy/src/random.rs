//! Randomness of the operating system, for nonces, keys and seeds.

/// Random bytes from the operating system.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[allow(clippy::expect_used, reason = "without randomness no login can be answered safely; Linux always has it")]
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes
}
