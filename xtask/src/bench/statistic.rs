//! Medians and quartiles: what is reported is the middle of many interleaved runs, never one run.

/// First quartile, median, third quartile, by linear interpolation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quartiles {
    pub(crate) first: f64,
    pub(crate) median: f64,
    pub(crate) third: f64,
}

impl Quartiles {
    /// Nothing for no values.
    pub(crate) fn of(values: &[f64]) -> Option<Quartiles> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Quartiles {
            first: quantile(&sorted, 0.25)?,
            median: quantile(&sorted, 0.5)?,
            third: quantile(&sorted, 0.75)?,
        })
    }
}

/// `sorted` ascending; `rank` from 0 to 1.
pub(crate) fn quantile(sorted: &[f64], rank: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = rank * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    let share = place - below as f64;
    Some(sorted[below] * (1.0 - share) + sorted[above] * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_seven_runs() {
        let found = Quartiles::of(&[7.0, 1.0, 6.0, 2.0, 5.0, 3.0, 4.0]);
        assert_eq!(found, Some(Quartiles { first: 2.5, median: 4.0, third: 5.5 }));
        assert_eq!(Quartiles::of(&[]), None);
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(&[10.0, 20.0], 0.75), Some(17.5));
        assert_eq!(quantile(&[10.0], 0.99), Some(10.0));
    }
}
