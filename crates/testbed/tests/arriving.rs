//! How clients prove who they are, and what balancers before them say.

use poolwarden_testbed::wire::{cancel, startup};
use poolwarden_testbed::{Bed, Fault, Login, Plan, Target, Wire, bed, place};

const SCRAM: &str = "method = \"scram-sha-256\"";

fn start(plan: Plan) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size: 2, ..plan })
}

fn refused(bed: &Bed, login: &Login) -> String {
    Wire::connect(&bed.address(), login).expect_err("let in").to_string()
}

/// The number of the first authentication request.
fn asked_for(bed: &Bed) -> i32 {
    let mut wire = Wire::dial(&bed.address()).expect("connect");
    wire.send(&startup(&bed::login())).expect("sent");
    let (tag, body) = wire.receive().expect("an authentication request");
    assert_eq!(tag, b'R');
    i32::from_be_bytes(body[..4].try_into().expect("a number"))
}

#[test]
fn every_method_lets_the_right_password_in_and_no_other() {
    let _machine = place::machine(false);
    for (method, number) in [("password", 3), ("md5", 5), ("scram-sha-256", 10)] {
        let bed = start(Plan::default().edit(SCRAM, &format!("method = \"{method}\"")));
        assert_eq!(asked_for(&bed), number, "{method}");
        assert_eq!(bed.client().query("select current_user").expect("served").value(), "app");
        let told = refused(&bed, &Login { password: "wrong".into(), ..bed::login() });
        assert!(told.contains("28P01"), "{method}: {told}");
        let told = refused(&bed, &Login { password: String::new(), ..bed::login() });
        assert!(told.contains("28"), "{method}: {told}");
    }
}

#[test]
fn trust_asks_for_nothing() {
    let _machine = place::machine(false);
    let bed = start(Plan::default().edit(SCRAM, "method = \"trust\""));
    assert_eq!(asked_for(&bed), 0);
    let mut wire = Wire::connect(&bed.address(), &Login { password: String::new(), ..bed::login() }).expect("let in");
    assert_eq!(wire.query("select current_user").expect("served").value(), "app");
}

#[test]
fn an_unknown_user_cannot_be_told_from_a_wrong_password() {
    let _machine = place::machine(false);
    for method in ["password", "md5", "scram-sha-256"] {
        let bed = start(Plan::default().edit(SCRAM, &format!("method = \"{method}\"")));
        let fault = |user: &str| {
            let login = Login { user: user.into(), password: "wrong".into(), ..bed::login() };
            match Wire::connect(&bed.address(), &login) {
                Err(Fault::Server(notice)) => {
                    (notice.code, notice.message.replace(user, "USER"), notice.detail, notice.hint)
                }
                other => panic!("{method} {user}: {:?}", other.map(|_| ())),
            }
        };
        assert_eq!(fault("app"), fault("nobody"), "{method}");
        // The first answer neither: a salt for SCRAM comes for both, and stays the same.
        let salt = |user: &str| {
            let mut wire = Wire::dial(&bed.address()).expect("connect");
            wire.send(&startup(&Login { user: user.into(), ..bed::login() })).expect("sent");
            wire.receive().expect("a request").1.len()
        };
        assert_eq!(salt("app"), salt("nobody"), "{method}");
    }
}

#[test]
fn a_database_nobody_serves_is_told_after_the_login_only() {
    let _machine = place::machine(false);
    let bed = start(Plan::default());
    let nowhere = Login { database: "nowhere".into(), ..bed::login() };
    assert!(refused(&bed, &nowhere).contains("3D000"));
    let told = refused(&bed, &Login { password: "wrong".into(), ..nowhere });
    assert!(told.contains("28P01"), "{told}");
}

/// A PROXY protocol v2 header for a client at 203.0.113.7:4711.
fn proxy_header() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([203, 0, 113, 7, 127, 0, 0, 1]);
    header.extend(4711_u16.to_be_bytes());
    header.extend(6432_u16.to_be_bytes());
    header
}

#[test]
fn a_trusted_balancer_names_its_client_and_junk_is_closed() {
    let _machine = place::machine(false);
    let bed = start(Plan::default().edit("http = ", "proxy_protocol = [\"127.0.0.0/8\"]\nhttp = "));
    let address = bed.address();
    let arrive = |header: &[u8], login: &Login| {
        let mut wire = Wire::dial(&address).expect("connect");
        // In two pieces: a header may come in any.
        let (head, tail) = header.split_at(header.len() / 2);
        wire.send(head).and_then(|()| wire.send(tail)).expect("sent");
        wire.send(&startup(login)).expect("sent");
        wire.log_in(login).map(|()| wire)
    };
    let mut client = arrive(&proxy_header(), &bed::login()).expect("logged in");
    client.query("select 1").expect("served");
    let console = Login { database: "poolwarden".into(), ..bed::login() };
    let mut console = arrive(&proxy_header(), &console).expect("logged in");
    let clients = console.query("SHOW CLIENTS").expect("SHOW CLIENTS");
    let cells = |wanted: &str| clients.rows.iter().flatten().flatten().any(|cell| cell == wanted);
    assert!(cells("203.0.113.7") && cells("4711"), "{:?}", clients.rows);
    // A balancer's own health check says LOCAL, and then nothing: neither an error nor a client.
    let mut check = Wire::dial(&address).expect("connect");
    check.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").expect("sent");
    check.finish().expect("a socket");
    assert_eq!(check.rest(0).expect("closed"), 0);
    for junk in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", &startup(&bed::login())] {
        let mut wire = Wire::dial(&address).expect("connect");
        wire.send(junk).expect("sent");
        wire.finish().expect("a socket");
        assert!(wire.rest(1024).is_ok(), "junk was kept open");
    }
    assert_eq!(client.query("select 2").expect("undisturbed").value(), "2");
}

#[test]
fn a_header_from_a_network_that_is_not_trusted_is_no_start_up() {
    let _machine = place::machine(false);
    let bed = start(Plan::default().edit("http = ", "proxy_protocol = [\"10.0.0.0/8\"]\nhttp = "));
    let mut wire = Wire::dial(&bed.address()).expect("connect");
    wire.send(&proxy_header()).expect("sent");
    wire.finish().expect("a socket");
    assert!(wire.rest(1024).is_ok(), "kept open");
    let mut client = bed.client();
    client.query("select 1").expect("without a header");
    cancel(&bed.address(), &client.key).expect("closed without a word");
}
