//! Connection URLs: who connects where, and the parameters, each with its bytes.
//!
//! It takes what drivers take: `postgres://`, `postgresql+driver://`, `jdbc:postgresql:`; of several hosts the first.

use std::ops::Range;

use super::setting::Setting;

/// Schemes that are PostgreSQL's, without the driver that may follow with `+`.
const SCHEMES: [&str; 5] = ["postgres", "postgresql", "postgis", "jdbc:postgresql", "ecto"];
/// What one URL may be long: longer ones are no URLs.
const MOST_BYTES: usize = 64 << 10;

/// One URL.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) is_jdbc: bool,
    pub(super) user: Option<Setting>,
    /// The bytes of the password.
    pub(super) password: Option<Range<usize>>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<Setting>,
    pub(super) parameters: Vec<Setting>,
}

/// Reads a URL that stands at `base` in its file; `None`: not one of PostgreSQL's.
pub(super) fn link(url: &str, base: usize) -> Option<Link> {
    let colon = url.find("://").or_else(|| url.starts_with("jdbc:postgresql:").then_some("jdbc:postgresql".len()))?;
    let scheme = url[..colon].split('+').next().unwrap_or_default();
    if !SCHEMES.contains(&scheme) || url.len() > MOST_BYTES {
        return None;
    }
    let mut link = Link { is_jdbc: scheme.starts_with("jdbc"), ..Link::default() };
    let slashes = if url[colon..].starts_with("://") { 3 } else { 1 };
    let start = colon + slashes;
    let query = url[start..].find('?').map_or(url.len(), |at| start + at);
    let path = if slashes == 3 { url[start..query].find('/').map_or(query, |at| start + at) } else { start };
    // an @ in a password that was not escaped is forgiven: the last one counts
    let at = url[start..path].rfind('@').map(|at| start + at);
    if let Some(at) = at {
        let colon = url[start..at].find(':').map_or(at, |colon| start + colon);
        link.user = part("user", url, start..colon, base);
        link.password = (colon + 1 < at).then(|| base + colon + 1..base + at);
    }
    let place = &url[at.map_or(start, |at| at + 1)..path];
    host(&mut link, place.split(',').next().unwrap_or(place));
    let name = if url[path..query].starts_with('/') { path + 1 } else { path };
    link.database = part("database", url, name..query, base);
    parameters(&mut link, url, query, base);
    Some(link)
}

fn host(link: &mut Link, place: &str) {
    let after_brackets = place.rfind(']').unwrap_or(0);
    let colon = place[after_brackets..].rfind(':').map(|at| at + after_brackets);
    let (host, port) = colon.map_or((place, ""), |at| (&place[..at], &place[at + 1..]));
    link.host = Some(decode(host).0.trim_matches(['[', ']']).to_owned()).filter(|host| !host.is_empty());
    link.port = port.parse().ok();
}

fn parameters(link: &mut Link, url: &str, query: usize, base: usize) {
    let mut at = query + 1;
    let end = url.find('#').filter(|at| *at > query).unwrap_or(url.len());
    while at < end {
        let stop = url[at..end].find('&').map_or(end, |to| at + to);
        let sign = url[at..stop].find('=').map_or(stop, |to| at + to);
        let key = decode(&url[at..sign]).0;
        let value = (sign + 1).min(stop)..stop;
        let set = Setting { key, value: decode(&url[value.clone()]).0, span: base + value.start..base + value.end };
        match set.key.as_str() {
            "user" if link.user.is_none() => link.user = Some(set),
            "host" if link.host.is_none() => link.host = Some(set.value),
            "port" if link.port.is_none() => link.port = set.value.parse().ok(),
            "dbname" if link.database.is_none() => link.database = Some(set),
            "password" | "sslpassword" => link.password = Some(set.span),
            _ => link.parameters.push(set),
        }
        at = stop + 1;
    }
}

fn part(key: &str, url: &str, span: Range<usize>, base: usize) -> Option<Setting> {
    let raw = url.get(span.clone())?;
    let value = decode(raw).0;
    (!value.is_empty()).then(|| Setting { key: key.to_owned(), value, span: base + span.start..base + span.end })
}

/// Percent escapes resolved, and where each byte of the result stood; a broken escape stays as it is, and so does `+`, as
/// libpq has it.
pub(super) fn decode(text: &str) -> (String, Vec<usize>) {
    let bytes = text.as_bytes();
    let (mut out, mut from, mut at) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len() + 1), 0);
    while let Some(byte) = bytes.get(at) {
        let digits =
            text.get(at + 1..at + 3).filter(|digits| *byte == b'%' && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        from.push(at);
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    from.push(bytes.len());
    match String::from_utf8(out) {
        Ok(decoded) => (decoded, from),
        Err(_) => (text.to_owned(), (0..=text.len()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_all_drivers_are_taken_apart_with_their_places() {
        let url = "postgresql+psycopg://al%20ice:p@ss:w@db-1:6432,db-2/shop?pool_timeout=5&options=-c%20a%3Db#x";
        let link = link(url, 100).expect("a url");
        assert_eq!(link.user.map(|user| (user.value, user.span)), Some(("al ice".to_owned(), 121..129)));
        assert_eq!(link.password.map(|span| &url[span.start - 100..span.end - 100]), Some("p@ss:w"));
        assert_eq!((link.host.as_deref(), link.port), (Some("db-1"), Some(6432)));
        let database = link.database.expect("a database");
        assert_eq!(
            (&url[database.span.start - 100..database.span.end - 100], database.value.as_str()),
            ("shop", "shop")
        );
        let pairs: Vec<_> = link
            .parameters
            .iter()
            .map(|set| (set.key.as_str(), set.value.as_str(), &url[set.span.start - 100..set.span.end - 100]))
            .collect();
        assert_eq!(pairs, [("pool_timeout", "5", "5"), ("options", "-c a=b", "-c%20a%3Db")]);
    }

    #[test]
    fn jdbc_without_host_and_sockets_and_ipv6_are_understood() {
        let of = |url: &str| {
            let link = link(url, 0).expect(url);
            (link.host, link.port, link.database.map(|name| name.value), link.user.map(|user| user.value))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(of("jdbc:postgresql:shop?user=app"), (None, None, text("shop"), text("app")));
        assert_eq!(of("jdbc:postgresql://[::1]:5433/shop"), (text("::1"), Some(5433), text("shop"), None));
        assert_eq!(of("postgres:///shop?host=/run/pg"), (text("/run/pg"), None, text("shop"), None));
        assert_eq!(of("postgres://%2Frun%2Fpg"), (text("/run/pg"), None, None, None));
        for other in ["mysql://a/b", "jdbc:h2:mem", "https://postgres", "", "://", "postgres"] {
            assert!(link(other, 0).is_none(), "{other}");
        }
    }
}
