//! TLS between clients and the pooler: every mode, certificates of both sides, direct TLS, channel binding, and what must not pass.

use std::path::Path;
use std::process::Command;

use poolwarden_testbed::certificate::{Authority, Issued, Signature, Wanted};
use poolwarden_testbed::fault_proxy::{Harm, Harms};
use poolwarden_testbed::place::Place;
use poolwarden_testbed::wire::startup;
use poolwarden_testbed::{Bed, Plan, Target, Wire, bed, client, libpq, place, until};
use std::time::Duration;

/// An authority, the pooler's certificate, and a client's.
struct Papers {
    place: Place,
    authority: Authority,
    own: Issued,
}

impl Papers {
    fn new(signature: Signature) -> Papers {
        let place = Place::new("papers");
        let authority = Authority::new(&place, "authority", signature);
        let wanted = Wanted { common_name: "pooler", names: &["pooler.test", "127.0.0.1"], days: 90 };
        let own = authority.issue(&place, "pooler", &wanted);
        Papers { place, authority, own }
    }

    fn client(&self, name: &str, days: i64) -> Issued {
        self.authority.issue(&self.place, name, &Wanted { common_name: name, names: &[], days })
    }

    fn listen(&self, more: &str) -> String {
        let Issued { certificate, key } = &self.own;
        format!("[listen.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}\n[console]\n")
    }

    fn start(&self, more: &str) -> Bed {
        Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() }.edit("[console]\n", &self.listen(more)))
    }

    fn root(&self) -> String {
        format!("sslrootcert={}", self.authority.certificate.display())
    }
}

fn shown(identity: &Issued) -> String {
    format!("sslcert={} sslkey={}", identity.certificate.display(), identity.key.display())
}

/// Runs the table: each string with the beginning of what must come of it, and a piece of the message where it fails.
#[track_caller]
fn expect(bed: &Bed, table: &[(String, &str, &str)]) {
    let strings: Vec<String> = table.iter().map(|(string, ..)| string.clone()).collect();
    for ((string, begins, holds), got) in table.iter().zip(libpq::attempts(bed, bed.addr(), &strings)) {
        assert!(got.starts_with(begins) && got.contains(holds), "{string}: {got}");
    }
}

#[test]
fn each_mode_serves_and_refuses_whom_it_says() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let ca = format!("client_ca = {:?}\n", papers.authority.certificate);
    let strange = Authority::new(&papers.place, "strange", Signature::Sha256);
    let stranger = strange.issue(&papers.place, "stranger", &Wanted { common_name: "app", names: &[], days: 9 });
    let (good, expired) = (papers.client("app", 9), papers.client("late", -9));
    let with = |mode: &str, identity: &Issued| format!("sslmode={mode} {}", shown(identity));
    let clear = "sslmode=disable".to_string();
    let asks = "sslmode=require".to_string();
    let full = format!("host=pooler.test sslmode=verify-full {}", papers.root());
    let lies = format!("host=other.test sslmode=verify-full {}", papers.root());
    let refusal = "no pg_hba.conf entry for host \"127.0.0.1\", user \"app\", database \"app\", no encryption";
    for mode in ["disable", "allow", "prefer", "require"] {
        let bed = papers.start(&format!("mode = \"{mode}\"\n"));
        let (off, required) = (mode == "disable", mode == "require");
        let either = |yes: bool, is: &'static str, not: &'static str| if yes { is } else { not };
        expect(
            &bed,
            &[
                (clear.clone(), either(required, "failed", "clear"), either(required, refusal, "")),
                (asks.clone(), either(off, "failed", "tls"), either(off, "server does not support SSL", "")),
                ("sslmode=prefer".into(), either(off, "clear", "tls"), ""),
                ("sslmode=allow".into(), either(required, "tls", "clear"), ""),
                (full.clone(), either(off, "failed", "tls"), ""),
                (lies.clone(), "failed", either(off, "", "does not match host name")),
                (with("require", &stranger), either(off, "failed", "tls"), ""), // nobody asks for its certificate
            ],
        );
    }
    // With authorities for clients: who comes without a certificate is welcome, a wrong one is not.
    let bed = papers.start(&format!("mode = \"prefer\"\n{ca}"));
    expect(
        &bed,
        &[
            (clear.clone(), "clear", ""),
            (asks.clone(), "tls", ""),
            (with("require", &good), "tls", ""),
            (with("require", &stranger), "failed", "alert"),
            (with("require", &expired), "failed", "alert"),
        ],
    );
    for mode in ["verify-ca", "verify-full"] {
        let bed = papers.start(&format!("mode = \"{mode}\"\n{ca}"));
        expect(
            &bed,
            &[
                (clear.clone(), "failed", refusal),
                (asks.clone(), "failed", "alert"),
                (with("require", &good), "tls", ""),
                (with("require", &stranger), "failed", "alert"),
                (with("require", &expired), "failed", "alert"),
            ],
        );
        // One line says who failed and why.
        until("the failed handshakes to be logged", Duration::from_secs(5), || {
            let log = bed.pooler().expect("poolwarden").log();
            (log.contains("TLS handshake with a client failed") && log.contains("127.0.0.1")).then_some(())
        });
    }
}

#[test]
fn direct_tls_is_served_and_needs_its_name() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let bed = papers.start("");
    expect(
        &bed,
        &[
            ("sslmode=require sslnegotiation=direct".into(), "tls", ""),
            (format!("host=pooler.test sslmode=verify-full sslnegotiation=direct {}", papers.root()), "tls", ""),
            ("sslmode=require sslnegotiation=postgres".into(), "tls", ""),
        ],
    );
    let said = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &bed.addr().to_string(), "-brief"]).args(arguments);
        client::run(command.stdin(std::process::Stdio::null()))
    };
    // Without ALPN the handshake ends, and then the connection, unheard; a name that is not PostgreSQL's is an alert.
    let (_, told) = said(&["-alpn", "postgresql"]);
    assert!(told.contains("CONNECTION ESTABLISHED"), "{told}");
    for wrong in [&["-alpn", "h2"][..], &["-starttls", "postgres", "-alpn", "h2"]] {
        let (_, told) = said(wrong);
        assert!(told.contains("no application protocol"), "{wrong:?}: {told}");
    }
    let (_, told) = said(&["-starttls", "postgres"]);
    assert!(told.contains("CONNECTION ESTABLISHED"), "without ALPN behind an SSLRequest: {told}");
    let _ = said(&[]);
    until("direct TLS without ALPN to be logged", Duration::from_secs(5), || {
        bed.pooler().expect("poolwarden").log().contains("direct TLS without ALPN").then_some(())
    });
}

#[test]
fn a_login_is_bound_to_its_connection() {
    let _machine = place::machine(false);
    for signature in [Signature::Sha256, Signature::Sha384, Signature::Sha512] {
        let bed = Papers::new(signature).start("min_version = \"1.3\"\n");
        expect(
            &bed,
            &[
                ("sslmode=require channel_binding=require".into(), "tls", ""),
                ("sslmode=require channel_binding=prefer".into(), "tls", ""),
                ("sslmode=require channel_binding=disable".into(), "tls", ""),
                ("sslmode=require sslnegotiation=direct channel_binding=require".into(), "tls", ""),
                ("sslmode=disable channel_binding=require".into(), "failed", "channel binding"),
                ("sslmode=require channel_binding=require max_protocol_version=3.2".into(), "tls 30002", ""),
                ("sslmode=require ssl_max_protocol_version=TLSv1.2".into(), "failed", "protocol version"),
            ],
        );
    }
    // A signature without a hash function of its own: no binding is offered, and a login without it goes on.
    let bed = Papers::new(Signature::Ed25519).start("");
    expect(
        &bed,
        &[
            ("sslmode=require channel_binding=prefer".into(), "tls", ""),
            ("sslmode=require ssl_max_protocol_version=TLSv1.2".into(), "tls", ""),
            ("sslmode=require channel_binding=require".into(), "failed", "channel binding"),
        ],
    );
}

#[test]
fn what_is_slipped_in_behind_an_ssl_request_ends_the_connection() {
    let _machine = place::machine(false);
    let bed = Papers::new(Signature::Sha256).start("");
    let ask = [0, 0, 0, 8, 4, 210, 22, 47];
    for behind in [&startup(&bed::login())[..], b"x"] {
        let mut wire = Wire::dial(&bed.address()).expect("connect");
        wire.send(&[&ask[..], behind].concat()).expect("sent");
        let (tag, body) = wire.receive().expect("an error, not S");
        assert!(tag == b'E' && String::from_utf8_lossy(&body).contains("received unencrypted data after SSL request"));
        assert_eq!(wire.rest(1024).expect("closed"), 0);
    }
    // Plaintext after S is no handshake.
    let mut wire = Wire::dial(&bed.address()).expect("connect");
    wire.send(&ask).expect("sent");
    let mut yes = [0; 1];
    wire.fill(&mut yes).expect("an answer");
    assert_eq!(&yes, b"S");
    wire.send(&startup(&bed::login())).expect("sent");
    assert!(wire.rest(64).is_ok(), "kept open");
    bed.client().query("select 1").expect("others are undisturbed");
}

#[test]
fn handshakes_arrive_in_single_bytes_and_in_crumbs() {
    let _machine = place::machine(false);
    let bed = Papers::new(Signature::Sha256).start("");
    let line = poolwarden_testbed::fault_proxy::FaultProxy::start(bed.addr(), 7);
    let strings: Vec<String> =
        ["", "sslnegotiation=direct", "ssl_max_protocol_version=TLSv1.2", "channel_binding=require"]
            .map(|more| format!("sslmode=require {more}"))
            .into();
    for harm in [Harm::Split(1), Harm::Shred(40)] {
        line.harm(Harms::both(harm));
        for (string, got) in strings.iter().zip(libpq::attempts(&bed, line.addr(), &strings)) {
            assert!(got.starts_with("tls"), "{harm:?} {string}: {got}");
        }
    }
}

#[test]
fn the_unix_socket_never_has_tls_and_is_never_refused_for_it() {
    let _machine = place::machine(false);
    let bed = Papers::new(Signature::Sha256).start("mode = \"require\"\n");
    let socket = bed.pooler().expect("poolwarden").unix().expect("a unix socket").to_path_buf();
    let mut wire = Wire::dial(&poolwarden_testbed::wire::Address::Unix(socket.clone())).expect("connect");
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]).expect("sent");
    let mut answer = [0; 1];
    wire.fill(&mut answer).expect("an answer");
    assert_eq!(&answer, b"N");
    let mut wire = Wire::connect(&poolwarden_testbed::wire::Address::Unix(socket), &bed::login()).expect("let in");
    assert_eq!(wire.query("select 1").expect("served").value(), "1");
}

/// What a start with this file says, which must be refused.
fn start_refused(papers: &Papers, listen: &str) -> String {
    let place = Place::new("broken");
    place.write("app.password", "x");
    let text = format!(
        "[poolwarden]\ndata_dir = \"{0}/data\"\n[listen]\naddress = \"127.0.0.1:0\"\nhttp = \"off\"\n{listen}\n\
         [servers.main]\nhost = \"127.0.0.1\"\n[auth]\nmethod = \"trust\"\n",
        place.path().display()
    );
    let file = place.write("poolwarden.toml", &text);
    let mut command = Command::new(poolwarden_testbed::pooler::binary());
    let (served, said) = client::run(command.args(["run", "-c"]).arg(file).current_dir(papers.place.path()));
    assert!(!served, "it started:\n{said}");
    said
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let _machine = place::machine(false);
    let papers = Papers::new(Signature::Sha256);
    let other = papers.client("other", 9);
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let (own, key) = (name(&papers.own.certificate), name(&papers.own.key));
    papers.place.write("junk.pem", "-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n");
    papers.place.write("empty.pem", "nothing here\n");
    for (certificate, key, blamed, why) in [
        ("nowhere.crt", key.as_str(), "nowhere.crt", "cannot be read: No such file"),
        (&own, "nowhere.key", "nowhere.key", "cannot be read: No such file"),
        (&own, &name(&other.key), &name(&other.key), "is not the key of the certificate in"),
        (&own, "empty.pem", "empty.pem", "holds no private key"),
        ("empty.pem", &key, "empty.pem", "holds no certificate"),
        ("junk.pem", &key, "junk.pem", "the certificate cannot be used"),
    ] {
        let dir = papers.place.path().display();
        let said = start_refused(
            &papers,
            &format!("[listen.tls]\ncertificate = \"{dir}/{certificate}\"\nkey = \"{dir}/{key}\""),
        );
        assert!(
            said.contains(blamed) && said.contains(why) && said.contains("[listen.tls]"),
            "{certificate} {key}: {said}"
        );
    }
}
