//! The kinds of value a setting can have, and the reading of one from the file.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use crate::unit::{parse_duration, parse_rate, parse_size, show_duration, show_size};

/// What a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within both bounds.
    Integer(i64, i64),
    /// `"auto"` or a whole number within both bounds.
    AutoInteger(i64, i64),
    /// A duration with its unit.
    Duration,
    /// A size with its unit.
    Size,
    /// A rate with its unit.
    Rate,
    /// A number from 0 up to the bound.
    Ratio(u32),
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts; one text stands for a list of one.
    List,
    /// `ip:port`, or `"off"`.
    Address,
    /// A list of `ip:port`.
    Addresses,
    /// A list of networks, `10.0.0.0/8`.
    Networks,
    /// The path of a file that holds a secret.
    SecretFile,
    /// The name of an environment variable that holds a secret.
    SecretEnv,
    /// A PostgreSQL parameter's value: text, number or truth value.
    Parameter,
}

impl Kind {
    /// For the reference page and SHOW CONFIG.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(min, max) => format!("whole number, {min} to {max}"),
            Self::AutoInteger(min, max) => format!("\"auto\" or a whole number, {min} to {max}"),
            Self::Duration => "duration (us, ms, s, m, h, d)".to_owned(),
            Self::Size => "size (B, KiB, MiB, GiB, TiB)".to_owned(),
            Self::Rate => "rate (/s, /m, /h)".to_owned(),
            Self::Ratio(max) => format!("number, 0 to {max}"),
            Self::Text => "text".to_owned(),
            Self::Choice(words) => words.join(" | "),
            Self::List => "list of texts".to_owned(),
            Self::Address => "\"ip:port\" or \"off\"".to_owned(),
            Self::Addresses => "list of \"ip:port\"".to_owned(),
            Self::Networks => "list of networks, \"10.0.0.0/8\"".to_owned(),
            Self::SecretFile => "path of a file that holds the secret".to_owned(),
            Self::SecretEnv => "name of an environment variable that holds the secret".to_owned(),
            Self::Parameter => "value of a PostgreSQL parameter".to_owned(),
        }
    }

    /// Whether the setting points at a secret.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::SecretFile | Self::SecretEnv)
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address inside.
    pub address: IpAddr,
    /// Leading bits that count: up to 32, or 128 for IPv6.
    pub prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`; an address alone is a network of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.trim().parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Some(most), |p| p.trim().parse().ok())?;
        (prefix <= most).then_some(Self { address, prefix })
    }

    /// Whether `address` is inside. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let (ours, theirs) = (bits(self.address), bits(address));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
        ours.1 == theirs.1 && (ours.0 & mask) == (theirs.0 & mask)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A setting's value, read and within its bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// See [`Kind::Bool`].
    Bool(bool),
    /// See [`Kind::Integer`].
    Integer(i64),
    /// `"auto"`.
    Auto,
    /// `"off"`.
    Off,
    /// See [`Kind::Duration`].
    Duration(Duration),
    /// Bytes.
    Size(u64),
    /// Events per second.
    Rate(f64),
    /// See [`Kind::Ratio`].
    Ratio(f64),
    /// Text, choices, paths, names of variables.
    Text(String),
    /// See [`Kind::List`].
    List(Vec<String>),
    /// See [`Kind::Address`].
    Address(SocketAddr),
    /// See [`Kind::Addresses`].
    Addresses(Vec<SocketAddr>),
    /// See [`Kind::Networks`].
    Networks(Vec<Network>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Integer(n) => write!(f, "{n}"),
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Duration(d) => f.write_str(&show_duration(*d)),
            Self::Size(bytes) => f.write_str(&show_size(*bytes)),
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::Ratio(ratio) => write!(f, "{ratio}"),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => f.write_str(&list.join(", ")),
            Self::Address(address) => write!(f, "{address}"),
            Self::Addresses(list) => f.write_str(&joined(list)),
            Self::Networks(list) => f.write_str(&joined(list)),
        }
    }
}

/// Why a value was refused, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Reads a value of the file as `kind`.
pub(crate) fn read(kind: Kind, value: &DeValue<'_>) -> Result<Value, Refused> {
    match kind {
        Kind::Bool => value.as_bool().map(Value::Bool).ok_or_else(|| wrong_type(kind, value)),
        Kind::Integer(min, max) => whole(value).map_or_else(|| Err(wrong_type(kind, value)), |n| bounded(n, min, max)),
        Kind::AutoInteger(min, max) => match (value.as_str(), whole(value)) {
            (Some("auto"), _) => Ok(Value::Auto),
            (_, Some(n)) => bounded(n, min, max),
            (_, None) => Err(wrong_type(kind, value)),
        },
        Kind::Duration | Kind::Size | Kind::Rate => with_unit(kind, value),
        Kind::Ratio(max) => ratio(value, max).ok_or_else(|| wrong_type(kind, value)),
        Kind::Parameter => parameter(value).map(Value::Text).ok_or_else(|| wrong_type(kind, value)),
        Kind::List | Kind::Addresses | Kind::Networks => {
            let items = texts(value).ok_or_else(|| wrong_type(kind, value))?;
            list(kind, items)
        }
        Kind::Text | Kind::Choice(_) | Kind::Address | Kind::SecretFile | Kind::SecretEnv => {
            let text = value.as_str().ok_or_else(|| wrong_type(kind, value))?;
            from_text(kind, text)
        }
    }
}

/// Reads a default of the catalogue: as the file would write it, without the quotes; lists are separated by commas.
pub(crate) fn read_default(kind: Kind, text: &str) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    match kind {
        Kind::Bool => text.parse().ok().map(Value::Bool),
        Kind::Integer(..) => text.parse().ok().map(Value::Integer),
        Kind::AutoInteger(..) if text == "auto" => Some(Value::Auto),
        Kind::AutoInteger(..) => text.parse().ok().map(Value::Integer),
        Kind::Duration => parse_duration(text).ok().map(Value::Duration),
        Kind::Size => parse_size(text).ok().map(Value::Size),
        Kind::Rate => parse_rate(text).ok().map(Value::Rate),
        Kind::Ratio(_) => text.parse().ok().map(Value::Ratio),
        Kind::List | Kind::Addresses | Kind::Networks => {
            list(kind, text.split(',').map(|item| item.trim().to_owned()).collect()).ok()
        }
        Kind::Text | Kind::Choice(_) | Kind::Address | Kind::SecretFile | Kind::SecretEnv | Kind::Parameter => {
            from_text(kind, text).ok()
        }
    }
}

fn from_text(kind: Kind, text: &str) -> Result<Value, Refused> {
    let refused = |why: String, fix: String| Err(Refused { code: "wrong-value", why, fix });
    if text.contains('\0') {
        return refused("a NUL character in a text".to_owned(), "remove it".to_owned());
    }
    match kind {
        Kind::Choice(words) if !words.contains(&text) => {
            let near = crate::nearest::nearest(text, words.iter().copied());
            let fix =
                near.map_or_else(|| format!("write one of {}", quoted(words)), |near| format!("write \"{near}\""));
            refused(format!("`{text}` is not one of {}", quoted(words)), fix)
        }
        Kind::Address if text == "off" => Ok(Value::Off),
        Kind::Address => text.parse().map_or_else(|_| Err(no_address(text)), |address| Ok(Value::Address(address))),
        Kind::SecretFile | Kind::SecretEnv if text.is_empty() => {
            refused("an empty name".to_owned(), "name the file or the variable".to_owned())
        }
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn list(kind: Kind, items: Vec<String>) -> Result<Value, Refused> {
    let items: Vec<String> = items.into_iter().filter(|item| !item.is_empty()).collect();
    if kind == Kind::Addresses {
        let read: Result<Vec<SocketAddr>, Refused> =
            items.iter().map(|item| item.parse().map_err(|_| no_address(item))).collect();
        return read.map(Value::Addresses);
    }
    if kind == Kind::Networks {
        let no_network = |item: &String| Refused {
            code: "wrong-value",
            why: format!("`{item}` is not a network"),
            fix: "write it as \"10.0.0.0/8\"".to_owned(),
        };
        let read: Result<Vec<Network>, Refused> =
            items.iter().map(|item| Network::parse(item).ok_or_else(|| no_network(item))).collect();
        return read.map(Value::Networks);
    }
    Ok(Value::List(items))
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

fn with_unit(kind: Kind, value: &DeValue<'_>) -> Result<Value, Refused> {
    let (units, example) = match kind {
        Kind::Size => ("MiB", "64MiB"),
        Kind::Rate => ("/s", "400/s"),
        _ => ("s", "250ms"),
    };
    let missing = |number: &str| Refused {
        code: "missing-unit",
        why: format!("a bare number where a unit is needed: `{number}`"),
        fix: format!("write \"{number}{units}\", or with another unit (as in \"{example}\")"),
    };
    if let Some(number) = value.as_integer() {
        return Err(missing(&number.to_string()));
    }
    if let Some(number) = value.as_float() {
        return Err(missing(&number.to_string()));
    }
    let text = value.as_str().ok_or_else(|| wrong_type(kind, value))?;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(missing(text));
    }
    let read = match kind {
        Kind::Size => parse_size(text).map(Value::Size),
        Kind::Rate => parse_rate(text).map(Value::Rate),
        _ => parse_duration(text).map(Value::Duration),
    };
    read.map_err(|why| Refused { code: "wrong-value", why, fix: format!("write it as in \"{example}\"") })
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
    let found = value.type_str();
    let what = kind.describe();
    Refused { code: "wrong-type", why: format!("found {found}, expected {what}"), fix: format!("write {what}") }
}

fn joined<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}
