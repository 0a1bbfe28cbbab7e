//! Probes of the web tier: asked as often as the configuration says, counted as the web server counts them, changed by a reload.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Target, place, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// A web server that answers every request with the status it was told last; 0: with nothing.
#[derive(Clone)]
struct Web {
    at: SocketAddr,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU64>,
}

impl Web {
    fn start() -> Web {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("bound");
        let web = Web { at, status: Arc::new(AtomicU16::new(200)), asked: Arc::default() };
        let mine = web.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = BufReader::new(stream.try_clone().expect("a socket")).lines();
                let line = request.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).next();
                assert!(line.is_some_and(|line| line == "GET /health?deep=1 HTTP/1.1"), "it asks for its route");
                request.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                mine.asked.fetch_add(1, Ordering::AcqRel);
                let status = mine.status.load(Ordering::Acquire);
                if status > 0 {
                    let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                    // who has asked may have given up
                    let _gone = stream.write_all(answer.as_bytes());
                }
            }
        });
        web
    }

    fn probe(&self, name: &str) -> String {
        let at = self.at;
        format!(
            "[[probe]]\nname = \"{name}\"\nurl = \"http://{at}/health?deep=1\"\nevery = \"1s\"\ntimeout = \"900ms\"\n\n"
        )
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }
}

fn plan(probes: &str) -> Plan {
    Plan { size: 1, ..Plan::default() }.edit("[auth]\n", &format!("{probes}[auth]\n"))
}

#[test]
fn a_probe_is_counted_as_the_web_server_counts_it_good_and_bad() {
    let _machine = place::machine(false);
    let web = Web::start();
    let mut bed = Bed::start_as(Target::Poolwarden, plan(&web.probe("page")));
    let pooler = bed.poolwarden();
    let count = |result: &str| {
        let text = pooler.get("/metrics");
        let name = format!("poolwarden_probe_answers_total{{probe=\"page\",result=\"{result}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or(0)
    };
    until("two good answers", PATIENCE, || (count("good") >= 2).then_some(()));
    assert_eq!(pooler.metric("poolwarden_probe_up", "probe=\"page\""), 1.0);
    assert_eq!(count("bad"), 0);
    web.status.store(500, Ordering::Release);
    until("it to be down", PATIENCE, || (pooler.metric("poolwarden_probe_up", "probe=\"page\"") == 0.0).then_some(()));
    web.status.store(0, Ordering::Release);
    let before = count("bad");
    until("connections closed without a word to be bad as well", PATIENCE, || {
        (count("bad") >= before + 2).then_some(())
    });
    until("both counts to agree", PATIENCE, || {
        let asked = web.asked();
        (count("good") + count("bad") == asked && web.asked() == asked).then_some(())
    });
    let why = pooler.get("/api/v1/why");
    assert!(why.contains("web tier"), "{why}");
}

#[test]
fn a_reload_begins_and_ends_probes_and_those_that_stay_keep_their_counts() {
    let _machine = place::machine(false);
    let (first, second) = (Web::start(), Web::start());
    let bed = Bed::start_as(Target::Poolwarden, plan(&first.probe("first")));
    let pooler = bed.pooler().expect("poolwarden");
    until("it to be asked", PATIENCE, || (first.asked() >= 2).then_some(()));
    pooler.rewrite(&plan(&[first.probe("first"), second.probe("second")].concat()), bed.server());
    pooler.signal(Signal::HUP);
    until("the second to be asked", PATIENCE, || (second.asked() >= 1).then_some(()));
    assert!(
        pooler.metric("poolwarden_probe_answers_total", "probe=\"first\",result=\"good\"") >= 2.0,
        "its counts stay"
    );
    pooler.rewrite(&plan(&second.probe("second")), bed.server());
    pooler.signal(Signal::HUP);
    until("the first to be gone", PATIENCE, || (!pooler.get("/metrics").contains("probe=\"first\"")).then_some(()));
    let (then, now) = (first.asked(), second.asked());
    until("the second to go on", PATIENCE, || (second.asked() >= now + 2).then_some(()));
    assert!(first.asked() <= then + 1, "one may have been under way");
    let probes_in = "probe[0].url";
    assert!(pooler.log().contains(probes_in), "the change is in the log");
}
