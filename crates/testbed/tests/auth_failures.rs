//! Wrong passwords: told late, counted per source and user, refused unheard when there are too many; and nobody else notices.

use std::time::{Duration, Instant};

use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::wire::{Address, Fault, Login, Notice};
use poolwarden_testbed::{Bed, Plan, Target, Wire, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn login(user: &str, password: &str) -> Login {
    Login { user: user.to_string(), password: password.to_string(), database: "app".to_string() }
}

fn refused(address: &Address, login: &Login) -> Notice {
    match Wire::connect(address, login) {
        Err(Fault::Server(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_login_is_told_late_and_a_success_is_not_slowed() {
    let auth = "method = \"scram-sha-256\"\nfailure_delay = \"2s\"";
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(auth));
    drop(bed.client());
    for user in ["app", "nobody"] {
        let began = Instant::now();
        assert_eq!(refused(&bed.address(), &login(user, "wrong")).code, "28P01");
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1_400), "{user}: told after {took:?}");
    }
    let began = Instant::now();
    drop(bed.client());
    assert!(began.elapsed() < Duration::from_millis(1_000), "a success took {:?}", began.elapsed());
}

#[test]
fn those_who_wait_to_be_told_take_no_place_of_those_who_log_in() {
    let auth = "method = \"scram-sha-256\"\nfailure_delay = \"30s\"\nfailures_per_minute = 0";
    let plan = Plan::default().auth(auth).edit("[limits]\n", "[limits]\nmax_logins = 3\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let pooler = bed.pooler().expect("poolwarden");
    let address = bed.address();
    std::thread::scope(|scope| {
        let wrong: Vec<Wire> = (0..12)
            .map(|count| {
                let mut wire = Wire::dial(&address).expect("a connection");
                let login = login("app", "wrong");
                wire.send(&poolwarden_testbed::wire::startup(&login)).expect("sent");
                let mut twin = wire.twin();
                // It reads the challenge and answers; the refusal is for later.
                scope.spawn(move || drop(twin.log_in(&login)));
                let failures = || pooler.metric("poolwarden_client_login_failures_total", "reason=\"credentials\"");
                until("the failure to be counted", PATIENCE, || (failures() > f64::from(count)).then_some(()));
                wire
            })
            .collect();
        let began = Instant::now();
        let mut client = bed.client();
        assert_eq!(client.query("select 1").expect("an answer").value(), "1");
        assert!(began.elapsed() < Duration::from_secs(10), "it waited behind failures for {:?}", began.elapsed());
        wrong.iter().for_each(|wire| drop(wire.finish()));
        wrong.into_iter().for_each(Wire::reset);
    });
}

#[test]
fn too_many_failures_are_refused_unheard_for_that_user_from_that_source_alone() {
    let auth =
        "method = \"scram-sha-256\"\nfailure_delay = \"0s\"\nfailures_per_minute = 3\nuserlist = \"userlist.txt\"";
    let plan = Plan::default().auth(auth).file("userlist.txt", "\"other\" \"wardens-secret\"\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql("create role other login password 'wardens-secret'");
    let tcp = bed.address();
    for _ in 0..3 {
        assert!(refused(&tcp, &login("app", "wrong")).message.starts_with("password authentication failed"));
    }
    let told = refused(&tcp, &login("app", "wrong"));
    assert_eq!((told.code.as_str(), told.message.contains("too many failed logins")), ("28P01", true), "{told:?}");
    let pooler = bed.pooler().expect("poolwarden");
    assert!(pooler.metric("poolwarden_client_login_failures_total", "reason=\"limited\"") >= 1.0);
    Wire::connect(&tcp, &login("other", PASSWORD)).expect("another user from there");
    let socket = Address::Unix(pooler.unix().expect("a unix socket").to_path_buf());
    Wire::connect(&socket, &login("app", PASSWORD)).expect("the same user from elsewhere");
}
