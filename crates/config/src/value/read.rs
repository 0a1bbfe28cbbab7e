//! The reading of one value from the file, and what is said when it is not what the setting accepts.

use core::net::IpAddr;

use toml::de::DeValue;

use super::{Kind, Network, Value};
use crate::unit::{meant, parse_duration, parse_rate, parse_size, show_size};

/// Why a value was refused, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Reads a value of the file as `kind`.
pub(crate) fn read(kind: Kind, value: &DeValue<'_>) -> Result<Value, Refused> {
    let wrong = || wrong_type(kind, value);
    let text = || value.as_str().ok_or_else(wrong);
    match kind {
        Kind::Bool => value.as_bool().map(Value::Bool).ok_or_else(wrong),
        Kind::Integer(min, max) => bounded(whole(value).ok_or_else(wrong)?, min, max),
        Kind::AutoInteger(..) if value.as_str() == Some("auto") => Ok(Value::Auto),
        Kind::OpenInteger(..) if value.as_str() == Some("unlimited") => Ok(Value::Unlimited),
        Kind::AutoInteger(min, max) | Kind::OpenInteger(min, max) => bounded(whole(value).ok_or_else(wrong)?, min, max),
        Kind::Duration => with_unit(kind, value, &DURATION),
        Kind::Size => with_unit(kind, value, &SIZE),
        Kind::Rate => with_unit(kind, value, &RATE),
        Kind::Ratio(max) => ratio(value, max).ok_or_else(wrong),
        Kind::Parameter => parameter(value).map(Value::Text).ok_or_else(wrong),
        Kind::List => texts(value).map(Value::List).ok_or_else(wrong),
        Kind::Addresses => addresses(&texts(value).ok_or_else(wrong)?),
        Kind::Networks => networks(&texts(value).ok_or_else(wrong)?),
        Kind::Text => plain(text()?),
        Kind::Choice(words) => choice(text()?, words),
        Kind::Address => address(text()?),
        Kind::SecretFile | Kind::SecretEnv => name(text()?),
    }
}

/// Reads a default of the catalogue: as the file would write it, without the quotes; lists are separated by commas.
pub(crate) fn read_default(kind: Kind, text: &str) -> Option<Value> {
    let items = || -> Vec<String> { text.split(',').map(|item| item.trim().to_owned()).collect() };
    match kind {
        _ if text.is_empty() => None,
        Kind::AutoInteger(..) if text == "auto" => Some(Value::Auto),
        Kind::OpenInteger(..) if text == "unlimited" => Some(Value::Unlimited),
        Kind::Integer(..) | Kind::AutoInteger(..) | Kind::OpenInteger(..) => text.parse().ok().map(Value::Integer),
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Duration => (DURATION.read)(text).ok(),
        Kind::Size => (SIZE.read)(text).ok(),
        Kind::Rate => (RATE.read)(text).ok(),
        Kind::Ratio(_) => text.parse().ok().map(Value::Ratio),
        Kind::List => Some(Value::List(items())),
        Kind::Addresses => addresses(&items()).ok(),
        Kind::Networks => networks(&items()).ok(),
        Kind::Address => address(text).ok(),
        Kind::Choice(words) => choice(text, words).ok(),
        Kind::Text | Kind::SecretFile | Kind::SecretEnv | Kind::Parameter => plain(text).ok(),
    }
}

fn refused(why: String, fix: &str) -> Refused {
    Refused { code: "wrong-value", why, fix: fix.to_owned() }
}

fn plain(text: &str) -> Result<Value, Refused> {
    if text.contains('\0') {
        return Err(refused("a NUL character in a text".to_owned(), "remove it"));
    }
    Ok(Value::Text(text.to_owned()))
}

fn name(text: &str) -> Result<Value, Refused> {
    if text.is_empty() {
        return Err(refused("an empty name".to_owned(), "name the file or the variable"));
    }
    plain(text)
}

fn choice(text: &str, words: &[&str]) -> Result<Value, Refused> {
    if words.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let near = crate::nearest::nearest(text, words.iter().copied());
    let fix = near.map_or_else(|| format!("write one of {}", quoted(words)), |near| format!("write \"{near}\""));
    Err(refused(format!("`{text}` is not one of {}", quoted(words)), &fix))
}

fn address(text: &str) -> Result<Value, Refused> {
    if text == "off" {
        return Ok(Value::Off);
    }
    text.parse().map(Value::Address).map_err(|_| no_address(text))
}

fn addresses(items: &[String]) -> Result<Value, Refused> {
    let read: Result<_, _> = items.iter().map(|item| item.parse().map_err(|_| no_address(item))).collect();
    read.map(Value::Addresses)
}

fn networks(items: &[String]) -> Result<Value, Refused> {
    let no_network = |item: &str| refused(format!("`{item}` is not a network"), "write it as \"10.0.0.0/8\"");
    let read: Result<_, _> = items.iter().map(|item| Network::parse(item).ok_or_else(|| no_network(item))).collect();
    read.map(Value::Networks)
}

fn no_address(text: &str) -> Refused {
    let fix = match (text.parse::<u16>(), text.parse::<IpAddr>(), text.rsplit_once(':')) {
        (Ok(port), _, _) => format!("write \"127.0.0.1:{port}\""),
        (_, Ok(IpAddr::V4(ip)), _) => format!("write \"{ip}:PORT\""),
        (_, Ok(IpAddr::V6(ip)), _) => format!("write \"[{ip}]:PORT\""),
        (_, _, Some(("localhost", port))) => format!("write \"127.0.0.1:{port}\""),
        (_, _, Some(("*" | "", port))) => format!("write \"0.0.0.0:{port}\" or \"[::]:{port}\""),
        (Err(_), Err(_), _) => "write it as \"ip:port\", \"127.0.0.1:6432\"".to_owned(),
    };
    Refused { code: "wrong-value", why: format!("`{text}` is not an ip address and a port"), fix }
}

/// How values with a unit are read, and what to suggest: the unit a bare number most likely meant, and another value.
struct Unit {
    read: fn(&str) -> Result<Value, String>,
    likely: &'static str,
    example: &'static str,
}

const DURATION: Unit = Unit { read: |text| parse_duration(text).map(Value::Duration), likely: "s", example: "250ms" };
const SIZE: Unit = Unit { read: |text| parse_size(text).map(Value::Size), likely: "B", example: "64MiB" };
const RATE: Unit = Unit { read: |text| parse_rate(text).map(Value::Rate), likely: "/s", example: "24000/m" };

fn with_unit(kind: Kind, value: &DeValue<'_>, unit: &Unit) -> Result<Value, Refused> {
    let bare = match (value.as_integer(), value.as_float(), value.as_str()) {
        (Some(number), ..) => Some(number.to_string()),
        (None, Some(number), _) => Some(number.to_string()),
        (None, None, Some(text)) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.to_owned())
        }
        (None, None, _) => None,
    };
    if let Some(number) = bare {
        let bytes = number.parse().ok().filter(|_| kind == Kind::Size).map(show_size);
        let likely = bytes.unwrap_or_else(|| format!("{number}{}", unit.likely));
        let fix = if number.starts_with('-') {
            format!("write none below zero, as in \"{}\"", unit.example)
        } else {
            format!("write \"{likely}\", or with another unit (as in \"{}\")", unit.example)
        };
        return Err(Refused {
            code: "missing-unit",
            why: format!("a bare number where a unit is needed: `{number}`"),
            fix,
        });
    }
    let text = value.as_str().ok_or_else(|| wrong_type(kind, value))?;
    (unit.read)(text).map_err(|why| {
        let meant = meant(text).filter(|meant| (unit.read)(meant).is_ok());
        let fix =
            meant.map_or_else(|| format!("write it as in \"{}\"", unit.example), |meant| format!("write \"{meant}\""));
        refused(why, &fix)
    })
}

fn bounded(number: i64, min: i64, max: i64) -> Result<Value, Refused> {
    if (min..=max).contains(&number) {
        return Ok(Value::Integer(number));
    }
    let bound = if number < min { min } else { max };
    Err(Refused {
        code: "out-of-range",
        why: format!("`{number}` is outside {min} to {max}"),
        fix: format!("write a number from {min} to {max}; the nearest is {bound}"),
    })
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn ratio(value: &DeValue<'_>, max: u32) -> Option<Value> {
    let number: f64 = match (value.as_float(), value.as_integer()) {
        (Some(float), _) => float.as_str().parse().ok()?,
        (None, Some(integer)) => integer.as_str().parse().ok()?,
        (None, None) => return None,
    };
    (0.0..=f64::from(max)).contains(&number).then_some(Value::Ratio(number))
}

fn parameter(value: &DeValue<'_>) -> Option<String> {
    if let Some(text) = value.as_str() {
        return (!text.contains('\0')).then(|| text.to_owned());
    }
    if let Some(truth) = value.as_bool() {
        return Some(if truth { "on" } else { "off" }.to_owned());
    }
    value.as_integer().map(ToString::to_string).or_else(|| value.as_float().map(ToString::to_string))
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    if let Some(text) = value.as_str() {
        return Some(vec![text.to_owned()]);
    }
    let items = value.as_array()?;
    items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

fn wrong_type(kind: Kind, value: &DeValue<'_>) -> Refused {
    let what = kind.describe();
    let whole = matches!(kind, Kind::Integer(..) | Kind::AutoInteger(..) | Kind::OpenInteger(..));
    if value.is_integer() && whole {
        let why = "a number that is far too large".to_owned();
        return Refused { code: "out-of-range", why, fix: format!("write {what}") };
    }
    let text = value.as_str().unwrap_or_default();
    let is_number = whole && text.parse::<i64>().is_ok();
    let yes = kind == Kind::Bool && ["yes", "on", "true", "1"].contains(&text);
    let no = kind == Kind::Bool && ["no", "off", "false", "0"].contains(&text);
    let is_text = matches!(kind, Kind::Text | Kind::Choice(_) | Kind::SecretFile | Kind::SecretEnv);
    let fix = match (is_number, yes, no, is_text) {
        (true, ..) => format!("write {text}, without quotes"),
        (_, true, ..) => "write true, without quotes".to_owned(),
        (_, _, true, _) => "write false, without quotes".to_owned(),
        (.., true) => format!("write {what}, in quotes"),
        (.., false) => format!("write {what}"),
    };
    Refused { code: "wrong-type", why: format!("found {}, expected {what}", value.type_str()), fix }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}
