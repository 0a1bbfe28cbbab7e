//! One line of an HBA file.

use core::net::IpAddr;

use super::{DatabaseName, Door, HbaMethod, HbaRule, Source, UserName};
use crate::line::{Token, fields};
use crate::value::Network;

type Resolve<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// Names of one field after files are read in: far above any real list.
const MOST_NAMES: usize = 10_000;

pub(super) fn rule(line: usize, fields: &[Vec<Token>], resolve: &mut Resolve<'_>) -> Result<HbaRule, String> {
    let mut rest = fields.iter();
    let mut next = |what: &str| rest.next().ok_or_else(|| format!("the line ends before its {what}"));
    let door = door(single(next("type")?)?)?;
    let databases = names(next("database")?, resolve)?.iter().map(database).collect::<Result<_, _>>()?;
    let users = names(next("user")?, resolve)?.iter().map(user).collect::<Result<_, _>>()?;
    let source = match door {
        Door::Local => Source::All,
        Door::Host | Door::HostSsl | Door::HostNoSsl => {
            let address = single(next("address")?)?;
            match address.text.parse::<IpAddr>() {
                Ok(address) => masked(address, &single(next("mask")?)?.text)?,
                Err(_) => source(address)?,
            }
        }
    };
    let method = method(&single(next("method")?)?.text, door)?;
    let mut map = None;
    for option in rest {
        let option = single(option)?;
        match option.text.split_once('=') {
            Some(("map", name)) if matches!(method, HbaMethod::Cert | HbaMethod::Peer) => map = Some(name.to_owned()),
            Some(("map", _)) => return Err("map= is for cert and peer alone: remove it".to_owned()),
            Some((name, _)) => return Err(format!("the option {name} is not known: only map= is")),
            None => return Err(format!("`{}` is no option: they are written name=value", option.text)),
        }
    }
    Ok(HbaRule { line, door, databases, users, source, method, map })
}

fn single(field: &[Token]) -> Result<&Token, String> {
    match field {
        [token] => Ok(token),
        [] | [_, ..] => Err("several values where one is taken: remove the comma".to_owned()),
    }
}

fn door(token: &Token) -> Result<Door, String> {
    match token.text.as_str() {
        "local" => Ok(Door::Local),
        "host" => Ok(Door::Host),
        "hostssl" => Ok(Door::HostSsl),
        "hostnossl" => Ok(Door::HostNoSsl),
        "hostgssenc" | "hostnogssenc" => Err(format!("{}: GSSAPI encryption is not spoken", token.text)),
        "include" | "include_if_exists" | "include_dir" => {
            Err(format!("{}: rules are read from one file: copy them here", token.text))
        }
        other => Err(format!("`{other}` is no type: write local, host, hostssl or hostnossl")),
    }
}

/// The names of a field, those of `@file` in their place.
fn names(field: &[Token], resolve: &mut Resolve<'_>) -> Result<Vec<Token>, String> {
    let mut names = Vec::new();
    for token in field {
        match token.text.strip_prefix('@').filter(|file| !token.quoted && !file.is_empty()) {
            None => names.push(token.clone()),
            Some(file) => {
                let text = resolve(file)?;
                let (lines, faults) = fields(&text);
                if let Some(fault) = faults.first() {
                    return Err(format!("@{file}, line {}: {}", fault.line, fault.message));
                }
                let listed = lines.into_iter().flat_map(|(_, fields)| fields).flatten();
                for token in listed {
                    if token.text.starts_with('@') && !token.quoted {
                        return Err(format!("@{file}: names another file, {}: list the names themselves", token.text));
                    }
                    names.push(token);
                }
            }
        }
        if names.len() > MOST_NAMES {
            return Err(format!("more than {MOST_NAMES} names"));
        }
    }
    Ok(names)
}

fn database(token: &Token) -> Result<DatabaseName, String> {
    if token.quoted {
        return Ok(DatabaseName::Name(token.text.clone()));
    }
    match token.text.as_str() {
        "all" => Ok(DatabaseName::All),
        "sameuser" => Ok(DatabaseName::SameUser),
        "replication" => Ok(DatabaseName::Replication),
        "samerole" | "samegroup" => {
            Err(format!("{}: roles' members are not known here: list the databases", token.text))
        }
        name if name.starts_with('/') => Err(format!("{name}: patterns are not taken here: list the databases")),
        name => Ok(DatabaseName::Name(name.to_owned())),
    }
}

fn user(token: &Token) -> Result<UserName, String> {
    if token.quoted {
        return Ok(UserName::Name(token.text.clone()));
    }
    match token.text.as_str() {
        "all" => Ok(UserName::All),
        name if name.starts_with('+') => Err(format!("{name}: roles' members are not known here: list the users")),
        name if name.starts_with('/') => Err(format!("{name}: patterns are not taken here: list the users")),
        name => Ok(UserName::Name(name.to_owned())),
    }
}

fn source(token: &Token) -> Result<Source, String> {
    if token.is("all") {
        return Ok(Source::All);
    }
    if token.is("samehost") {
        return Ok(Source::SameHost);
    }
    let text = &token.text;
    if text.contains('/')
        && let Some(network) = Network::parse(text)
    {
        return Ok(Source::Network(network));
    }
    Err(format!("`{text}` is no address: write all, samehost, 10.0.0.0/8 or an address and its mask (no names)"))
}

/// An address with the mask of the next column.
fn masked(address: IpAddr, mask: &str) -> Result<Source, String> {
    let wrong = || format!("`{mask}` is no mask for {address}: write {address}/LENGTH");
    let mask: IpAddr = mask.parse().map_err(|_| wrong())?;
    let (leading, set) = match (address, mask) {
        (IpAddr::V4(_), IpAddr::V4(mask)) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        (IpAddr::V6(_), IpAddr::V6(mask)) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(wrong()),
    };
    if leading != set {
        return Err(wrong());
    }
    let prefix = u8::try_from(leading).map_err(|_| wrong())?;
    Ok(Source::Network(Network { address, prefix }))
}

fn method(word: &str, door: Door) -> Result<HbaMethod, String> {
    let method = match word {
        "trust" => HbaMethod::Trust,
        "reject" => HbaMethod::Reject,
        "password" => HbaMethod::Password,
        "md5" => HbaMethod::Md5,
        "scram-sha-256" => HbaMethod::Scram,
        "cert" => HbaMethod::Cert,
        "peer" => HbaMethod::Peer,
        other => {
            return Err(format!(
                "the method `{other}` is not spoken: write trust, reject, password, md5, scram-sha-256, cert or peer"
            ));
        }
    };
    if method == HbaMethod::Peer && door != Door::Local {
        return Err("peer is for the unix socket: write it in a local rule".to_owned());
    }
    if method == HbaMethod::Cert && door != Door::HostSsl {
        return Err("cert needs TLS: write it in a hostssl rule".to_owned());
    }
    Ok(method)
}
