//! Values as the files of other libraries write them: text first, numbers and times where a library reads them so.

use std::ops::Range;
use std::time::Duration;

use super::draft::Draft;
use crate::review::chain::{Limit, Maybe};
use crate::review::place::{Known, Place};

/// Words that mark the key of a secret, letters and digits alone.
const SECRET: [&str; 5] = ["password", "passwd", "secret", "token", "credential"];

/// One setting: its name as that library writes it, its value, and where the value stands.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) span: Range<usize>,
}

impl Setting {
    /// As a value of the dossier.
    pub(super) fn known(&self, file: usize) -> Known<String> {
        Known::written(self.value.clone(), file, self.span.clone())
    }
}

/// A value as others may see it: as the masked text has it, if that hides something there.
pub(super) fn shown(out: &Draft, file: usize, setting: &Setting, text: &str) -> Known<String> {
    let masked = out.dossier.texts.get(file).and_then(|kept| kept.text.get(setting.span.clone()));
    let hidden = masked.filter(|masked| text.get(setting.span.clone()) != Some(masked));
    setting.known(file).map(|value| hidden.map_or(value, str::to_owned))
}

/// Whether a key is of a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let plain = plain(key.rsplit('.').next().unwrap_or(key));
    SECRET.iter().any(|word| plain.contains(word)) || plain == "pwd"
}

/// Letters and digits alone, small: `maximum-pool-size`, `maximumPoolSize` and `MAXIMUM_POOL_SIZE` are one name.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A number as programs write it: blanks and quotes around, underscores within.
fn digits(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).trim().replace('_', "")
}

/// A whole number.
pub(super) fn whole(known: &Known<String>) -> Maybe<u64> {
    Some(Known { value: digits(&known.value).parse().ok()?, place: known.place.clone() })
}

/// A whole number that may be negative.
pub(super) fn signed(known: &Known<String>) -> Maybe<i64> {
    Some(Known { value: digits(&known.value).parse().ok()?, place: known.place.clone() })
}

/// Seconds, with a fraction or without; what is negative never ends. What zero means is the library's: see [`or_never`].
pub(super) fn seconds(known: &Known<String>) -> Maybe<Limit> {
    scaled(known, 1.0)
}

/// Milliseconds, as [`seconds`].
pub(super) fn millis(known: &Known<String>) -> Maybe<Limit> {
    scaled(known, 0.001)
}

fn scaled(known: &Known<String>, unit: f64) -> Maybe<Limit> {
    let number: f64 = digits(&known.value).parse().ok()?;
    let value = if number < 0.0 { Limit::Never } else { Limit::After(rounded(number, unit)?) };
    Some(Known { value, place: known.place.clone() })
}

/// To the microsecond, so that 0.1 s is not 100.000001 ms.
fn rounded(number: f64, unit: f64) -> Option<Duration> {
    let micros = (Duration::try_from_secs_f64(number * unit).ok()?.as_nanos() + 500) / 1000;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

/// Zero is no limit.
pub(super) fn or_never(known: Maybe<Limit>) -> Maybe<Limit> {
    known.map(|known| known.map(|limit| if limit == Limit::After(Duration::ZERO) { Limit::Never } else { limit }))
}

/// A time of Go, Prometheus or Spring: `1h30m`, `1.5s`, `500ms`, `2d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 11] = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ns", 1e-9),
        ("min", 60.0),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
        ("w", 604_800.0),
        ("y", 31_536_000.0),
    ];
    let mut rest = digits(text);
    rest = rest.strip_prefix('+').map_or(rest.clone(), str::to_owned);
    let (mut rest, mut sum) = (rest.as_str(), Duration::ZERO);
    if rest == "0" {
        return Some(sum);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let behind = &rest[end..];
        let (word, unit) = UNITS.iter().find(|(word, _)| behind.starts_with(word))?;
        sum = sum.checked_add(rounded(number, *unit)?)?;
        rest = &behind[word.len()..];
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// A time of Go, as a limit: zero is none.
pub(super) fn go_time(known: &Known<String>) -> Maybe<Limit> {
    or_never(Some(Known { value: Limit::After(duration(&known.value)?), place: known.place.clone() }))
}

/// The default that a template names, where the value is nothing else: `${NAME:10}` of Spring, `${NAME:-10}` of shells.
pub(super) fn unfolded(setting: &Setting) -> Setting {
    let inner = setting.value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let split = inner.and_then(|inner| inner.split_once(':')).filter(|(_, default)| !default.contains("${"));
    let Some((name, default)) = split else { return setting.clone() };
    let (sign, default) = default.strip_prefix('-').map_or((1, default), |rest| (2, rest));
    // a quote before it stands in the text and not in the value
    let quote = setting.span.len().saturating_sub(setting.value.len()) / 2;
    let start = setting.span.start + quote + 2 + name.len() + sign;
    let fits = setting.span.len() == setting.value.len() + 2 * quote;
    let span = if fits { start..start + default.len() } else { setting.span.clone() };
    Setting { key: setting.key.clone(), value: default.to_owned(), span }
}

/// The start-up parameters within `options`: `-c name=value`, `-cname=value`, `--name=value`; where each value stands in it.
pub(super) fn options(text: &str) -> Vec<(String, String, Range<usize>)> {
    let mut out = Vec::new();
    let (mut words, mut at) = (Vec::new(), 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let start = at;
        while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace()) {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        at = at.min(bytes.len());
        if start < at {
            words.push(start..at);
        }
    }
    let mut is_named = false;
    for word in words {
        let Some(text) = text.get(word.clone()) else { continue };
        if text == "-c" {
            is_named = true;
            continue;
        }
        let pair = if is_named { Some(text) } else { text.strip_prefix("--").or_else(|| text.strip_prefix("-c")) };
        is_named = false;
        if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
            let name = name.replace('-', "_");
            out.push((name, value.replace('\\', ""), word.end - value.len()..word.end));
        }
    }
    out
}

/// A limit nobody wrote.
pub(super) fn default_limit(after: Duration, whose: &'static str) -> Maybe<Limit> {
    Some(Known::default_of(Limit::After(after), whose))
}

/// Where a value stands in a file, else nothing.
pub(super) fn span_of<T>(known: &Known<T>) -> Option<Range<usize>> {
    if let Place::Text { span, .. } = &known.place { Some(span.clone()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Known<String> {
        Known::written(text.to_owned(), 0, 0..text.len())
    }

    #[test]
    fn times_are_read_as_each_library_writes_them() {
        let after = |micros: u64| Some(Limit::After(Duration::from_micros(micros)));
        let value = |known: Maybe<Limit>| known.map(|known| known.value);
        assert_eq!(
            [value(millis(&known("30_000"))), value(seconds(&known("0.1")))],
            [after(30_000_000), after(100_000)]
        );
        assert_eq!([value(seconds(&known("-1"))), value(or_never(seconds(&known("0"))))], [Some(Limit::Never); 2]);
        assert_eq!(value(seconds(&known("NaN"))).or(value(seconds(&known("1e300")))), None);
        for (text, seconds) in
            [("1h30m", Some(5400)), ("2d", Some(172_800)), ("0", Some(0)), ("5min", Some(300)), ("5", None), ("", None)]
        {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(duration("99999999999999999999y"), None);
    }

    #[test]
    fn the_default_of_a_template_is_the_value_and_its_place() {
        for (text, value, at) in
            [("${SIZE:10}", "10", 7..9), ("${SIZE:-10}", "10", 8..10), ("${SIZE}", "${SIZE}", 0..7), ("5", "5", 0..1)]
        {
            let set = unfolded(&Setting { key: "k".to_owned(), value: text.to_owned(), span: 0..text.len() });
            assert_eq!((set.value.as_str(), set.span), (value, at));
        }
        let set = unfolded(&Setting { key: "k".to_owned(), value: "${A:7}".to_owned(), span: 3..11 });
        assert_eq!(set.span, 8..9);
    }

    #[test]
    fn options_are_parameters_with_their_places() {
        let text = "-c statement_timeout=5s  -cwork_mem=4MB --lock-timeout=1\\ s -c nonsense -b";
        let found: Vec<_> =
            options(text).into_iter().map(|(name, value, at)| (name, value, text[at].to_owned())).collect();
        let expected =
            [("statement_timeout", "5s", "5s"), ("work_mem", "4MB", "4MB"), ("lock_timeout", "1 s", "1\\ s")];
        assert_eq!(found, expected.map(|(name, value, raw)| (name.to_owned(), value.to_owned(), raw.to_owned())));
    }
}
