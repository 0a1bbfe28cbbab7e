//! `[[probe]]`: the web tier asked again and again, as its users ask it.
//!
//! One task per probe; they share nothing but the tally. Bounds: as many as the configuration may have, one request of each at a
//! time, a time limit on each, at most [`MAX_BODY`] of a body. No redirect is followed: a login page is not the answer that was meant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use poolwarden_config::Probe;
use poolwarden_watch::{ProbeResult, ProbeView};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::log::unix_ms;
use super::running::{Running, held};

/// A new configuration is seen this soon.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A body is read so far: to its end where it is short, so that an answer that breaks off is seen.
const MAX_BODY: usize = 64 << 10;

/// What the probes have come to, by name.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, Counted>>);

#[derive(Clone, Debug, Default)]
struct Counted {
    url: String,
    good: u64,
    bad: u64,
    last: Option<ProbeResult>,
}

impl Tally {
    /// These probes in their order, with what they have come to.
    pub(super) fn views(&self, probes: &[Probe]) -> Vec<ProbeView> {
        let tally = held(&self.0);
        let view = |probe: &Probe| {
            let counted =
                tally.get(&probe.name).filter(|counted| counted.url == probe.url).cloned().unwrap_or_default();
            ProbeView {
                name: probe.name.clone(),
                url: probe.url.clone(),
                database: probe.database,
                good: counted.good,
                bad: counted.bad,
                last: counted.last,
            }
        };
        probes.iter().map(view).collect()
    }

    fn count(&self, probe: &Probe, result: ProbeResult) {
        let mut tally = held(&self.0);
        let counted = tally.entry(probe.name.clone()).or_default();
        if counted.url != probe.url {
            *counted = Counted { url: probe.url.clone(), ..Counted::default() };
        }
        counted.good += u64::from(result.good);
        counted.bad += u64::from(!result.good);
        counted.last = Some(result);
    }

    /// Those that are no more.
    fn forget_others(&self, probes: &[Probe]) {
        held(&self.0).retain(|name, _| probes.iter().any(|probe| probe.name == *name));
    }
}

/// Asks what the configuration in force says, until `stopping`.
pub(super) async fn keep(running: Arc<Running>, mut stopping: watch::Receiver<bool>) {
    let mut asked = Asked::default();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let over = tokio::select! {
            _ = looks.tick() => false,
            _said = stopping.wait_for(|stop| *stop) => true,
        };
        if over {
            break;
        }
        asked.follow(&running).await;
    }
    asked.tasks.iter().for_each(|(_, task)| task.abort());
}

/// The probes that are being asked.
#[derive(Default)]
struct Asked {
    tasks: Vec<(Probe, JoinHandle<()>)>,
    /// Made when the first address wants it: it reads the system's authorities.
    tls: Option<Arc<ClientConfig>>,
}

impl Asked {
    /// Those that changed begin anew; the others go on as they are.
    async fn follow(&mut self, running: &Arc<Running>) {
        let config = running.config();
        if self.tasks.iter().map(|(probe, _)| probe).eq(&config.probes) {
            return;
        }
        if self.tls.is_none() && config.probes.iter().any(|probe| probe.tls) {
            // Reading files belongs on no worker of the runtime; if it ended early, it is tried again with the next look.
            self.tls = tokio::task::spawn_blocking(trusting_the_system).await.ok().flatten();
        }
        let mut before = std::mem::take(&mut self.tasks);
        for probe in &config.probes {
            let same = before.iter().position(|(of, _)| of == probe);
            let task = match same {
                Some(at) => before.swap_remove(at).1,
                None => tokio::spawn(again_and_again(Arc::clone(running), probe.clone(), self.tls.clone())),
            };
            self.tasks.push((probe.clone(), task));
        }
        before.iter().for_each(|(_, task)| task.abort());
        running.probes.forget_others(&config.probes);
    }
}

/// `None`: this build knows no version of TLS, which a probe would say.
fn trusting_the_system() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // What cannot be read is not trusted, and a probe that needed it says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    config.ok().map(|config| Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn again_and_again(running: Arc<Running>, probe: Probe, tls: Option<Arc<ClientConfig>>) {
    let mut turns = tokio::time::interval(probe.every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let result = tried(&probe, tls.clone()).await;
        running.probes.count(&probe, result);
    }
}

/// One question and what came of it.
async fn tried(probe: &Probe, tls: Option<Arc<ClientConfig>>) -> ProbeResult {
    let (at_ms, began) = (unix_ms(), Instant::now());
    let asked = tokio::time::timeout(probe.timeout, ask(probe, tls)).await;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (status, error) = match asked {
        Ok(Ok(status)) if status == probe.expect => (Some(status), String::new()),
        Ok(Ok(status)) => (Some(status), format!("status {status} instead of {}", probe.expect)),
        Ok(Err(why)) => (None, why),
        Err(_) => (None, format!("no answer within {}", poolwarden_config::show_duration(probe.timeout))),
    };
    ProbeResult { at_ms, good: error.is_empty(), took_us, status, error }
}

async fn ask(probe: &Probe, tls: Option<Arc<ClientConfig>>) -> Result<u16, String> {
    let stream = TcpStream::connect((probe.host.as_str(), probe.port)).await;
    let stream = stream.map_err(|why| format!("cannot reach {}: {why}", probe.authority))?;
    stream.set_nodelay(true).map_err(|why| why.to_string())?;
    if !probe.tls {
        return spoken(probe, stream).await;
    }
    let config = tls.ok_or("the system's certificate authorities are not read yet")?;
    let name = ServerName::try_from(probe.host.clone()).map_err(|_| format!("{} is no name for TLS", probe.host))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    spoken(probe, stream.map_err(|why| format!("no TLS with {}: {why}", probe.authority))?).await
}

/// One request on a connection of its own; the status, when the answer is whole or long.
async fn spoken(probe: &Probe, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<u16, String> {
    let broken = |why: hyper::Error| format!("{} does not answer as HTTP does: {why}", probe.authority);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(&probe.target)
        .header(header::HOST, &probe.authority)
        .header(header::USER_AGENT, concat!("poolwarden-probe/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|why| why.to_string())?;
    let answered = async {
        let mut answer: Response<_> = sender.send_request(request).await.map_err(broken)?;
        let (status, mut read) = (answer.status().as_u16(), 0);
        while read < MAX_BODY
            && let Some(frame) = answer.body_mut().frame().await
        {
            let frame = frame.map_err(|why| format!("the answer broke off: {why}"))?;
            read += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok(status)
    };
    let mut connection = std::pin::pin!(connection);
    let mut answered = std::pin::pin!(answered);
    tokio::select! {
        status = &mut answered => return status,
        // What ends the connection ends the answer too, which then says what it came to.
        _ended = &mut connection => {}
    }
    answered.await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn probe(at: &str, expect: u16) -> Probe {
        let text = format!(
            "[servers.main]\nhost = \"db\"\n[pools.app]\nserver = \"main\"\n\
             [[probe]]\nname = \"page\"\nurl = \"http://{at}/health\"\nexpect = {expect}\ntimeout = \"5s\"\n"
        );
        let (config, _) = poolwarden_config::Config::parse(&text, |_| Err("no secrets here".to_owned()));
        config.unwrap().probes.remove(0)
    }

    /// Answers one request with `answer`, and returns the request.
    async fn answering(answer: &'static [u8]) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (at, served)
    }

    #[tokio::test]
    async fn a_probe_asks_for_its_route_and_judges_the_status() {
        let (at, served) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let result = tried(&probe(&at, 200), None).await;
        assert!(result.good && result.status == Some(200) && result.error.is_empty(), "{result:?}");
        let request = served.await.unwrap();
        assert!(
            request.starts_with("GET /health HTTP/1.1\r\n") && request.contains(&format!("host: {at}\r\n")),
            "{request}"
        );
        let (at, _served) = answering(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n").await;
        let result = tried(&probe(&at, 200), None).await;
        assert_eq!((result.good, result.status, &*result.error), (false, Some(302), "status 302 instead of 200"));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_is_none_is_bad() {
        let (at, _served) = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok").await;
        let result = tried(&probe(&at, 200), None).await;
        assert!(!result.good && result.error.contains("broke off"), "{result:?}");
        let (at, _served) = answering(b"SSH-2.0-OpenSSH\r\n").await;
        let result = tried(&probe(&at, 200), None).await;
        assert!(!result.good && result.error.contains("does not answer as HTTP does"), "{result:?}");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let result = tried(&probe(&closed, 200), None).await;
        assert!(!result.good && result.error.starts_with("cannot reach 127.0.0.1"), "{result:?}");
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let patient =
            Probe { timeout: Duration::from_millis(50), ..probe(&silent.local_addr().unwrap().to_string(), 200) };
        assert_eq!(tried(&patient, None).await.error, "no answer within 50ms");
    }

    #[tokio::test]
    async fn over_tls_a_certificate_must_be_the_hosts_and_of_an_authority_that_is_trusted() {
        let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let certificate = issued.cert.der().clone();
        let provider = || Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _served = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut some = [0; 1024];
                assert!(stream.read(&mut some).await.unwrap() > 0);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        let trusting = |roots: RootCertStore| {
            let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
            Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let probe = Probe { tls: true, ..probe(&format!("127.0.0.1:{port}"), 204) };
        let result = tried(&probe, trusting(roots.clone())).await;
        assert!(result.good, "{result:?}");
        let other = Probe { host: "localhost".to_owned(), ..probe.clone() };
        let result = tried(&other, trusting(roots)).await;
        assert!(!result.good && result.error.starts_with("no TLS with "), "another name: {result:?}");
        let result = tried(&probe, trusting_the_system()).await;
        assert!(!result.good && result.error.starts_with("no TLS with "), "nobody's authority: {result:?}");
    }

    #[test]
    fn counts_belong_to_a_name_and_its_address() {
        let (tally, one) = (Tally::default(), probe("web:80", 200));
        let result = |good| ProbeResult { good, ..ProbeResult::default() };
        [true, true, false].into_iter().for_each(|good| tally.count(&one, result(good)));
        let counts = |probe: &Probe| {
            let view = tally.views(std::slice::from_ref(probe)).remove(0);
            (view.good, view.bad, view.last.is_some())
        };
        assert_eq!(counts(&one), (2, 1, true));
        let moved = probe("elsewhere:80", 200);
        assert_eq!(counts(&moved), (0, 0, false), "another address, another history");
        tally.count(&moved, result(false));
        assert_eq!((counts(&moved), counts(&one)), ((0, 1, true), (0, 0, false)));
        tally.forget_others(&[]);
        assert_eq!(counts(&moved), (0, 0, false));
    }
}
