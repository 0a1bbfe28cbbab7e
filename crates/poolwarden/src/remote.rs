//! How a verb speaks to a running poolwarden: where it is, the operate token, one request and its answer.
//!
//! Of a configuration file only the two settings that say so are read: who operates need not be able to read its secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::cli::ToArgs;
use crate::discover;

const DEFAULT: &str = "127.0.0.1:9432";
/// It answers in milliseconds or something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// An archive is gathered from many places.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// Far above any answer, so that a wrong address ends soon.
const MAX_ANSWER: usize = 64 << 20;
/// A token has 64 characters.
const MAX_TOKEN: u64 = 4 << 10;

/// Running poolwardens, and the right to operate them.
#[derive(Debug)]
pub(crate) struct Remote {
    /// `host:port` of each.
    places: Vec<String>,
    /// `None`: there is none to be read, and what is asked needs none.
    token: Option<String>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Bytes,
}

/// An answer as it is meant.
#[derive(Debug)]
pub(crate) struct Said<T> {
    pub(crate) status: u16,
    /// What was asked for; else the JSON that says why not, `null` where it is none.
    pub(crate) body: Result<T, Value>,
}

impl Answer {
    /// What was asked for is JSON.
    pub(crate) fn json(self) -> anyhow::Result<Said<Value>> {
        self.read(|body| {
            serde_json::from_slice(body).context("the answer is no JSON: is this poolwarden's HTTP address?")
        })
    }

    /// What was asked for is a text.
    pub(crate) fn text(self) -> anyhow::Result<Said<String>> {
        self.read(|body| String::from_utf8(body.to_vec()).context("the answer is no text"))
    }

    /// What was asked for is a file.
    pub(crate) fn bytes(self) -> anyhow::Result<Said<Vec<u8>>> {
        self.read(|body| Ok(body.to_vec()))
    }

    fn read<T>(self, good: impl FnOnce(&[u8]) -> anyhow::Result<T>) -> anyhow::Result<Said<T>> {
        let body = match self.status {
            200..300 => Ok(good(&self.body)?),
            _ => Err(serde_json::from_slice(&self.body).unwrap_or(Value::Null)), // any other status is a refusal
        };
        Ok(Said { status: self.status, body })
    }
}

/// What of a configuration file says how to reach who runs with it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    http: Option<String>,
    data_dir: Option<PathBuf>,
}

impl Remote {
    /// To do something: without the operate token there is nothing to begin.
    pub(crate) fn find(to: &ToArgs) -> anyhow::Result<Self> {
        let told = to.config.as_deref().map(told).transpose()?.unwrap_or_default();
        Ok(Self { places: places(to, &told)?, token: Some(token(to, &told)?) })
    }

    /// To look: the token shows more, and is not needed. One that was named must be readable.
    pub(crate) fn look(to: &ToArgs) -> anyhow::Result<Self> {
        let told = to.config.as_deref().map(told).transpose()?.unwrap_or_default();
        let token = match (token(to, &told), &to.token_file) {
            (Ok(token), _) => Some(token),
            (Err(why), Some(_)) => return Err(why),
            (Err(_), None) => None,
        };
        Ok(Self { places: places(to, &told)?, token })
    }

    /// `host:port` of each.
    pub(crate) fn places(&self) -> &[String] {
        &self.places
    }

    /// Asks for something.
    pub(crate) fn get(&self, at: &str, path: &str) -> anyhow::Result<Answer> {
        self.exchange(at, self.request(at, path, None)?, PATIENCE)
    }

    /// Has something done.
    pub(crate) fn post(&self, at: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.exchange(at, self.request(at, path, Some(body))?, PATIENCE)
    }

    /// Has something done that takes its time.
    pub(crate) fn post_patiently(&self, at: &str, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.exchange(at, self.request(at, path, Some(body))?, LONG_PATIENCE)
    }

    fn request(&self, at: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = if body.is_some() { Request::post(path) } else { Request::get(path) };
        request = request.header(header::HOST, at);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let content = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        request.body(Full::new(content)).with_context(|| format!("{path} or the token cannot be sent"))
    }

    fn exchange(&self, at: &str, request: Request<Full<Bytes>>, patience: Duration) -> anyhow::Result<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let late = || anyhow!("{at}: no answer within {}s", patience.as_secs());
        runtime
            .block_on(async { tokio::time::timeout(patience, send(at, request)).await.unwrap_or_else(|_| Err(late())) })
    }
}

async fn send(at: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
    let stream = tokio::net::TcpStream::connect(at).await.map_err(|why| {
        anyhow!("nothing listens at {at} ({why}): start poolwarden, or name its HTTP address with --at URL or -c FILE")
    })?;
    let broken = || format!("{at} does not answer as poolwarden does");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(broken)?;
    // What ends the connection early ends the request too, with the same fault.
    tokio::spawn(async move { connection.await.is_ok() });
    let answer = sender.send_request(request).await.with_context(broken)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|why| anyhow!("{at}: the answer broke off: {why}"))?.to_bytes();
    Ok(Answer { status, body })
}

fn places(to: &ToArgs, told: &Told) -> anyhow::Result<Vec<String>> {
    let mut places = to.at.iter().map(|url| place(url)).collect::<anyhow::Result<Vec<_>>>()?;
    if places.is_empty() {
        places.push(told.http.clone().unwrap_or_else(|| DEFAULT.to_owned()));
    }
    Ok(places)
}

/// A text as it stands in a URL's query.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `host:port` of a URL. Without a scheme the port may be left out.
fn place(url: &str) -> anyhow::Result<String> {
    if url.starts_with("https://") {
        bail!("--at {url}: TLS is not spoken here: bring its HTTP port to this host (ssh -L) and name that");
    }
    let (rest, port) = url.strip_prefix("http://").map_or((url, "9432"), |rest| (rest, "80"));
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.is_empty() || host.contains(['/', '@', ' ', '?']) {
        bail!("--at {url}: write it as http://127.0.0.1:9432");
    }
    let has_port =
        host.rsplit_once(':').is_some_and(|(name, port)| port.parse::<u16>().is_ok() && !name.ends_with(':'));
    Ok(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

fn told(file: &Path) -> anyhow::Result<Told> {
    let name = file.display();
    let bytes =
        discover::read_bounded(file, discover::MAX_FILE_BYTES).with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{name} is not UTF-8 text"))?;
    let told = read(&text).map_err(|why| anyhow!("{name}: {why}"))?;
    match (told.http.as_deref(), &told.data_dir) {
        (Some("off"), _) => bail!("{name}: listen.http is off: nothing listens for verbs"),
        // The system chose the port: who runs with the file has said which.
        (Some(http), Some(dir)) if http.ends_with(":0") => {
            let path = dir.join("listening.json");
            let bytes = discover::read_bounded(&path, discover::MAX_FILE_BYTES);
            let bytes = bytes.with_context(|| format!("nothing runs with {name}: cannot read {}", path.display()))?;
            let said: Value = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
            Ok(Told { http: said["http"].as_str().map(str::to_owned), ..told })
        }
        (Some(_) | None, _) => Ok(told),
    }
}

fn read(text: &str) -> Result<Told, toml::de::Error> {
    let file: toml::Table = toml::from_str(text)?;
    let value = |section: &str, key: &str| file.get(section)?.get(key)?.as_str().map(str::to_owned);
    Ok(Told { http: value("listen", "http"), data_dir: value("poolwarden", "data_dir").map(PathBuf::from) })
}

/// The token of the file that is named, else of the variable, else of the data directory.
fn token(to: &ToArgs, told: &Told) -> anyhow::Result<String> {
    let path = match (&to.token_file, std::env::var("POOLWARDEN_TOKEN"), &told.data_dir) {
        (Some(path), ..) => path.clone(),
        (None, Ok(token), _) => return usable(&token).context("POOLWARDEN_TOKEN"),
        (None, Err(_), Some(dir)) => dir.join("token"),
        (None, Err(_), None) => discover::default_data_dir()?.join("token"),
    };
    let bytes = discover::read_bounded(&path, MAX_TOKEN).with_context(|| {
        let next = "run this as the user poolwarden runs as, or use -c FILE, --token-file or POOLWARDEN_TOKEN";
        format!("no operate token in {}; {next}", path.display())
    })?;
    usable(&String::from_utf8_lossy(&bytes)).with_context(|| path.display().to_string())
}

fn usable(token: &str) -> anyhow::Result<String> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("this is no operate token: it is one word of letters and digits");
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_host_with_or_without_a_port() {
        let table = [
            ("http://127.0.0.1:9432", "127.0.0.1:9432"),
            ("http://db.internal:1234/", "db.internal:1234"),
            ("http://proxy.internal", "proxy.internal:80"),
            ("10.0.0.2", "10.0.0.2:9432"),
            ("10.0.0.2:7000", "10.0.0.2:7000"),
            ("http://[::1]:9432", "[::1]:9432"),
            ("[::1]", "[::1]:9432"),
        ];
        for (url, at) in table {
            assert_eq!(place(url).unwrap(), at, "{url}");
        }
        for url in ["https://a:9432", "", "http://", "http://a/b", "http://user@a:1"] {
            assert!(place(url).is_err(), "{url}");
        }
    }

    #[test]
    fn of_a_file_only_what_is_needed_is_read_and_no_secret() {
        let text = "[listen]\nhttp = \"127.0.0.1:7\"\n[poolwarden]\ndata_dir = \"/d\"\n[users.a]\npassword_env = \"NOT_SET\"\n";
        let told = Told { http: Some("127.0.0.1:7".into()), data_dir: Some("/d".into()) };
        assert_eq!(read(text), Ok(told));
        assert_eq!(read(""), Ok(Told::default()));
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(usable(" abc123\n").unwrap(), "abc123");
        assert!(usable("").is_err() && usable("a b").is_err() && usable("a\r\nHost: b").is_err());
    }
    #[test]
    fn a_pool_may_be_called_anything() {
        assert_eq!(escaped("app-1.x_~"), "app-1.x_~");
        assert_eq!(escaped("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }

    #[test]
    fn looking_needs_no_token_but_one_that_is_named_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("poolwarden.toml");
        let text = format!("[poolwarden]\ndata_dir = {:?}\n", dir.path().join("none"));
        std::fs::write(&file, text).unwrap();
        let mut to = ToArgs { config: Some(file), ..ToArgs::default() };
        assert!(Remote::find(&to).is_err());
        assert_eq!(Remote::look(&to).unwrap().places(), [DEFAULT]);
        to.token_file = Some(dir.path().join("absent"));
        assert!(Remote::look(&to).unwrap_err().to_string().contains("absent"));
    }

    #[test]
    fn a_refusal_is_told_apart_from_an_answer() {
        let answer = |status, body: &str| Answer { status, body: Bytes::from(body.to_owned()) };
        assert_eq!(answer(200, "{\"schema\":1}").json().unwrap().body.unwrap()["schema"], 1);
        assert_eq!(answer(404, "{\"error\":\"no\"}").text().unwrap().body.unwrap_err()["error"], "no");
        assert_eq!(answer(404, "lost").json().unwrap().body, Err(Value::Null));
        assert!(answer(200, "<html>").json().is_err());
    }
}
