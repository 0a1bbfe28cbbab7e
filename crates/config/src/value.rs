//! The kinds of value a setting can have, and values that are read and within their bounds.

use core::net::{IpAddr, SocketAddr};
use std::fmt;
use std::time::Duration;

mod read;

pub(crate) use read::{read, read_default};

use crate::unit::{show_duration, show_size};

/// What a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within both bounds.
    Integer(i64, i64),
    /// `"auto"` or a whole number within both bounds.
    AutoInteger(i64, i64),
    /// `"unlimited"` or a whole number within both bounds.
    OpenInteger(i64, i64),
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
            Self::OpenInteger(min, max) => format!("\"unlimited\" or a whole number, {min} to {max}"),
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

    /// The same network by its first address.
    #[must_use]
    pub fn masked(self) -> Self {
        let prefix = u32::from(self.prefix);
        let address = match self.address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into()),
        };
        Self { address, ..self }
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
    /// `"unlimited"`.
    Unlimited,
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
            Self::Unlimited => f.write_str("unlimited"),
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

fn joined<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
