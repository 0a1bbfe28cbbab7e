//! Users that PostgreSQL alone knows: looked up by a role without privileges, cached, rotated, expired, and never by a client's
//! settings; and the keys that their logins bring for server connections.

use std::time::Duration;

use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::wire::{Fault, Login, Notice};
use poolwarden_testbed::{Bed, Plan, Target, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A role that asks, without a privilege but to call one function.
const LOOKUP: &str = "\
    create role lookup login password 'wardens-secret'; \
    create schema warden; \
    create function warden.secret(wanted text, out rolname text, out rolpassword text) \
      language sql stable security definer set search_path = pg_catalog as \
      $$ select rolname, case when rolvaliduntil < now() then null else rolpassword end \
         from pg_authid where rolname = wanted and rolcanlogin $$; \
    revoke all on function warden.secret(text) from public; \
    grant usage on schema warden to lookup; \
    grant execute on function warden.secret(text) to lookup";

const ASKING: &str = "method = \"scram-sha-256\"\nuser = \"lookup\"\npassword_file = \"{dir}/app.password\"\n\
    query = \"select * from warden.secret($1)\"\nfailure_delay = \"0s\"";

fn bed(lines: &str) -> Bed {
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(&format!("{ASKING}\n{lines}")));
    bed.postgres.sql(LOOKUP);
    bed
}

fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_string(), password: password.to_string(), database: "app".to_string() }
}

fn enter(bed: &Bed, user: &str, password: &str) -> Result<Wire, Notice> {
    match Wire::connect(&bed.address(), &login(user, password)) {
        Ok(wire) => Ok(wire),
        Err(Fault::Server(notice)) => Err(notice),
        Err(fault) => panic!("{fault}"),
    }
}

#[track_caller]
fn refused(bed: &Bed, user: &str, password: &str) -> Notice {
    enter(bed, user, password).map(|_| ()).expect_err("it is let in")
}

fn who(wire: &mut Wire) -> String {
    wire.query("select current_user").unwrap_or_else(|e| panic!("{e}")).value()
}

#[test]
fn a_user_that_only_postgresql_knows_logs_in_with_the_key_of_its_own_login() {
    let bed = bed("");
    bed.postgres.sql("create role alice login password 'first'");
    let mut alice = enter(&bed, "alice", "first").expect("she is known");
    assert_eq!(who(&mut alice), "alice");
    assert_eq!(refused(&bed, "alice", "wrong").code, "28P01");
}

#[test]
fn an_md5_hash_that_was_looked_up_serves_both_sides() {
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(&ASKING.replace("scram-sha-256", "md5")));
    bed.postgres.sql(LOOKUP);
    bed.postgres.sql("set password_encryption = 'md5'; create role mike login password 'old-ways'");
    bed.postgres.sql("create role alice login password 'first'");
    // PostgreSQL's own rules ask everybody for SCRAM over TCP, which an md5 hash cannot serve.
    let file = bed.postgres.sql("show hba_file").value();
    bed.postgres.sql(&format!(
        "copy (select rule from (values (1, 'local all all trust'), (2, 'host all mike 127.0.0.1/32 md5'), \
         (3, 'host all all 127.0.0.1/32 scram-sha-256')) as rules (place, rule) order by place) to '{file}'"
    ));
    bed.postgres.sql("select pg_reload_conf()");
    assert_eq!(who(&mut enter(&bed, "mike", "old-ways").expect("a login")), "mike");
    assert_eq!(refused(&bed, "mike", "new-ways").code, "28P01");
    assert_eq!(who(&mut enter(&bed, "alice", "first").expect("a SCRAM secret is asked for by SCRAM")), "alice");
}

#[test]
fn a_changed_password_works_after_one_failed_login_and_the_old_one_no_more() {
    let bed = bed("");
    bed.postgres.sql("create role alice login password 'first'");
    assert_eq!(who(&mut enter(&bed, "alice", "first").expect("a login")), "alice");
    bed.postgres.sql("alter role alice password 'second'");
    bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'");
    let mut failures = 0;
    let mut alice = until("the new password to work", PATIENCE, || match enter(&bed, "alice", "second") {
        Ok(wire) => Some(wire),
        Err(notice) => {
            assert_eq!(notice.code, "28P01");
            failures += 1;
            None
        }
    });
    assert!(failures > 0, "the answer was still fresh");
    assert_eq!(who(&mut alice), "alice", "the new key serves towards PostgreSQL");
    assert_eq!(refused(&bed, "alice", "first").code, "28P01");
}

#[test]
fn a_client_that_stays_hears_that_its_password_has_changed_and_the_next_login_mends_it() {
    let bed = bed("");
    bed.postgres.sql("create role alice login password 'first'");
    let mut stays = enter(&bed, "alice", "first").expect("a login");
    assert_eq!(who(&mut stays), "alice");
    bed.postgres.sql("alter role alice password 'second'");
    bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'");
    let gone = || bed.show("SERVERS").iter().all(|row| row["user"] != "alice");
    until("her server connection to be gone", PATIENCE, || gone().then_some(()));
    let told = until("the old key to be refused", PATIENCE, || match stays.query("select 1") {
        Ok(_) => None,
        Err(Fault::Server(notice)) => notice.message.contains("log in again").then_some(notice),
        Err(fault) => panic!("{fault}"),
    });
    assert!(told.message.contains("alice"), "{told:?}");
    let mut alice = until("the new password to work", PATIENCE, || enter(&bed, "alice", "second").ok());
    assert_eq!(who(&mut alice), "alice");
    assert_eq!(who(&mut stays), "alice", "the key of the other login serves this client too");
}

#[test]
fn nobody_tells_an_expired_user_from_an_unknown_one() {
    let bed = bed("");
    bed.postgres.sql("create role late login password 'first' valid until '2020-01-01'");
    bed.postgres.sql("create role group_only nologin password 'first'");
    let words = |user: &str| refused(&bed, user, "first").message.replace(user, "USER");
    assert_eq!(words("late"), words("nobody"));
    assert_eq!(words("group_only"), words("nobody"));
    let conversation = |user: &str| challenge(&bed, user);
    let (first, second) = (conversation("nobody"), conversation("nobody"));
    assert_eq!(salt(&first), salt(&second), "the salt of nobody is as stable as a stored one");
    assert_ne!(salt(&first), salt(&conversation("nobody2")));
    let iterations = |text: &str| text.rsplit(",i=").next().map(str::to_owned);
    bed.postgres.sql("create role alice login password 'first'");
    assert_eq!(iterations(&first), iterations(&conversation("alice")));
}

/// The server-first message for a user.
fn challenge(bed: &Bed, user: &str) -> String {
    let mut wire = Wire::dial(&bed.address()).expect("a connection");
    wire.send(&poolwarden_testbed::wire::startup(&login(user, ""))).expect("sent");
    let (tag, body) = wire.receive().expect("a question");
    assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 10][..]));
    let first = "n,,n=,r=a-nonce-of-a-client";
    let length = i32::try_from(first.len()).expect("short").to_be_bytes();
    let message = [b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat();
    wire.send(&poolwarden_testbed::wire::message(b'p', &message)).expect("sent");
    let (tag, body) = wire.receive().expect("a challenge");
    assert_eq!(tag, b'R');
    String::from_utf8_lossy(&body[4..]).into_owned()
}

fn salt(challenge: &str) -> String {
    challenge.split(',').find_map(|part| part.strip_prefix("s=")).expect("a salt").to_string()
}

#[test]
fn an_unknown_database_is_told_after_the_login_alone() {
    let bed = bed("");
    bed.postgres.sql("create role alice login password 'first'");
    let at = |user: &str, password: &str| {
        let login = Login { database: "nowhere".to_string(), ..login(user, password) };
        match Wire::connect(&bed.address(), &login) {
            Err(Fault::Server(notice)) => notice.code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(at("alice", "first"), "28P01", "nobody is looked up for a database that does not exist");
    assert_eq!(at("nobody", "first"), "28P01");
    assert_eq!(at("app", "wrong"), "28P01");
    assert_eq!(at("app", PASSWORD), "3D000");
}

#[test]
fn users_log_in_from_memory_while_postgresql_is_away_and_are_asked_about_again_when_it_is_back() {
    let mut bed = bed("cache = \"1s\"");
    bed.postgres.sql("create role alice login password 'first'");
    bed.postgres.sql("create role bob login password 'first'");
    assert_eq!(who(&mut enter(&bed, "alice", "first").expect("a login")), "alice");
    bed.postgres.stop();
    let mut waiting = enter(&bed, "alice", "first").expect("what was answered before serves");
    assert_eq!(refused(&bed, "alice", "wrong").code, "28P01");
    assert_eq!(refused(&bed, "bob", "first").code, "57P03", "nothing is known of him");
    bed.postgres.restart();
    let mut bob = until("bob to be looked up", PATIENCE, || enter(&bed, "bob", "first").ok());
    assert_eq!(who(&mut bob), "bob");
    until("the server to be reached again", PATIENCE, || waiting.query("select 1").ok());
}

#[test]
fn a_clients_settings_never_reach_the_look_up() {
    let auth =
        "method = \"scram-sha-256\"\nuser = \"asker\"\npassword_file = \"{dir}/app.password\"\nfailure_delay = \"0s\"";
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(auth));
    bed.postgres.sql("create role asker superuser login password 'wardens-secret'");
    bed.postgres.sql("create role victim superuser login password 'not to be known'");
    bed.postgres.sql(
        "create schema evil; create table evil.pg_authid as select rolname::text, rolpassword, true as rolcanlogin, \
         null::timestamptz as rolvaliduntil from pg_catalog.pg_authid where rolname = 'app'; \
         update evil.pg_authid set rolname = 'victim'; grant all on schema evil to public; \
         grant all on evil.pg_authid to public; alter role asker set search_path = evil, pg_catalog",
    );
    for settings in [[("options", "-c search_path=evil")], [("search_path", "evil")]] {
        let outcome = Wire::connect_with(&bed.address(), &login("victim", PASSWORD), &settings);
        assert!(matches!(outcome, Err(Fault::Server(notice)) if notice.code == "28P01"), "{settings:?}");
    }
    assert_eq!(refused(&bed, "' or true --", "x").code, "28P01");
    let asking =
        "select count(*) from pg_stat_activity where usename = 'asker' and application_name = 'poolwarden auth'";
    assert_eq!(bed.postgres.sql(asking).value(), "1", "one connection asks");
}

#[test]
fn a_query_that_fails_is_said_in_the_log_and_not_to_clients() {
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(ASKING));
    bed.postgres.sql("create role lookup login password 'wardens-secret'");
    let notice = refused(&bed, "alice", "first");
    assert_eq!(notice.code, "57P03");
    assert!(!notice.message.contains("warden"), "{notice:?}");
    let pooler = bed.pooler().expect("poolwarden");
    until("the reason in the log", PATIENCE, || {
        pooler.log().contains("schema \"warden\" does not exist").then_some(())
    });
    assert!(pooler.metric("poolwarden_client_login_failures_total", "reason=\"lookup\"") >= 1.0);
}

#[test]
fn two_hundred_logins_derive_no_key() {
    let bed = bed("");
    bed.postgres.sql("create role alice login password 'first'");
    let pooler = bed.pooler().expect("poolwarden");
    let derived = || pooler.metric("poolwarden_scram_derivations_total", "");
    for (user, password) in [("app", PASSWORD), ("alice", "first")] {
        assert_eq!(who(&mut enter(&bed, user, password).expect("a login")), user);
    }
    let before = derived();
    for _ in 0..100 {
        assert_eq!(who(&mut enter(&bed, "app", PASSWORD).expect("a login")), "app");
        assert_eq!(who(&mut enter(&bed, "alice", "first").expect("a login")), "alice");
    }
    // Server connections as well, new ones for both.
    bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename in ('app', 'alice')");
    for (user, password) in [("app", PASSWORD), ("alice", "first")] {
        until("a new server connection", PATIENCE, || enter(&bed, user, password).ok()?.query("select 1").ok());
    }
    assert!((derived() - before).abs() < 0.5, "{} derivations", derived() - before);
}
