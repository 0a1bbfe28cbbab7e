//! TLS under load: a hundred megabytes past slow readers, many clients, certificates replaced meanwhile, connections that move between loops.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use poolwarden_testbed::certificate::{self, Authority, Issued, Signature, Wanted};
use poolwarden_testbed::place::Place;
use poolwarden_testbed::{Bed, Plan, Target, child, client, libpq, place, until};
use rustix::process::Signal;

struct Papers {
    place: Place,
    authority: Authority,
    own: Issued,
}

impl Papers {
    fn new() -> Papers {
        let place = Place::new("papers");
        let authority = Authority::new(&place, "authority", Signature::Sha256);
        let own = authority.issue(&place, "own", &Wanted { common_name: "own", names: &["127.0.0.1"], days: 90 });
        Papers { place, authority, own }
    }

    /// TLS on both sides of the pooler, with one certificate.
    fn plan(&self) -> Plan {
        let Issued { certificate, key } = &self.own;
        let listen = format!("[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n[console]\n");
        let server = format!("tls = \"verify-full\"\ntls_ca = {:?}", self.authority.certificate);
        let postgres = certificate::postgres(&self.own, None);
        Plan { size: 4, postgres, ..Plan::default() }.edit("[console]\n", &listen).edit("tls = \"disable\"", &server)
    }

    /// Replaces the certificate that is in use by one with this common name.
    fn renew(&self, common_name: &str, days: i64) {
        self.authority.issue(&self.place, "own", &Wanted { common_name, names: &["127.0.0.1"], days });
    }
}

fn traffic(bed: &Bed, checks: &[&str]) -> Command {
    let mut command = client::command(client::installed("python/bin/python"), bed);
    command.env("PGSSLMODE", "require").arg("-B").arg(client::script("python/tls_traffic.py")).args(checks);
    command
}

#[test]
fn a_hundred_megabytes_each_way_past_a_slow_reader() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Papers::new().plan());
    let checks = ["large_result", "large_input", "both_ways_at_once"];
    client::expect(&mut traffic(&bed, &checks), &checks);
    // What was kept for the slow reader was bounded, and is given back.
    let peak = child::peak_memory(bed.pooler().expect("poolwarden").pid()).expect("it runs");
    assert!(peak < 96 << 20, "{peak} bytes at the most");
    bed.at_rest();
}

#[test]
fn five_hundred_clients_share_four_connections() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Papers::new().plan());
    client::expect(&mut traffic(&bed, &["five_hundred_clients"]), &["five_hundred_clients"]);
    bed.at_rest();
}

/// Clients that go on until this is dropped or ended.
struct Storm(Child);

impl Storm {
    fn start(bed: &Bed, log: &Place) -> Storm {
        let mut command = traffic(bed, &["storm"]);
        child::log_to(&mut command, &log.path().join("storm"));
        Storm(child::spawn(command.stdin(Stdio::piped())))
    }

    #[track_caller]
    fn end(mut self, log: &Place) {
        drop(self.0.stdin.take());
        let status = child::wait(&mut self.0, Duration::from_secs(60));
        assert!(status.is_some_and(|status| status.success()), "the storm failed:\n{}", log.tail("storm", 40));
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            child::signal(child::pid(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// Memory of the pooler, in bytes, without and with three hundred clients that want nothing.
fn idle(bed: &Bed, log: &Place, sslmode: &str) -> (u64, u64) {
    let pid = bed.pooler().expect("poolwarden").pid();
    let clients = || bed.show("CLIENTS").iter().filter(|row| row["database"] == "app").count();
    until("nobody to be there", Duration::from_secs(30), || (clients() == 0).then_some(()));
    let before = child::memory(pid).expect("it runs");
    let mut command = traffic(bed, &["idle"]);
    child::log_to(command.env("PGSSLMODE", sslmode), &log.path().join("storm"));
    let storm = Storm(child::spawn(command.stdin(Stdio::piped())));
    until("all of them", Duration::from_secs(60), || (clients() == 300).then_some(()));
    let after = child::memory(pid).expect("it runs");
    storm.end(log);
    (before, after)
}

#[test]
fn an_idle_client_with_tls_holds_its_keys_and_no_buffer() {
    let _machine = place::machine(false);
    let papers = Papers::new();
    // Each in a process of its own, because what the first three hundred gave back the next would take.
    let each = |sslmode| {
        let bed = Bed::start_as(Target::Poolwarden, papers.plan());
        bed.client().query("select 1").expect("served");
        let (before, after) = idle(&bed, &papers.place, sslmode);
        after.saturating_sub(before) / 300
    };
    let (clear, sealed) = (each("disable"), each("require"));
    eprintln!("bytes per idle client: {clear} in clear, {sealed} with TLS");
    assert!(sealed < 16 << 10, "{sealed} bytes per idle client with TLS, {clear} in clear");
}

/// The subject of the certificate that clients are shown.
fn subject(bed: &Bed) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", "postgres", "-connect", &bed.addr().to_string()]);
    let (_, said) = client::run(command.stdin(Stdio::null()));
    let line = said.lines().find(|line| line.starts_with("subject="));
    line.unwrap_or_else(|| panic!("openssl said:\n{said}")).to_string()
}

#[test]
fn a_certificate_is_replaced_under_load_and_a_broken_one_changes_nothing() {
    let _machine = place::machine(false);
    let papers = Papers::new();
    let bed = Bed::start_as(Target::Poolwarden, papers.plan());
    let pooler = bed.pooler().expect("poolwarden");
    let full = format!("host=127.0.0.1 sslmode=verify-full sslrootcert={}", papers.authority.certificate.display());
    assert!(libpq::attempts(&bed, bed.addr(), &[full])[0].starts_with("tls"));
    assert!(subject(&bed).contains("own"));
    let storm = Storm::start(&bed, &papers.place);
    for turn in 0..5 {
        let name = format!("turn{turn}");
        papers.renew(&name, 10);
        pooler.signal(Signal::HUP);
        until("the new certificate", Duration::from_secs(10), || subject(&bed).contains(&name).then_some(()));
    }
    // Its end is near: the log says so, and the metrics say when.
    until("a warning", Duration::from_secs(10), || {
        pooler.log().contains("the certificate shown to clients (CN=turn4) expires in ").then_some(())
    });
    let metrics = pooler.get("/metrics");
    for place in [
        "place=\"listen\",host=\"\",subject=\"CN=turn4\"",
        "place=\"server_ca\",host=\"main\",subject=\"CN=authority\"",
    ] {
        let line = metrics.lines().find(|line| line.contains(place));
        let line = line.unwrap_or_else(|| panic!("no {place} in {metrics}"));
        assert!(line.starts_with("poolwarden_certificate_not_after_timestamp_seconds{"), "{line}");
    }
    // A key of another certificate: the reload is refused as a whole and names the file.
    std::fs::write(&papers.own.key, "junk").expect("written");
    pooler.signal(Signal::HUP);
    until("the refusal", Duration::from_secs(10), || {
        let log = pooler.log();
        (log.contains("nothing was changed") && log.contains("own.key: holds no private key")).then_some(())
    });
    assert!(subject(&bed).contains("turn4"));
    storm.end(&papers.place);
}

#[test]
fn server_connections_with_tls_move_between_loops() {
    let _machine = place::machine(true);
    let papers = Papers::new();
    let bed = Bed::start_as(Target::Poolwarden, papers.plan().edit("[poolwarden]\n", "[poolwarden]\nloops = 2\n"));
    // One alone leaves a quick machine's loop idle half of the time.
    let storms: Vec<Storm> = (0..4).map(|_| Storm::start(&bed, &papers.place)).collect();
    let moved = || {
        let metrics = bed.pooler().expect("poolwarden").get("/metrics");
        let moves = metrics.lines().filter(|line| line.starts_with("poolwarden_loop_moves_total{"));
        moves.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    // The second loop joins when the first is busy for a second; then a connection serves clients of both.
    until("connections to move", Duration::from_secs(60), || (moved() >= 20).then_some(()));
    storms.into_iter().for_each(|storm| storm.end(&papers.place));
}
