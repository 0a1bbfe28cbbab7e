//! What makes refusing cheap: a loop that mostly refuses looks at clients that hold nothing once in a millisecond, and not as each comes.
//!
//! Waking up costs about as much as reading a request and answering no. So while refusals are most of what a loop does, it waits
//! for those alone who hold a server connection and for its door, and finds the others together a moment later. Whoever is
//! served meanwhile goes on at once; a new request waits for the rest of the millisecond, in a loop where most are refused.

use std::time::Duration;

use poolwarden_switch::pool::Time;

/// So long at most others than those who hold something are not looked at.
pub(super) const LULL: Duration = Duration::from_millis(1);
/// What a loop does is judged by so much of the past.
const WINDOW: Duration = Duration::from_millis(50);
/// With fewer refusals in a window nobody is kept waiting: there would be nothing to find together.
const FEWEST: u64 = 100;

/// Whether a loop mostly refuses.
#[derive(Debug, Default)]
pub(super) struct Lull {
    /// When this window ends.
    until: Time,
    /// How many refusals there had been before it.
    refused: u64,
    /// What came within it.
    came: u64,
    holds: bool,
}

impl Lull {
    /// A turn is over, in which so many events came; `refused` in all since the loop began.
    #[inline]
    pub(super) fn turned(&mut self, now: Time, refused: u64, came: usize) {
        self.came += came as u64;
        if now >= self.until {
            self.judge(now, refused);
        }
    }

    fn judge(&mut self, now: Time, refused: u64) {
        let here = refused.saturating_sub(self.refused);
        self.holds = here >= FEWEST && here > self.came / 2;
        (self.until, self.refused, self.came) = (now + WINDOW, refused, 0);
    }

    /// Whether clients that hold nothing may be found together.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn it_holds_while_most_of_what_comes_is_refused() {
        let mut lull = Lull::default();
        lull.turned(at(0), 0, 1);
        assert!(!lull.holds(), "nothing was refused");
        for turn in 1..=200 {
            lull.turned(at(turn / 4), turn, 1);
        }
        assert!(lull.holds(), "each of 200 was refused within a window");
        lull.turned(at(60), 210, 100);
        assert!(lull.holds(), "a window is judged at its end");
        lull.turned(at(100), 300, 110);
        assert!(!lull.holds(), "100 of 210 is not most");
    }

    #[test]
    fn it_ends_with_the_refusals() {
        let mut lull = Lull::default();
        lull.turned(at(0), 0, 0);
        lull.turned(at(50), 1000, 1000);
        assert!(lull.holds());
        lull.turned(at(100), 1099, 99);
        assert!(!lull.holds(), "so few are answered as they come");
    }
}
