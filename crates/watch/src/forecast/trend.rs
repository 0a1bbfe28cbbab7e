//! A rise in a row of block means: when it began, how steep it is, and how sure that is.
//!
//! The beginning is where a bent line (flat, then straight) leaves the least square sum. Where a step leaves less, what was before it
//! says nothing of what comes. The slope since then is Theil's and Sen's median of all slopes between two blocks, which a few odd
//! blocks do not move, with Sen's interval from the ranks of Kendall's statistic (P. K. Sen, JASA 63, 1968).

/// A rise is at least so many blocks long: with fewer, even blocks that only rise are no proof.
pub(super) const SHORTEST: usize = 8;
/// Blocks on either side of a step.
const BESIDE_STEP: usize = 3;
/// How many steps are cut off, the newest last.
const MOST_STEPS: usize = 3;
/// A step must leave so much less than the best line does.
const STEP_IS_BETTER: f64 = 0.8;
/// The line or step must explain so many times more than it leaves, each per degree of freedom. The beginning is chosen to be the
/// best of all, so that this is far above what a fixed one would need.
const SURE_F: f64 = 20.0;
/// Kendall's statistic, in its standard deviations.
const SURE_Z: f64 = 3.0;
/// Nine in ten: the two-sided quantile of the normal distribution.
const NINE_IN_TEN: f64 = 1.645;
/// The newer half rises at least at this part of the slope of all of it: what has levelled off does not go on.
const STILL_RISES: f64 = 0.25;

/// A rise that has not ended. Slopes are per block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rise {
    /// The median of all slopes.
    pub(super) slope: f64,
    /// Nine in ten times the slope is not below.
    pub(super) low: f64,
    /// Nor above.
    pub(super) high: f64,
    /// The line at the newest block.
    pub(super) level: f64,
    /// Blocks since it began.
    pub(super) blocks: usize,
}

impl Rise {
    /// Blocks until the line is at `target`: as the slope says, with the steepest and with the flattest of its interval.
    pub(super) fn until(&self, target: f64) -> (f64, (f64, f64)) {
        let left = (target - self.level).max(0.0);
        (left / self.slope, (left / self.high, left / self.low))
    }
}

/// The rise at the end of a row of means, oldest first.
pub(super) fn rise(values: &[f64]) -> Option<Rise> {
    let values = since_steps(values);
    let (begins, _) = bend(values).filter(|(_, left)| is_sure(values, *left))?;
    let rising = &values[begins..];
    let all = slopes(rising);
    let slope = median(&all)?;
    let (sign, spread) = kendall(rising);
    let z = (sign - sign.signum()) / spread;
    let (low, high) = interval(&all, spread);
    let newer = median(&slopes(&rising[rising.len() / 2..]))?;
    let is_rise = slope > 0.0 && low > 0.0 && z > SURE_Z && newer >= STILL_RISES * slope;
    is_rise.then(|| {
        let mut starts: Vec<f64> = rising.iter().zip(0_u32..).map(|(y, x)| y - slope * f64::from(x)).collect();
        starts.sort_by(f64::total_cmp);
        let start = median(&starts).unwrap_or_default();
        Rise { slope, low, high, level: start + slope * (rising.len() - 1) as f64, blocks: rising.len() }
    })
}

/// What came after the newest step up or down.
fn since_steps(mut values: &[f64]) -> &[f64] {
    for _ in 0..MOST_STEPS {
        let Some((place, left)) = step(values) else { break };
        let line = bend(values).map_or(f64::INFINITY, |(_, left)| left);
        if left >= STEP_IS_BETTER * line || !is_sure(values, left) {
            break;
        }
        values = &values[place..];
    }
    values
}

/// Where two levels explain most, and the square sum they leave.
fn step(values: &[f64]) -> Option<(usize, f64)> {
    let places = BESIDE_STEP..values.len().saturating_sub(BESIDE_STEP - 1);
    let left = |place: usize| around_mean(&values[..place]) + around_mean(&values[place..]);
    places.map(|place| (place, left(place))).min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Where a line that is flat before it explains most, and the square sum it leaves.
fn bend(values: &[f64]) -> Option<(usize, f64)> {
    let last = values.len().checked_sub(SHORTEST)?;
    (0..=last).map(|place| (place, around_bend(values, place))).min_by(|a, b| a.1.total_cmp(&b.1))
}

fn around_mean(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|y| (y - mean) * (y - mean)).sum()
}

/// The square sum that least squares leave of a line that is flat until `place`.
fn around_bend(values: &[f64], place: usize) -> f64 {
    let along = |at: usize| at.saturating_sub(place) as f64;
    let count = values.len() as f64;
    let (mean_y, mean_x) = (mean(values), (0..values.len()).map(along).sum::<f64>() / count);
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (at, y) in values.iter().enumerate() {
        let (x, y) = (along(at) - mean_x, y - mean_y);
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    (yy - xy * xy / xx).max(0.0)
}

/// Whether what is left beside a model of two levels or slopes is so little that it is no chance.
fn is_sure(values: &[f64], left: f64) -> bool {
    let all = around_mean(values);
    let noise = left / (values.len() as f64 - 3.0);
    all > 0.0 && all - left > SURE_F * noise
}

/// Slopes between any two blocks, in order.
fn slopes(values: &[f64]) -> Vec<f64> {
    let mut all = Vec::with_capacity(values.len() * values.len() / 2);
    for (place, y) in values.iter().enumerate() {
        all.extend(values[place + 1..].iter().zip(1_u32..).map(|(later, apart)| (later - y) / f64::from(apart)));
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Kendall's statistic (pairs that rise less those that fall) and its standard deviation where nothing rises, ties not counted as less.
fn kendall(values: &[f64]) -> (f64, f64) {
    let pairs = values.iter().enumerate().flat_map(|(place, y)| values[place + 1..].iter().map(move |later| later - y));
    let sign = pairs.map(|rise| if rise == 0.0 { 0.0 } else { rise.signum() }).sum();
    let n = values.len() as f64;
    (sign, (n * (n - 1.0) * 2.0_f64.mul_add(n, 5.0) / 18.0).sqrt())
}

/// Sen's interval of the slope.
fn interval(slopes: &[f64], spread: f64) -> (f64, f64) {
    let (count, apart) = (slopes.len() as f64, NINE_IN_TEN * spread);
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(slopes.len() - 1)];
    (at(((count - apart) / 2.0).floor()), at(((count + apart) / 2.0).ceil()))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Of values in order.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = &sorted[(sorted.len() - 1) / 2];
    Some((upper + lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise between -1 and 1, the same for the same seed.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
    }

    fn row(length: usize, seed: u64, level: impl Fn(f64) -> f64) -> Vec<f64> {
        noise(seed).take(length).enumerate().map(|(at, noise)| level(at as f64) + noise).collect()
    }

    #[test]
    fn a_rise_is_found_with_its_beginning_its_slope_and_what_is_left() {
        let mut inside = 0;
        for seed in 0..100 {
            let found = rise(&row(40, seed, |at| 10.0 + 0.5 * (at - 20.0).max(0.0))).unwrap();
            inside += u32::from(found.low <= 0.5 && 0.5 <= found.high);
            assert!(found.low <= found.slope && found.slope <= found.high, "{seed}: {found:?}");
            assert!((found.slope - 0.5).abs() < 0.15 && (15..=24).contains(&found.blocks), "{seed}: {found:?}");
            assert!((found.level - 19.5).abs() < 1.0, "{seed}: {found:?}");
            let (until, (soon, late)) = found.until(29.5);
            assert!(soon <= until && until <= late && (14.0..27.0).contains(&until), "{seed}: {until} {soon} {late}");
        }
        // Nine in ten where the beginning is known; it is found as well, which takes some of them.
        assert!(inside >= 75, "{inside}");
    }

    #[test]
    fn noise_is_no_rise_and_what_has_levelled_off_is_none_either() {
        let found = |level: fn(f64) -> f64| (0..500).filter(|seed| rise(&row(60, *seed, level)).is_some()).count();
        assert!(found(|_| 10.0) <= 1, "{}", found(|_| 10.0));
        assert_eq!(found(|at| 10.0 + at.min(30.0)), 0, "it stands since half an hour");
        assert_eq!(found(|at| 20.0 - 0.2 * at), 0, "it falls");
    }

    #[test]
    fn a_step_is_no_rise_but_a_rise_after_it_is() {
        let steps = |seed: &u64| rise(&row(60, *seed, |at| if at < 40.0 { 10.0 } else { 20.0 })).is_some();
        let found = (0..500).filter(steps).count();
        assert!(found <= 2, "{found}");
        let after = |at: f64| if at < 20.0 { 10.0 } else { 20.0 + 0.5 * (at - 30.0).max(0.0) };
        for seed in 0..50 {
            let found = rise(&row(60, seed, after)).unwrap();
            assert!((found.slope - 0.5).abs() < 0.15, "{seed}: {found:?}");
        }
    }

    #[test]
    fn one_wild_block_does_not_bend_it() {
        let mut values = row(40, 3, |at| 10.0 + 0.5 * (at - 15.0).max(0.0));
        values[30] += 12.0;
        let found = rise(&values).unwrap();
        assert!((found.slope - 0.5).abs() < 0.15, "{found:?}");
    }

    #[test]
    fn too_few_blocks_say_nothing() {
        for length in 0..SHORTEST {
            assert_eq!(rise(&row(length, 1, |at| at * 10.0)), None, "{length}");
        }
        assert_eq!(rise(&[5.0; 60]), None, "nothing moves");
        assert!(rise(&row(SHORTEST + 2, 1, |at| at * 10.0)).is_some());
    }
}
