//! The configuration file and its faults: text in, a [`Config`] that is valid by construction and findings out.
//!
//! Pure: it reads no file and no environment; secrets come through a resolver the caller hands in.
//! The file is walked once against [`CATALOGUE`], the one list of settings: it drives unknown-key suggestions, defaults,
//! `SHOW CONFIG`, [`diff`] and the reference page. Every fault is collected, none hides another.
#![warn(missing_docs)]

mod build;
mod catalogue;
mod diff;
mod finding;
pub mod hba;
pub mod ident;
mod line;
mod model;
mod nearest;
mod parse;
pub mod pgbouncer;
pub mod review;
mod secret;
mod show;
mod unit;
mod url;
pub mod userlist;
mod value;
mod walk;

pub use catalogue::{CATALOGUE, Setting};
pub use diff::{Change, diff};
pub use finding::{Finding, Severity, has_errors, render};
pub use line::LineFinding;
pub use model::{
    Auth, AuthMethod, AuthQuery, ChannelBinding, Class, Config, Console, Guard, History, Host, Keepalive, Limits,
    Listen, ListenTls, Log, LogFormat, LogLevel, Patience, Peer, Pool, Probe, Process, Recording, Review, Route,
    Server, ServerTls, TlsIdentity, TlsMode, TlsVersion, User, WatchLogin,
};
pub use nearest::nearest;
pub use parse::MAX_FINDINGS;
pub use secret::{Secret, SecretRef};
pub use show::Shown;
pub use unit::{parse_duration, parse_rate, parse_size, show_duration, show_size};
pub use url::UrlError;
pub use value::{Kind, Network, Value};
pub use walk::quote;
