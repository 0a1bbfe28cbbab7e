//! TLS between the pooler and PostgreSQL: every mode against servers with and without it, what is verified, and channel binding.

use std::time::Duration;

use poolwarden_testbed::certificate::{self, Authority, Issued, Signature, Wanted, hba};
use poolwarden_testbed::place::Place;
use poolwarden_testbed::{Bed, Plan, Pooler, Target, Wire, bed, place, until, version};

/// An authority and the server's certificate.
struct Papers {
    place: Place,
    authority: Authority,
    server: Issued,
}

impl Papers {
    fn new(signature: Signature) -> Papers {
        let place = Place::new("papers");
        let authority = Authority::new(&place, "authority", signature);
        let server = authority.issue(&place, "server", &Wanted { common_name: "db", names: &["127.0.0.1"], days: 90 });
        Papers { place, authority, server }
    }

    fn ca(&self) -> String {
        format!("tls_ca = {:?}", self.authority.certificate)
    }

    /// A PostgreSQL with this certificate, and the pooler before it with these lines in [servers.main].
    fn start(&self, lines: &str, more: Vec<(&'static str, String)>) -> Bed {
        let mut postgres = certificate::postgres(&self.server, Some(&self.authority));
        postgres.extend(more);
        start(lines, postgres)
    }
}

fn start(lines: &str, postgres: Vec<(&'static str, String)>) -> Bed {
    let plan = Plan { size: 2, max_wait: Duration::from_secs(2), postgres, ..Plan::default() };
    Bed::start_as(Target::Poolwarden, plan.edit("tls = \"disable\"", lines).pool("down_wait = \"1s\""))
}

/// How the backend of a client sees its connection: `clear`, or its version of TLS; else what the client is told.
fn seen(bed: &Bed) -> String {
    let question =
        "select coalesce(case when ssl then version end, 'clear') from pg_stat_ssl where pid = pg_backend_pid()";
    let asked = Wire::connect(&bed.address(), &bed::login()).and_then(|mut wire| wire.query(question));
    match asked {
        Ok(answer) => answer.value().to_string(),
        Err(why) => format!("{why} {}", bed.pooler().expect("poolwarden").log()),
    }
}

#[track_caller]
fn expect(bed: &Bed, what: &str, wanted: &str) {
    let seen = seen(bed);
    assert!(seen.contains(wanted), "{what}: wanted {wanted}, got: {seen}");
}

#[test]
fn each_mode_means_what_libpq_means() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let place = &papers.place;
    // A server without TLS.
    for (mode, wanted) in
        [("disable", "clear"), ("allow", "clear"), ("prefer", "clear"), ("require", "does not speak it")]
    {
        expect(&start(&format!("tls = \"{mode}\""), Vec::new()), mode, wanted);
    }
    // One with it, that lets anybody in either way.
    for (mode, wanted) in [("disable", "clear"), ("allow", "clear"), ("prefer", "TLSv1.3"), ("require", "TLSv1.3")] {
        expect(&papers.start(&format!("tls = \"{mode}\""), Vec::new()), mode, wanted);
    }
    // One that wants it, and one that wants none.
    let (in_clear, with_tls) =
        if version::major() >= 14 { ("no encryption", "SSL encryption") } else { ("SSL off", "SSL on") };
    let only = |kind: &str| vec![hba(place, &format!("{kind} all all 127.0.0.1/32 scram-sha-256"))];
    for (mode, wanted) in [("disable", in_clear), ("allow", "TLSv1.3"), ("prefer", "TLSv1.3")] {
        expect(&papers.start(&format!("tls = \"{mode}\""), only("hostssl")), mode, wanted);
    }
    for (mode, wanted) in [("allow", "clear"), ("prefer", "clear"), ("require", with_tls)] {
        expect(&papers.start(&format!("tls = \"{mode}\""), only("hostnossl")), mode, wanted);
    }
    let old = vec![("ssl_max_protocol_version", "TLSv1.2".to_string())];
    expect(&papers.start("tls = \"require\"", old.clone()), "an old server", "TLSv1.2");
    expect(&papers.start("tls = \"require\"\ntls_min_version = \"1.3\"", old.clone()), "too old", "TLS:");
    expect(&papers.start("tls = \"prefer\"\ntls_min_version = \"1.3\"", old), "too old, and in clear then", "clear");
}

#[test]
fn what_is_verified_is_what_the_word_says() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let strange = Authority::new(&papers.place, "strange", Signature::Sha256);
    let ca = papers.ca();
    let other = format!("tls_ca = {:?}", strange.certificate);
    for (lines, wanted) in [
        (format!("tls = \"verify-ca\"\n{ca}"), "TLSv1.3"),
        (format!("tls = \"verify-full\"\n{ca}"), "TLSv1.3"),
        (format!("tls = \"require\"\n{ca}"), "TLSv1.3"),
        (format!("tls = \"verify-ca\"\n{other}"), "UnknownIssuer"),
        (format!("tls = \"verify-full\"\n{other}"), "UnknownIssuer"),
        (format!("tls = \"require\"\n{other}"), "UnknownIssuer"),
        ("tls = \"require\"".to_string(), "TLSv1.3"),
        ("tls = \"verify-ca\"".to_string(), "UnknownIssuer"), // the system's authorities do not know ours
    ] {
        expect(&papers.start(&lines, Vec::new()), &lines, wanted);
    }
    // Another name is another host, but comes from the same authority; the common name counts where there are no others.
    let issue = |file: &str, wanted: &Wanted<'_>| Papers {
        server: papers.authority.issue(&papers.place, file, wanted),
        authority: Authority::new(&papers.place, "nobody", Signature::Sha256),
        place: Place::new("papers"),
    };
    let elsewhere = issue("elsewhere", &Wanted { common_name: "127.0.0.1", names: &["db.test"], days: 9 });
    expect(&elsewhere.start(&format!("tls = \"verify-full\"\n{ca}"), Vec::new()), "another name", "not valid for");
    expect(&elsewhere.start(&format!("tls = \"verify-ca\"\n{ca}"), Vec::new()), "another name", "TLSv1.3");
    let common = issue("common", &Wanted { common_name: "127.0.0.1", names: &[], days: 9 });
    expect(&common.start(&format!("tls = \"verify-full\"\n{ca}"), Vec::new()), "a common name", "TLSv1.3");
    let late = issue("late", &Wanted { common_name: "db", names: &["127.0.0.1"], days: -3 });
    expect(&late.start(&format!("tls = \"verify-ca\"\n{ca}"), Vec::new()), "expired", "xpired");
    expect(&late.start("tls = \"require\"", Vec::new()), "nobody asked until when", "TLSv1.3");
    // A server whose certificate is its own authority.
    let wanted = Wanted { common_name: "db", names: &["127.0.0.1"], days: 9 };
    let own = certificate::self_signed(&papers.place, "own", &wanted);
    let lines = format!("tls = \"verify-full\"\ntls_ca = {:?}", own.certificate);
    expect(&start(&lines, certificate::postgres(&own, None)), "self-signed", "TLSv1.3");
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_ours() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let ours = papers.authority.issue(&papers.place, "ours", &Wanted { common_name: "app", names: &[], days: 9 });
    let rules = "hostssl all app 127.0.0.1/32 cert\nhostssl all all 127.0.0.1/32 scram-sha-256";
    let own = format!("tls = \"require\"\ntls_certificate = {:?}\ntls_key = {:?}", ours.certificate, ours.key);
    let bed = papers.start(&own, vec![hba(&papers.place, rules)]);
    expect(&bed, "with a certificate", "TLSv1.3");
    let bed = papers.start("tls = \"require\"", vec![hba(&papers.place, rules)]);
    expect(&bed, "without one", "certificate");
}

#[test]
fn logins_are_bound_to_the_connection_by_every_kind_of_certificate() {
    let _machine = place::machine(false);
    for signature in [Signature::Sha256, Signature::Sha384, Signature::Sha512] {
        let papers = Papers::new(signature);
        for binding in ["require", "prefer", "disable"] {
            let lines = format!("tls = \"verify-full\"\n{}\nchannel_binding = \"{binding}\"", papers.ca());
            expect(&papers.start(&lines, Vec::new()), &format!("{signature:?} {binding}"), "TLSv1.3");
        }
    }
    // A server that lets everybody in without a proof cannot prove itself either.
    let papers = Papers::new(Signature::Sha256);
    let trust = || vec![hba(&papers.place, "host all all 127.0.0.1/32 trust")];
    let lines = format!("tls = \"verify-full\"\n{}\nchannel_binding = \"require\"", papers.ca());
    expect(&papers.start(&lines, trust()), "trust", "channel binding is required");
    expect(&papers.start(&lines.replace("require", "prefer"), trust()), "trust, and none asked for", "TLSv1.3");
}

#[test]
fn cancels_and_the_watch_connection_have_tls_too() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let rules = "hostssl all all 127.0.0.1/32 scram-sha-256";
    let bed = papers.start(&format!("tls = \"verify-full\"\n{}", papers.ca()), vec![hba(&papers.place, rules)]);
    let watch =
        "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) where s.ssl and a.usename = 'watch'";
    until("the watch connection", Duration::from_secs(10), || (bed.postgres.sql(watch).value() == "1").then_some(()));
    let mut client = bed.client();
    let key = client.key.clone();
    let asking = std::thread::spawn(move || client.query("select pg_sleep(60)").expect_err("cancelled").to_string());
    until("the query to run", Duration::from_secs(10), || {
        bed.postgres.backends().iter().any(|backend| backend.state == "active").then_some(())
    });
    poolwarden_testbed::wire::cancel(&bed.address(), &key).expect("asked");
    let told = asking.join().expect("an answer");
    assert!(told.contains("57014"), "{told}");
    let shown = bed.show("SERVERS");
    assert!(shown.iter().all(|row| row["tls"].starts_with("TLSv1.3/TLS_")), "{shown:?}");
}

#[test]
fn direct_tls_reaches_a_server_that_speaks_it() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let lines =
        format!("tls = \"verify-full\"\n{}\ntls_negotiation = \"direct\"\nchannel_binding = \"require\"", papers.ca());
    // PostgreSQL speaks it from 17 on; an older one closes.
    let bed = papers.start(&lines, Vec::new());
    expect(&bed, "PostgreSQL", if version::major() >= 17 { "TLSv1.3" } else { "TLS:" });
    // poolwarden does: one pooler before another.
    let Issued { certificate, key } = &papers.server;
    let listen = format!("[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n\n[console]\n");
    let behind = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() }.edit("[console]\n", &listen));
    let plan = Plan { size: 2, ..Plan::default() }.edit("tls = \"disable\"", &lines);
    let before = Pooler::start(&plan, behind.addr());
    let address = poolwarden_testbed::wire::Address::Tcp(before.addr());
    let mut client = Wire::connect(&address, &bed::login()).expect("through both");
    assert_eq!(client.query("select 1").expect("served").value(), "1");
    assert!(behind.show("CLIENTS").iter().any(|row| row["tls"].starts_with("TLSv1.3/TLS_")));
}
