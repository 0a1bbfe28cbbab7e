//! `[[probe]]`: the addresses of the web tier that are asked.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::Probe;
use crate::unit::show_duration;
use crate::value::Value;
use crate::walk::Named;

impl Build<'_> {
    pub(super) fn probes(&mut self) -> Vec<Probe> {
        let mut items = self.names("probe");
        items.sort_by_key(|item| item.name.parse::<usize>().unwrap_or(usize::MAX));
        if let Some(first) = items.get(Probe::MAX) {
            let message = format!("{} probes, and at most {} are asked", items.len(), Probe::MAX);
            self.wrong(first.span.clone(), "out-of-range", message, "keep one or two per service");
        }
        let mut names = BTreeSet::new();
        items.iter().filter_map(|item| self.probe(item, &mut names)).collect()
    }

    fn probe(&mut self, item: &Named, names: &mut BTreeSet<String>) -> Option<Probe> {
        let scope = Scope::item("probe", &item.name);
        let name = self.needed(&scope, "name", item, "name = \"login\"");
        let url = self.needed(&scope, "url", item, "url = \"http://web.internal/health\"");
        self.check_times(&scope);
        let (name, url) = (name?, url?);
        if !names.insert(name.clone()) {
            let message = format!("two probes are called \"{name}\"");
            self.wrong(self.span(&scope, "name"), "duplicate", message, "give each a name of its own");
        }
        let place = match place(&url) {
            Ok(place) => place,
            Err((why, fix)) => {
                let message = format!("{}.url: {why}", scope_path(item));
                self.wrong(self.span(&scope, "url"), "wrong-value", message, fix);
                return None;
            }
        };
        Some(Probe {
            name,
            tls: place.tls,
            host: place.host,
            port: place.port,
            authority: place.authority,
            target: place.target,
            url,
            expect: self.number(&scope, "expect").and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            every: self.duration(&scope, "every").unwrap_or(Probe::MIN_EVERY).max(Probe::MIN_EVERY),
            timeout: self.duration(&scope, "timeout").unwrap_or(Probe::MAX_TIMEOUT).min(Probe::MAX_TIMEOUT),
            database: match self.value(&scope, "database") {
                Some(Value::Bool(needs)) => Some(needs),
                Some(_) | None => None,
            },
        })
    }

    /// A text that must be there and say something.
    fn needed(&mut self, scope: &Scope, key: &str, item: &Named, fix: &str) -> Option<String> {
        let text = self.text(scope, key).filter(|text| !text.trim().is_empty());
        if text.is_none() && !self.walked.refused.contains(&format!("{}.{key}", scope_path(item))) {
            let message = format!("{} has no {key}", scope_path(item));
            self.wrong(item.span.clone(), "missing", message, &format!("write {fix}"));
        }
        text
    }

    fn check_times(&mut self, scope: &Scope) {
        if self.duration(scope, "every").is_some_and(|every| every < Probe::MIN_EVERY) {
            let message = format!("a probe is asked every {} at most", show_duration(Probe::MIN_EVERY));
            self.wrong(self.span(scope, "every"), "out-of-range", message, "write every = \"1s\" or longer");
        }
        if self.duration(scope, "timeout").is_some_and(|limit| limit.is_zero() || limit > Probe::MAX_TIMEOUT) {
            let message = format!("a probe's answer may take up to {}", show_duration(Probe::MAX_TIMEOUT));
            self.wrong(self.span(scope, "timeout"), "out-of-range", message, "write timeout = \"2s\"");
        }
    }

    fn wrong(&mut self, span: Range<usize>, code: &'static str, message: String, fix: &str) {
        self.finding(Severity::Error, code, span, (message, fix.to_owned()));
    }
}

fn scope_path(item: &Named) -> String {
    format!("probe[{}]", item.name)
}

/// Where an address leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    target: String,
}

/// What is wrong with it never repeats it: it may hold a password.
fn place(url: &str) -> Result<Place, (&'static str, &'static str)> {
    const FORM: &str = "write it as http://web.internal:8080/health";
    let (tls, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        Some(_) | None => return Err(("it is no http or https address", FORM)),
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains('#') {
        return Err(("it has characters that no request can carry", "write them percent-encoded, and no # part"));
    }
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(("it has a user or a password in it", "ask a route that needs no login"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)),
        Some(_) | None => (authority, Some(if tls { 443 } else { 80 })),
    };
    let port = port.ok_or(("its port is none", FORM))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_v6 = bare.parse::<core::net::Ipv6Addr>().is_ok();
    if bare.is_empty()
        || bare.contains(['[', ']'])
        || is_v6 != (bare.len() < host.len())
        || !is_v6 && bare.contains(':')
    {
        return Err(("it names no host", FORM));
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Place { tls, host: bare.to_owned(), port, authority: authority.to_owned(), target })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::place;
    use crate::model::{Config, Probe};

    fn parse(text: &str) -> Result<Vec<Probe>, String> {
        let text = format!("{text}\n[servers.main]\nhost = \"db\"\n\n[pools.app]\nserver = \"main\"\n");
        let (config, findings) = Config::parse(&text, |_| Err("no secrets here".to_owned()));
        let said = findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("\n");
        config.map(|config| config.probes).ok_or(said)
    }

    #[test]
    fn a_probe_has_a_name_and_a_url_and_defaults_for_the_rest() {
        let text = "[[probe]]\nname = \"page\"\nurl = \"https://web.internal/\"\ndatabase = true\n\
                    [[probe]]\nname = \"static\"\nurl = \"http://[::1]:8080?x=1\"\nexpect = 204\nevery = \"1s\"\ntimeout = \"500ms\"\n";
        let probes = parse(text).unwrap();
        let [page, fixed] = &probes[..] else { panic!("{probes:?}") };
        assert_eq!((page.tls, &*page.host, page.port, &*page.target), (true, "web.internal", 443, "/"));
        assert_eq!((page.expect, page.every, page.timeout), (200, Duration::from_secs(5), Duration::from_secs(2)));
        assert_eq!((page.database, fixed.database), (Some(true), None));
        assert_eq!((fixed.tls, &*fixed.host, fixed.port, &*fixed.target), (false, "::1", 8080, "/?x=1"));
        assert_eq!((fixed.expect, &*fixed.authority), (204, "[::1]:8080"));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_missing_twice_there_or_out_of_bounds_is_refused() {
        let one = "[[probe]]\nname = \"a\"\nurl = \"http://web/\"\n";
        let table = [
            ("[[probe]]\n".to_owned(), "probe[0] has no name"),
            ("[[probe]]\nname = \"a\"\n".to_owned(), "probe[0] has no url"),
            (format!("{one}{one}"), "two probes are called \"a\""),
            (format!("{one}every = \"500ms\"\n"), "asked every 1s at most"),
            (format!("{one}timeout = \"0s\"\n"), "may take up to 1m"),
            (format!("{one}timeout = \"2m\"\n"), "may take up to 1m"),
        ];
        for (text, expected) in table {
            let said = parse(&text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
        let many: String = (0..33).map(|n| format!("[[probe]]\nname = \"p{n}\"\nurl = \"http://web/\"\n")).collect();
        assert!(parse(&many).unwrap_err().contains("33 probes, and at most 32"));
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        let said = parse("[[probe]]\nname = \"a\"\nurl = \"http://me:hunter2@web/\"\n").unwrap_err();
        assert!(said.contains("user or a password") && !said.contains("hunter2"), "{said}");
        for url in [
            "ftp://web/",
            "web/health",
            "http://",
            "http:///x",
            "http://web:0/",
            "http://web:x/",
            "http://a b/",
            "http://web/#top",
            "http://::1/",
            "http://[::1/",
            "http://[web]/",
            "https://ö/",
        ] {
            assert!(place(url).is_err(), "{url}");
        }
    }
}
