//! Numbers over time as a line of blocks.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The newest numbers, oldest first, in `cells` characters: each the largest of its share of `span` numbers, so that no peak is
/// lost. `full` is the number that fills a cell, and larger ones raise it. What was not seen yet is a space.
pub(super) fn line(numbers: impl DoubleEndedIterator<Item = u32>, span: usize, cells: usize, full: u32) -> String {
    if cells == 0 {
        return String::new();
    }
    let newest: Vec<u32> = numbers.rev().take(span).collect();
    let peak = newest.iter().copied().max().unwrap_or(0).max(full).max(1);
    let per_cell = span.div_ceil(cells).max(1);
    let cell = |at: usize| {
        let from = at * per_cell;
        let share = newest.get(from..newest.len().min(from + per_cell)).unwrap_or_default();
        share.iter().max().map_or(' ', |largest| block(*largest, peak))
    };
    (0..cells).rev().map(cell).collect()
}

/// Nothing is the lowest block; the peak is a full one.
fn block(number: u32, peak: u32) -> char {
    let top = BLOCKS.len() - 1;
    let eighth = (u64::from(number) * top as u64).div_ceil(u64::from(peak));
    BLOCKS[usize::try_from(eighth).unwrap_or(top).min(top)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(numbers: &[u32], cells: usize, full: u32) -> String {
        line(numbers.iter().copied(), 8, cells, full)
    }

    #[test]
    fn the_newest_stands_right_and_no_peak_is_lost() {
        assert_eq!(said(&[0, 1, 2, 3, 4, 5, 6, 7], 8, 7), "▁▂▃▄▅▆▇█");
        assert_eq!(said(&[9, 0, 0, 0, 0, 0, 0, 0], 4, 0), "█▁▁▁");
        assert_eq!(said(&[3], 8, 6), "       ▅");
        assert_eq!(said(&[], 3, 6), "   ");
        assert_eq!(said(&[5], 0, 6), "");
        assert_eq!(said(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 8, 100), "▂▂▂▂▂▂▂▂");
        assert_eq!(said(&[u32::MAX, 0], 8, 0), "      █▁");
    }
}
