//! Rules against clients.

use super::*;

fn rule(door: Door, database: RuleDatabase, from: From, demand: Demand) -> Rule {
    Rule { door, databases: vec![database], users: vec![None], from, demand }
}

fn network(address: &str, prefix: u8) -> From {
    From::Network(address.parse().unwrap(), prefix)
}

fn asked(remote: Option<&str>) -> Asked<'static> {
    let remote = remote.map(|remote| remote.parse().unwrap());
    let local = Some("10.0.0.5".parse().unwrap());
    Asked { user: "app", database: "db", replication: false, tls: false, remote, local }
}

#[test]
fn the_first_rule_that_fits_counts() {
    let any = |demand| rule(Door::Host, RuleDatabase::All, From::All, demand);
    let near = rule(Door::Host, RuleDatabase::All, network("10.0.0.0", 8), Demand::Reject);
    let rules = [near, any(Demand::Md5), any(Demand::Trust)];
    let found = |remote| first(&rules, &asked(remote)).map(|rule| rule.demand.clone());
    assert_eq!(found(Some("10.1.1.1")), Some(Demand::Reject));
    assert_eq!(found(Some("11.1.1.1")), Some(Demand::Md5));
    assert_eq!(found(None), None, "no rule is for the unix socket");
}

#[test]
fn doors_tell_tcp_tls_and_the_unix_socket_apart() {
    let fits = |door, remote: Option<&str>, tls| {
        let asked = Asked { tls, ..asked(remote) };
        rule(door, RuleDatabase::All, From::All, Demand::Trust).fits(&asked)
    };
    let here = Some("127.0.0.1");
    let table = [
        (Door::Local, [true, false, false]),
        (Door::Host, [false, true, true]),
        (Door::HostSsl, [false, false, true]),
        (Door::HostNoSsl, [false, true, false]),
    ];
    for (door, expected) in table {
        assert_eq!([fits(door, None, false), fits(door, here, false), fits(door, here, true)], expected, "{door:?}");
    }
}

#[test]
fn addresses_are_compared_by_their_family_and_prefix() {
    let fits = |from: From, remote| rule(Door::Host, RuleDatabase::All, from, Demand::Trust).fits(&asked(Some(remote)));
    assert!(fits(network("10.1.2.3", 16), "10.1.9.9"));
    assert!(!fits(network("10.1.2.3", 16), "10.2.9.9"));
    assert!(fits(network("0.0.0.0", 0), "192.0.2.1"));
    assert!(!fits(network("0.0.0.0", 0), "2001:db8::1"), "the other family");
    assert!(fits(network("10.0.0.0", 8), "::ffff:10.0.0.9"), "a mapped address is IPv4");
    assert!(fits(network("2001:db8::", 32), "2001:db8:1::1"));
    assert!(fits(network("::1", 128), "::1") && !fits(network("::1", 128), "::2"));
    assert!(fits(From::SameHost, "127.0.0.2") && fits(From::SameHost, "10.0.0.5") && !fits(From::SameHost, "10.0.0.6"));
}

#[test]
fn databases_and_users_are_names_or_keywords() {
    let of =
        |database: RuleDatabase, asked: &Asked<'_>| rule(Door::Host, database, From::All, Demand::Trust).fits(asked);
    let plain = asked(Some("10.0.0.1"));
    let same = Asked { database: "app", ..asked(Some("10.0.0.1")) };
    let replicating = Asked { replication: true, ..asked(Some("10.0.0.1")) };
    assert!(of(RuleDatabase::All, &plain) && of(RuleDatabase::Name("db".into()), &plain));
    assert!(!of(RuleDatabase::Name("other".into()), &plain) && !of(RuleDatabase::SameUser, &plain));
    assert!(of(RuleDatabase::SameUser, &same));
    assert!(!of(RuleDatabase::All, &replicating) && !of(RuleDatabase::Name("db".into()), &replicating));
    assert!(of(RuleDatabase::Replication, &replicating) && !of(RuleDatabase::Replication, &plain));
    let mut listed = rule(Door::Host, RuleDatabase::All, From::All, Demand::Trust);
    listed.users = vec![Some("other".into()), Some("app".into())];
    assert!(listed.fits(&plain));
    listed.users.pop();
    assert!(!listed.fits(&plain));
}

#[test]
fn refusals_are_in_postgresqls_words() {
    let tls = Asked { tls: true, ..asked(Some("10.0.0.1")) };
    assert_eq!(
        refusal(&tls, false),
        "no pg_hba.conf entry for host \"10.0.0.1\", user \"app\", database \"db\", SSL encryption"
    );
    assert_eq!(
        refusal(&asked(None), true),
        "pg_hba.conf rejects connection for host \"[local]\", user \"app\", database \"db\", no encryption"
    );
}

#[test]
fn a_rule_for_the_console_is_for_both_of_its_names() {
    let named = |name: &str| rule(Door::Host, RuleDatabase::Name(name.into()), From::All, Demand::Reject);
    let asks = |database| Asked { database, ..asked(Some("10.0.0.1")) };
    for name in ["poolwarden", "pgbouncer"] {
        for other in ["poolwarden", "pgbouncer"] {
            assert!(named(name).fits(&asks(other)), "{name} {other}");
        }
        assert!(!named(name).fits(&asks("db")));
        assert!(!named("db").fits(&asks(name)));
    }
}

#[test]
fn who_asks_for_the_console_does_not_pass_as_replication() {
    let any = |database, demand| rule(Door::Host, database, From::All, demand);
    let rules = [any(RuleDatabase::Replication, Demand::Trust), any(RuleDatabase::All, Demand::Scram)];
    let demanded = |database| {
        let asked = Asked { database, replication: true, ..asked(Some("10.0.0.1")) };
        first(&rules, &asked).map(|rule| rule.demand.clone())
    };
    assert_eq!(demanded("db"), Some(Demand::Trust));
    assert_eq!(demanded("poolwarden"), Some(Demand::Scram));
    assert_eq!(demanded("pgbouncer"), Some(Demand::Scram));
    let refused = Asked { database: "pgbouncer", replication: true, ..asked(Some("10.0.0.1")) };
    assert!(refusal(&refused, true).contains("database \"pgbouncer\""), "in the words of what was looked at");
}
