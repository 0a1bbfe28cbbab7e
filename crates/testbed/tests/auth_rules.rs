//! Rules and methods: the first rule that fits, PostgreSQL's words where none does, each method against its right and wrong
//! proof, processes and their maps, and users of a PgBouncer userlist.

use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::wire::{Address, Fault, Login, Notice};
use poolwarden_testbed::{Bed, Plan, Target, Wire};

fn login(user: &str, password: &str, database: &str) -> Login {
    Login { user: user.to_string(), password: password.to_string(), database: database.to_string() }
}

fn enter(address: &Address, login: &Login) -> Result<Wire, Notice> {
    match Wire::connect(address, login) {
        Ok(wire) => Ok(wire),
        Err(Fault::Server(notice)) => Err(notice),
        Err(fault) => panic!("{fault}"),
    }
}

#[track_caller]
fn refused(address: &Address, login: &Login) -> (String, String) {
    let notice = enter(address, login).map(|_| ()).expect_err("it is let in");
    (notice.code, notice.message)
}

fn socket(bed: &Bed) -> Address {
    Address::Unix(bed.pooler().expect("poolwarden").unix().expect("a unix socket").to_path_buf())
}

fn ruled(rules: &str, map: &str, userlist: &str) -> Bed {
    let auth = "method = \"hba\"\nhba = \"hba.conf\"\nident_map = \"ident.conf\"\nuserlist = \"userlist.txt\"\nfailure_delay = \"0s\"";
    let plan =
        Plan::default().auth(auth).file("hba.conf", rules).file("ident.conf", map).file("userlist.txt", userlist);
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql("create role listed login password 'wardens-secret'");
    bed
}

const LISTED: &str = "\"listed\" \"wardens-secret\"\n";

/// The name of this process's own user.
fn myself() -> String {
    let output = std::process::Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

#[test]
fn the_first_rule_that_fits_counts_and_where_none_does_postgresqls_words_are_said() {
    let rules = "host app listed 127.0.0.1/32 reject\nhost app app 127.0.0.0 255.0.0.0 scram-sha-256\nhost app listed all trust\n";
    let bed = ruled(rules, "", LISTED);
    let tcp = bed.address();
    assert!(enter(&tcp, &login("app", PASSWORD, "app")).is_ok());
    assert_eq!(refused(&tcp, &login("app", "wrong", "app")).0, "28P01");
    let told = |code: &str, message: &str| (code.to_string(), message.to_string());
    assert_eq!(
        refused(&tcp, &login("listed", PASSWORD, "app")),
        told(
            "28000",
            "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"listed\", database \"app\", no encryption"
        )
    );
    assert_eq!(
        refused(&tcp, &login("app", PASSWORD, "other")),
        told("28000", "no pg_hba.conf entry for host \"127.0.0.1\", user \"app\", database \"other\", no encryption")
    );
    assert_eq!(
        refused(&socket(&bed), &login("app", PASSWORD, "app")),
        told("28000", "no pg_hba.conf entry for host \"[local]\", user \"app\", database \"app\", no encryption")
    );
    let pooler = bed.pooler().expect("poolwarden");
    assert!(pooler.metric("poolwarden_client_login_failures_total", "reason=\"rule\"") >= 3.0);
}

#[test]
fn each_method_takes_its_right_proof_and_refuses_a_wrong_one() {
    for (method, asked) in [("password", 3), ("md5", 5), ("scram-sha-256", 10)] {
        let bed = ruled(&format!("host all listed samehost {method}\n"), "", LISTED);
        let mut wire = Wire::dial(&bed.address()).expect("a connection");
        wire.send(&poolwarden_testbed::wire::startup(&login("listed", PASSWORD, "app"))).expect("sent");
        let (_, body) = wire.receive().expect("a question");
        assert_eq!(body[..4], i32::to_be_bytes(asked), "{method}");
        let mut listed = enter(&bed.address(), &login("listed", PASSWORD, "app")).expect("the right password");
        assert_eq!(listed.query("select current_user").expect("an answer").value(), "listed", "{method}");
        assert_eq!(refused(&bed.address(), &login("listed", "wrong", "app")).0, "28P01", "{method}");
        assert_eq!(refused(&bed.address(), &login("nobody", PASSWORD, "app")).0, "28000", "{method}: no rule");
    }
}

#[test]
fn trust_asks_nothing_and_tls_rules_do_not_fit_who_comes_without() {
    let rules = "hostssl all app all trust\nhostnossl all listed all trust\n";
    let bed = ruled(rules, "", LISTED);
    let mut listed = enter(&bed.address(), &login("listed", "", "app")).expect("trusted");
    assert_eq!(listed.query("select current_user").expect("an answer").value(), "listed");
    assert_eq!(refused(&bed.address(), &login("app", PASSWORD, "app")).0, "28000");
}

#[test]
fn a_process_may_be_whom_its_users_map_says() {
    let me = myself();
    let rules = "local all app peer map=m\nlocal all listed peer\n";
    let map = format!("m /^({}).*$ app\n", &me[..1]);
    let bed = ruled(rules, &map, LISTED);
    assert!(enter(&socket(&bed), &login("app", "", "app")).is_ok());
    let (code, message) = refused(&socket(&bed), &login("listed", "", "app"));
    assert_eq!((code.as_str(), message.as_str()), ("28000", "Peer authentication failed for user \"listed\""));
}

#[test]
fn peer_without_rules_lets_in_who_has_the_same_name_and_nobody_over_tcp() {
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth("method = \"peer\""));
    let me = myself();
    let console = |user: &str| login(user, "", "app");
    assert_eq!(refused(&socket(&bed), &console("app")).0, "28000");
    assert_eq!(refused(&bed.address(), &console(&me)).0, "28000");
    bed.postgres.sql(&format!("create role \"{me}\" login"));
    // PostgreSQL asks poolwarden for a password it does not have: the login itself is what is tested.
    let outcome = enter(&socket(&bed), &console(&me));
    assert!(!outcome.is_err_and(|notice| notice.message.contains("Peer authentication")), "the same name");
}

#[test]
fn a_certificate_is_demanded_of_everybody_under_cert() {
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth("method = \"cert\""));
    let (code, message) = refused(&bed.address(), &login("app", PASSWORD, "app"));
    assert_eq!((code.as_str(), message.as_str()), ("28000", "certificate authentication failed for user \"app\""));
}

#[test]
fn names_of_a_file_and_replication_have_rules_of_their_own() {
    let rules = "host @databases.txt @users.txt all scram-sha-256\n";
    let auth = "method = \"hba\"\nhba = \"hba.conf\"\nfailure_delay = \"0s\"";
    let plan = Plan::default().auth(auth).file("hba.conf", rules);
    let plan = plan.file("users.txt", "somebody, app\n").file("databases.txt", "\"app\" # ours\n");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    assert!(enter(&bed.address(), &login("app", PASSWORD, "app")).is_ok());
    let outcome = Wire::connect_with(&bed.address(), &login("app", PASSWORD, "app"), &[("replication", "true")]);
    let Err(Fault::Server(notice)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        notice.message,
        "no pg_hba.conf entry for replication connection from host \"127.0.0.1\", user \"app\", no encryption"
    );
}

#[test]
fn secrets_of_a_userlist_in_every_form_let_in_and_serve_towards_postgresql() {
    let postgres = "create role hashed login password 'wardens-secret'";
    let auth = "method = \"scram-sha-256\"\nuserlist = \"userlist.txt\"\nfailure_delay = \"0s\"";
    let bed = Bed::start_as(Target::Poolwarden, Plan::default().auth(auth).file("userlist.txt", LISTED));
    bed.postgres.sql("create role listed login password 'wardens-secret'");
    bed.postgres.sql(postgres);
    let secret = bed.postgres.sql("select rolpassword from pg_authid where rolname = 'hashed'").value();
    let pooler = bed.pooler().expect("poolwarden");
    std::fs::write(pooler.dir().join("userlist.txt"), format!("{LISTED}\"hashed\" \"{secret}\"\n")).expect("written");
    bed.console().query("RELOAD").expect("the list is read again");
    for user in ["listed", "hashed", "app"] {
        let mut wire = enter(&bed.address(), &login(user, PASSWORD, "app")).unwrap_or_else(|e| panic!("{user}: {e:?}"));
        assert_eq!(wire.query("select current_user").expect("an answer").value(), user);
    }
}

#[test]
fn a_pool_with_a_user_of_its_own_serves_everybody_as_that_one() {
    let auth = "method = \"scram-sha-256\"\nuserlist = \"userlist.txt\"\nfailure_delay = \"0s\"";
    let plan = Plan::default().auth(auth).file("userlist.txt", "\"front\" \"only-here\"\n");
    let bed = Bed::start_as(Target::Poolwarden, plan.pool("user = \"app\""));
    let mut wire = enter(&bed.address(), &login("front", "only-here", "app")).expect("a login");
    assert_eq!(wire.query("select current_user").expect("an answer").value(), "app");
}
