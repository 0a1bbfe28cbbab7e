//! Columns and values of the console on the wire, as text or as the binary that drivers ask for.

use poolwarden_pgwire::tag::server as tag;

/// A column's type, as the client is told it; values are given as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `text`.
    Text,
    /// `bytea`.
    Bytes,
    /// `int4`.
    Int,
    /// `int8`.
    Long,
    /// `numeric`, always whole and not negative.
    Numeric,
    /// `float8`.
    Float,
    /// `bool`; values are `t` and `f`.
    Bool,
}

impl ColumnKind {
    /// Type oid and size, as in PostgreSQL's `pg_type`.
    const fn wire(self) -> (u32, i16) {
        match self {
            Self::Text => (25, -1),
            Self::Bytes => (17, -1),
            Self::Int => (23, 4),
            Self::Long => (20, 8),
            Self::Numeric => (1700, -1),
            Self::Float => (701, 8),
            Self::Bool => (16, 1),
        }
    }

    /// The value in PostgreSQL's binary format. A text that is no value of the type (there is none) stays text.
    fn binary(self, text: &str) -> Vec<u8> {
        let as_text = || text.as_bytes().to_vec();
        match self {
            Self::Text | Self::Bytes => as_text(),
            Self::Int => text.parse::<i32>().map_or_else(|_| as_text(), |value| value.to_be_bytes().to_vec()),
            Self::Long => text.parse::<i64>().map_or_else(|_| as_text(), |value| value.to_be_bytes().to_vec()),
            Self::Float => text.parse::<f64>().map_or_else(|_| as_text(), |value| value.to_be_bytes().to_vec()),
            Self::Numeric => text.parse::<u128>().map_or_else(|_| as_text(), numeric),
            Self::Bool => vec![u8::from(text == "t")],
        }
    }
}

/// Groups of four decimal digits, the highest first, with their count, the first one's weight, sign and scale before them.
fn numeric(value: u128) -> Vec<u8> {
    let mut groups: Vec<u16> = Vec::new();
    let mut rest = value;
    while rest > 0 {
        groups.push(u16::try_from(rest % 10_000).unwrap_or_default()); // below 10,000
        rest /= 10_000;
    }
    let weight = i16::try_from(groups.len()).unwrap_or_default() - 1; // at most ten groups in 128 bits
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let groups = &groups[zeros..];
    let mut out = Vec::with_capacity(8 + 2 * groups.len());
    out.extend_from_slice(&u16::try_from(groups.len()).unwrap_or_default().to_be_bytes());
    out.extend_from_slice(&weight.max(0).to_be_bytes());
    out.extend_from_slice(&[0; 4]); // positive, no digits behind the point
    groups.iter().rev().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    out
}

/// Which results a Bind wants in binary: for all columns alike, or for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats(pub(super) Vec<bool>);

impl Formats {
    fn is_binary(&self, column: usize) -> bool {
        match self.0.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(column).copied().unwrap_or_default(),
        }
    }
}

/// RowDescription.
pub(super) fn description(out: &mut Vec<u8>, columns: &[(&str, ColumnKind)], formats: &Formats) {
    message(out, tag::ROW_DESCRIPTION, |out| {
        count(out, columns.len());
        for (number, (name, kind)) in columns.iter().enumerate() {
            let (oid, size) = kind.wire();
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&[0; 7]); // the name's end; no table, no attribute number
            out.extend_from_slice(&oid.to_be_bytes());
            out.extend_from_slice(&size.to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes()); // no type modifier
            out.extend_from_slice(&u16::from(formats.is_binary(number)).to_be_bytes());
        }
    });
}

/// DataRow.
pub(super) fn row(out: &mut Vec<u8>, kinds: &[ColumnKind], row: &[Option<String>], formats: &Formats) {
    message(out, tag::DATA_ROW, |out| {
        count(out, row.len());
        for (number, (value, kind)) in row.iter().zip(kinds).enumerate() {
            let Some(value) = value else {
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            };
            let binary = formats.is_binary(number).then(|| kind.binary(value));
            let bytes = binary.as_deref().unwrap_or(value.as_bytes());
            // The console's values are names and numbers, far below 2 GiB.
            out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
    });
}

/// A message without a body.
pub(super) fn bare(out: &mut Vec<u8>, tag: u8) {
    message(out, tag, |_| {});
}

/// ParameterDescription of a statement without parameters.
pub(super) fn no_parameters(out: &mut Vec<u8>) {
    message(out, tag::PARAMETER_DESCRIPTION, |out| count(out, 0));
}

fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX); // a row of the console is short
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

fn count(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_postgresql_writes_them_in_binary() {
        assert_eq!(ColumnKind::Int.binary("23"), [0, 0, 0, 23]);
        assert_eq!(ColumnKind::Long.binary("-2"), [255, 255, 255, 255, 255, 255, 255, 254]);
        assert_eq!(ColumnKind::Float.binary("0.5"), [0x3f, 0xe0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((ColumnKind::Bool.binary("t"), ColumnKind::Bool.binary("f")), (vec![1], vec![0]));
        assert_eq!(ColumnKind::Text.binary("é"), "é".as_bytes());
        let numbers: [(&str, &[u16]); 5] = [
            ("0", &[0, 0, 0, 0]),
            ("7", &[1, 0, 0, 0, 7]),
            ("10000", &[1, 1, 0, 0, 1]),
            ("123456789", &[3, 2, 0, 0, 1, 2345, 6789]),
            ("1200000000", &[1, 2, 0, 0, 12]),
        ];
        for (text, words) in numbers {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            // The zeros that end 1,200,000,000 are said by its weight.
            let bytes = if text == "1200000000" { vec![0, 1, 0, 2, 0, 0, 0, 0, 0, 12] } else { bytes };
            assert_eq!(ColumnKind::Numeric.binary(text), bytes, "{text}");
        }
    }
}
