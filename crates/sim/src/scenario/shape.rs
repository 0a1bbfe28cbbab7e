//! How a rate moves within its phase: a factor at each moment, and the largest it gets.

use std::sync::Arc;
use std::time::Duration;

/// The shape of a load.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The same all along.
    Step,
    /// Up fast, a while on top, then down again, each e-fold in `decay`.
    Flash {
        /// The factor on top.
        peak: f64,
        /// Time up, in a line.
        rise: Duration,
        /// Time on top.
        hold: Duration,
        /// Time in which what is above 1 falls to a third (1/e).
        decay: Duration,
    },
    /// In a line from 1 to this at the phase's end.
    Ramp {
        /// The factor at the end.
        to: f64,
    },
    /// Bursts.
    Comb {
        /// The factor in a burst; between them it is 1.
        peak: f64,
        /// From one burst's beginning to the next.
        every: Duration,
        /// A burst's length.
        width: Duration,
    },
    /// Every client of the group at the phase's beginning, then the rate.
    Herd,
    /// Every client loses its connection at the phase's beginning, comes back and asks at once, then the rate.
    Reconnect,
    /// Up and down around 1.
    Sine {
        /// One wave.
        period: Duration,
        /// How far from 1, at most 1.
        depth: f64,
    },
    /// A factor for each stretch of time, the last one on to the end: what was counted somewhere.
    Rates {
        /// How long a stretch is.
        every: Duration,
        /// The factors; at least one.
        factors: Arc<[f64]>,
    },
    /// Calm and bursts in turn, each for a random while (a Markov-modulated Poisson process of two states).
    Bursts {
        /// The factor in a burst; in calm it is 1.
        peak: f64,
        /// The mean length of a calm, exponential.
        calm: Duration,
        /// The mean length of a burst, exponential.
        burst: Duration,
    },
}

impl Shape {
    /// The factor `at` seconds into a phase of `lasts` seconds.
    #[must_use]
    pub fn factor(&self, at: f64, lasts: f64) -> f64 {
        match *self {
            // of bursts nobody can say; whoever draws their times multiplies
            Self::Step | Self::Herd | Self::Reconnect | Self::Bursts { .. } => 1.0,
            Self::Rates { every, ref factors } => {
                let place = (at / every.as_secs_f64()) as usize;
                factors[place.min(factors.len() - 1)]
            }
            Self::Flash { peak, rise, hold, decay } => {
                let (rise, hold, decay) = (rise.as_secs_f64(), hold.as_secs_f64(), decay.as_secs_f64());
                let above = peak - 1.0;
                if at < rise {
                    1.0 + above * at / rise
                } else if at < rise + hold {
                    peak
                } else if decay > 0.0 {
                    1.0 + above * (-(at - rise - hold) / decay).exp()
                } else {
                    1.0
                }
            }
            Self::Ramp { to } => 1.0 + (to - 1.0) * at / lasts,
            Self::Comb { peak, every, width } => {
                if at % every.as_secs_f64() < width.as_secs_f64() {
                    peak
                } else {
                    1.0
                }
            }
            Self::Sine { period, depth } => 1.0 + depth * (std::f64::consts::TAU * at / period.as_secs_f64()).sin(),
        }
    }

    /// The largest factor there is.
    #[must_use]
    pub fn most(&self) -> f64 {
        match *self {
            Self::Step | Self::Herd | Self::Reconnect => 1.0,
            Self::Flash { peak, .. } | Self::Comb { peak, .. } => peak.max(1.0),
            Self::Ramp { to } => to.max(1.0),
            Self::Sine { depth, .. } => 1.0 + depth,
            Self::Rates { ref factors, .. } => factors.iter().copied().fold(0.0, f64::max),
            Self::Bursts { peak, .. } => peak.max(1.0),
        }
    }

    /// Whether every client asks at the phase's beginning.
    #[must_use]
    pub const fn gathers(&self) -> bool {
        match self {
            Self::Herd | Self::Reconnect => true,
            Self::Step
            | Self::Flash { .. }
            | Self::Ramp { .. }
            | Self::Comb { .. }
            | Self::Sine { .. }
            | Self::Rates { .. }
            | Self::Bursts { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shape_leaves_its_bounds() {
        let second = Duration::from_secs(1);
        let shapes = [
            Shape::Step,
            Shape::Flash { peak: 8.0, rise: second / 5, hold: second * 2, decay: second },
            Shape::Ramp { to: 3.0 },
            Shape::Ramp { to: 0.0 },
            Shape::Comb { peak: 5.0, every: second * 2, width: second / 2 },
            Shape::Sine { period: second * 3, depth: 1.0 },
            Shape::Rates { every: second, factors: vec![0.5, 3.0, 0.0, 1.0].into() },
        ];
        for shape in shapes {
            let factors: Vec<f64> = (0..1000).map(|n| shape.factor(f64::from(n) / 100.0, 10.0)).collect();
            let (least, most) = factors.iter().fold((f64::MAX, 0.0_f64), |(a, b), &f| (a.min(f), b.max(f)));
            assert!(least >= 0.0 && most <= shape.most() + 1e-9, "{shape:?}: {least} to {most}");
            assert!(most >= shape.most() * 0.99, "{shape:?}: {most} never gets to {}", shape.most());
        }
    }

    #[test]
    fn a_flash_goes_up_stays_and_falls() {
        let ms = Duration::from_millis;
        let flash = Shape::Flash { peak: 9.0, rise: ms(200), hold: ms(800), decay: ms(1000) };
        let at = |seconds: f64| flash.factor(seconds, 10.0);
        assert!((at(0.1) - 5.0).abs() < 1e-9 && (at(0.5) - 9.0).abs() < 1e-9);
        assert!((at(2.0) - (1.0 + 8.0 / std::f64::consts::E)).abs() < 1e-9);
    }
}
