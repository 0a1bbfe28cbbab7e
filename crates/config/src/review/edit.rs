//! Edits of files: which of the findings' safe edits go together, the new text, and the difference as people read it.
//!
//! Everything outside the edited bytes stays as it is: comments, order, line ends.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::finding::{Edit, Finding};
use super::spot::Lines;

/// Safe edits that can be made together, by the number of their text, each in the order of the text.
#[must_use]
pub fn safe<'a>(findings: impl Iterator<Item = &'a Finding>) -> BTreeMap<usize, Vec<Edit>> {
    let mut chosen: Vec<Edit> = Vec::new();
    for finding in findings.filter(|finding| finding.fix.safe) {
        let edits = &finding.fix.edits;
        // All edits of a finding or none: half of one may be worse than nothing.
        if edits.iter().any(|edit| chosen.iter().any(|other| other != edit && collide(edit, other))) {
            continue;
        }
        for edit in edits {
            if !chosen.contains(edit) {
                chosen.push(edit.clone());
            }
        }
    }
    let mut by_text: BTreeMap<usize, Vec<Edit>> = BTreeMap::new();
    for edit in chosen {
        by_text.entry(edit.file).or_default().push(edit);
    }
    by_text.values_mut().for_each(|edits| edits.sort_by_key(|edit| (edit.span.start, edit.span.end)));
    by_text
}

fn collide(a: &Edit, b: &Edit) -> bool {
    a.file == b.file && (a.span.start < b.span.end && b.span.start < a.span.end || a.span.start == b.span.start)
}

/// The text after the edits; `None` where an edit is not on its characters.
#[must_use]
pub fn apply(text: &str, edits: &[Edit]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(text.get(at..edit.span.start)?);
        text.get(edit.span.clone())?;
        out.push_str(&edit.new);
        at = edit.span.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

/// Lines around a change.
const CONTEXT: usize = 3;

/// What the edits change, as `diff -u` says it; `None` as with [`apply`].
#[must_use]
pub fn diff(name: &str, text: &str, edits: &[Edit]) -> Option<String> {
    let lines = Lines::of(text);
    let count = text.lines().count();
    // Whole lines that change: their first, the line behind their last, and what they become.
    let mut changes: Vec<(usize, usize, Vec<Edit>)> = Vec::new();
    for edit in edits {
        let (first, last) = (lines.line(edit.span.start), lines.line(edit.span.end.max(edit.span.start)) + 1);
        match changes.last_mut() {
            Some((_, end, of)) if first < *end => {
                *end = last.max(*end);
                of.push(edit.clone());
            }
            Some(_) | None => changes.push((first, last, vec![edit.clone()])),
        }
    }
    let mut out = format!("--- {name}\n+++ {name}\n");
    let mut shift = 0_isize;
    let mut rest = changes.as_slice();
    while let Some((first, _, _)) = rest.first() {
        let near = rest.windows(2).take_while(|two| two[1].0 < two[0].1 + 2 * CONTEXT).count() + 1;
        let (hunk, behind) = rest.split_at(near);
        rest = behind;
        let start = first.saturating_sub(CONTEXT);
        let end = hunk.last().map_or(start, |(_, end, _)| *end + CONTEXT).min(count.max(start + 1));
        let (mut body, mut gone, mut come, mut at) = (String::new(), 0, 0, start);
        for (first, last, edits) in hunk {
            gone += put(&mut body, ' ', &text[lines.bytes(at..*first)], *first > at);
            come += first - at;
            let old = lines.bytes(*first..*last);
            let moved = |edit: &Edit| {
                let span = edit.span.start.checked_sub(old.start)?..edit.span.end.checked_sub(old.start)?;
                Some(Edit { span, ..edit.clone() })
            };
            let new = apply(&text[old.clone()], &edits.iter().map(moved).collect::<Option<Vec<_>>>()?)?;
            gone += put(&mut body, '-', &text[old], true);
            come += put(&mut body, '+', &new, !new.is_empty());
            at = *last;
        }
        let tail = put(&mut body, ' ', &text[lines.bytes(at..end)], end > at);
        (gone, come) = (gone + tail, come + tail);
        let to = (start + 1).saturating_add_signed(shift);
        shift += come as isize - gone as isize;
        // Writing to a String does not fail.
        let _ = writeln!(out, "@@ -{},{gone} +{to},{come} @@", start + 1);
        out.push_str(&body);
    }
    Some(out)
}

/// Puts lines with their mark; how many they are.
fn put(out: &mut String, mark: char, text: &str, any: bool) -> usize {
    if !any {
        return 0;
    }
    let lines = text.split('\n');
    lines.map(|line| out.push_str(&format!("{mark}{line}\n"))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;
    use crate::review::Fix;

    fn edit(text: &str, old: &str, new: &str) -> Edit {
        let start = text.find(old).unwrap();
        Edit { file: 0, span: start..start + old.len(), new: new.into() }
    }

    fn finding(safe: bool, edits: Vec<Edit>) -> Finding {
        let fix = Fix { text: String::new(), edits, safe };
        Finding {
            code: "X-01",
            severity: Severity::Error,
            message: String::new(),
            labels: Vec::new(),
            why: String::new(),
            fix,
        }
    }

    const TEXT: &str = "# one\nsize = 20 # ours\nb\nc\nd\ne\nf\ng\nh\nwait = \"0s\"\n";

    #[test]
    fn what_is_not_edited_stays_byte_for_byte() {
        let edits = [edit(TEXT, "20", "40"), edit(TEXT, "\"0s\"", "\"2s\"")];
        assert_eq!(apply(TEXT, &edits).unwrap(), "# one\nsize = 40 # ours\nb\nc\nd\ne\nf\ng\nh\nwait = \"2s\"\n");
        assert_eq!(apply("\u{e9}", &[Edit { file: 0, span: 1..2, new: String::new() }]), None);
    }

    #[test]
    fn a_difference_is_one_that_patch_takes() {
        let two = [edit(TEXT, "20", "40\nmin = 2"), edit(TEXT, "\"0s\"", "\"2s\"")];
        let expected = "--- f\n+++ f\n@@ -1,5 +1,6 @@\n # one\n-size = 20 # ours\n+size = 40\n+min = 2 # ours\n b\n c\n d\n\
                        @@ -7,4 +8,4 @@\n f\n g\n h\n-wait = \"0s\"\n+wait = \"2s\"\n";
        assert_eq!(diff("f", TEXT, &two).unwrap(), expected);
        let near = [edit(TEXT, "20", "40"), edit(TEXT, "e\nf", "E")];
        let expected = "--- f\n+++ f\n@@ -1,10 +1,9 @@\n # one\n-size = 20 # ours\n+size = 40 # ours\n b\n c\n d\n-e\n-f\n+E\n g\n h\n wait = \"0s\"\n";
        assert_eq!(diff("f", TEXT, &near).unwrap(), expected);
    }

    #[test]
    fn only_safe_edits_are_chosen_and_of_a_finding_all_or_none() {
        let (size, wait, other) = (edit(TEXT, "20", "40"), edit(TEXT, "\"0s\"", "\"2s\""), edit(TEXT, "20", "50"));
        let findings = [
            finding(false, vec![wait.clone()]),
            finding(true, vec![size.clone()]),
            finding(true, vec![other, wait.clone()]),
            finding(true, vec![size.clone()]),
        ];
        assert_eq!(safe(findings.iter()), BTreeMap::from([(0, vec![size])]));
        let both = [finding(true, vec![wait.clone(), edit(TEXT, "20", "30")])];
        assert_eq!(safe(both.iter())[&0].iter().map(|edit| edit.new.as_str()).collect::<Vec<_>>(), ["30", "\"2s\""]);
    }
}
