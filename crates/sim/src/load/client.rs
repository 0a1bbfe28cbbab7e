//! What a refused client does next: comes again, as often and as soon as its scenario says.

use std::time::Duration;

use crate::scenario::Retry;

/// One request's insistence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Insistence {
    /// Times it came, the first included.
    pub(super) attempts: u32,
}

impl Insistence {
    /// It has come.
    pub(super) fn came(&mut self) {
        self.attempts += 1;
    }

    /// After a refusal: how long until it comes again; `None` when it has given up.
    #[must_use]
    pub(super) fn comes_again(&self, retry: &Retry) -> Option<Duration> {
        let retries = self.attempts.checked_sub(1)?;
        if retries >= retry.times {
            return None;
        }
        let longer = retry.factor.powi(i32::try_from(retries).unwrap_or(i32::MAX));
        Some(retry.after.mul_f64(longer.min(LONGEST)))
    }
}

/// No wait grows beyond this many times the first one.
const LONGEST: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_retry_waits_longer_and_there_is_an_end() {
        let retry = Retry { times: 3, after: Duration::from_millis(100), factor: 2.0 };
        let mut client = Insistence::default();
        let mut waits = Vec::new();
        for _ in 0..5 {
            client.came();
            waits.push(client.comes_again(&retry).map(|wait| wait.as_millis()));
        }
        assert_eq!(waits, [Some(100), Some(200), Some(400), None, None]);
    }
}
