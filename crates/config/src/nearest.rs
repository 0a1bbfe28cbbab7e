//! The nearest known word: optimal string alignment, so that a swapped pair of letters is one slip.

/// The candidate with the fewest slips from `word`, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words than any key are not slips, and distance is quadratic.
    if word.len() > 64 {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let reach = (word.len() / 3).max(1) + 1;
    let near = candidates.filter_map(|known| Some((distance(&word, known, reach)?, known)));
    near.min().map(|(_, known)| known)
}

/// The slips between two words; `None` where there are more than `reach`.
fn distance(a: &[char], b: &str, reach: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > reach {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i);
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        // Every further row is made of these two.
        if row.iter().chain(&last).all(|slips| *slips > reach) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    Some(last[b.len()]).filter(|slips| *slips <= reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_a_stranger_finds_none() {
        let known = ["max_wait", "max_queue", "size", "mode"];
        assert_eq!(nearest("max_wiat", known.into_iter()), Some("max_wait"));
        assert_eq!(nearest("sizes", known.into_iter()), Some("size"));
        assert_eq!(nearest("Mode", known.into_iter()), Some("mode"));
        assert_eq!(nearest("frobnicate", known.into_iter()), None);
    }
}
