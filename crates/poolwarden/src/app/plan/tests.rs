//! From a file's text to what the proxy is told.

use std::path::PathBuf;
use std::time::Duration;

use poolwarden_config::{SecretRef, render};
use poolwarden_pool::ClassId;
use poolwarden_relay::pgwire::password::Secret;
use poolwarden_relay::pgwire::scram;

use super::*;

const SEED: Seed = [7; 32];

fn config(text: &str) -> Config {
    let (config, findings) = Config::parse(text, |wanted| match wanted {
        SecretRef::Env(name) | SecretRef::File(name) | SecretRef::Text(name) => Ok(format!("{name}-password")),
    });
    config.unwrap_or_else(|| panic!("{}", render("test", text, &findings)))
}

const SERVERS: &str = "[servers.main]\nhost = \"db.internal\"\nport = 5433\n";

#[test]
fn servers_keep_their_order_and_address() {
    let text = "[servers.b]\nhost = \"db\"\nwatch = { user = \"w\", password_env = \"W\", database = \"d\" }\n\
                tcp_user_timeout = \"0s\"\nkeepalive = \"9s\"\n\
                [servers.a]\nhost = \"/run/pg\"\nport = 5434\n\
                [pools.x]\nserver = \"b\"\ndatabase = \"y\"\nsize = 3\n";
    let plan = settings(&config(text), SEED);
    let names: Vec<_> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(plan.hosts[0].address, Address::Unix(PathBuf::from("/run/pg/.s.PGSQL.5434")));
    assert_eq!(plan.hosts[1].address, Address::Tcp { host: "db".into(), port: 5432 });
    assert_eq!((plan.hosts[1].tcp_user_timeout, plan.hosts[1].keepalive), (None, Some(Duration::from_secs(9))));
    let watch = plan.hosts[1].watch.as_ref().unwrap();
    assert_eq!(
        (watch.user.as_str(), watch.password.as_deref(), watch.database.as_str()),
        ("w", Some("W-password"), "d")
    );
    let route = &plan.directory.routes["x"];
    assert_eq!((route.host, route.database.as_deref()), (HostId(1), Some("y")));
    assert!(plan.hosts[0].core.databases.is_empty() && plan.hosts[1].core.databases["x"].size == 3);
}

#[test]
fn who_is_listed_without_a_password_is_barred_unless_the_file_gives_one() {
    let mut config =
        config(&format!("{SERVERS}[users.app]\npassword_env = \"A\"\n[users.kept]\nmax_connections = 1\n"));
    for name in ["app", "kept", "listed"] {
        config.auth.listed.insert(name.into(), None);
    }
    let users = settings(&config, SEED).directory.users;
    assert_eq!(["app", "kept", "listed"].map(|name| users[name].barred), [false, true, true]);
}

#[test]
fn a_password_is_salted_once_and_only_where_scram_asks_for_it() {
    let text = format!("{SERVERS}[users.app]\npassword_env = \"A\"\n[users.nobody]\nmax_connections = 1\n");
    let plan = settings(&config(&text), SEED);
    let Some(Secret::Plain(plain)) = &plan.directory.users["app"].secret else { panic!("a plain password") };
    assert_eq!(plain.scram(b"another").salt, scram::salt(&SEED, "app"));
    assert!(plain.fits("A-password"));
    let nobody = &plan.directory.users["nobody"];
    assert!(nobody.secret.is_none() && !nobody.barred, "its password may be looked up");
    let plan = settings(&config(&format!("{text}[auth]\nmethod = \"md5\"\n")), SEED);
    let Some(Secret::Plain(plain)) = &plan.directory.users["app"].secret else { panic!("a plain password") };
    assert_eq!(plain.scram(b"another").salt, b"another");
}

#[test]
fn a_reset_is_asked_for_wherever_somebody_may_be_in_session_mode() {
    let reset = |text: &str| {
        let core = settings(&config(&format!("{SERVERS}{text}")), SEED).hosts.remove(0).core;
        (core.databases.get("x").map(|of| of.reset), core.any.map(|of| of.reset))
    };
    assert_eq!(reset("[pools.x]\n[pools.\"*\"]\nmode = \"session\"\n"), (Some(false), Some(true)));
    assert_eq!(reset("[pools.x]\n[pools.\"*\"]\n[users.u]\nmode = \"session\"\n"), (Some(true), Some(true)));
    assert_eq!(reset("[pools.x]\nmode = \"session\"\nserver_reset_query = \"\"\n"), (Some(false), None));
    assert_eq!(reset("[pools.x]\nreset = \"always\"\n"), (Some(true), None));
}

#[test]
fn the_terms_book_holds_each_pools_terms_and_each_users_mode() {
    let text = "[pools.x]\nmode = \"statement\"\nmax_prepared_statements = 7\nserver_reset_query = \"\"\n\
                reset = \"always\"\nsession_state = \"refuse\"\nstartup = { statement_timeout = \"30s\" }\nquery_timeout = \"3s\"\nclient_idle_timeout = \"0s\"\n\
                [pools.\"*\"]\nmode = \"session\"\n[users.u]\nmode = \"session\"\nquery_timeout = \"0s\"\n";
    let book = settings(&config(&format!("{SERVERS}{text}")), SEED).terms;
    let expected = PoolTerms {
        keep: Keep::Statement,
        statements: 7,
        track: [].into(),
        reset_query: String::new(),
        reset_always: true,
        session_state: SessionState::Refuse,
        startup: vec![("statement_timeout".into(), "30s".into())],
        patience: Patience { query: Some(Duration::from_secs(3)), ..Patience::default() },
        class: None,
    };
    assert_eq!(book.databases["x"], expected);
    assert_eq!((book.any.keep, book.any.reset_query.as_str()), (Keep::Session, "DISCARD ALL"));
    let own = Patience { query: Some(Duration::ZERO), ..Patience::default() };
    assert_eq!(book.users["u"], UserTerms { keep: Some(Keep::Session), patience: own, ..UserTerms::default() });
}

#[test]
fn what_the_switch_is_told_of_classes_stands_under_the_cores_ids() {
    let text = format!(
        "{SERVERS}[users.a]\n[users.b]\nclass = \"critical\"\ntrust_labels = true\n[pools.x]\nclass = \"nightly\"\n\
         [classes.nightly]\nweight = 2\nreserve = 1\napplications = [\"etl*\"]\nnetworks = [\"10.1.0.0/16\"]\n\
         transaction_timeout = \"5m\"\n[poolwarden]\nguard = \"observe\"\n"
    );
    let plan = settings(&config(&text), SEED);
    let (book, core) = (&plan.terms, &plan.hosts[0].core);
    let told: Vec<_> = book.classes.classes.iter().map(|of| (of.name.as_str(), of.weight, of.reserve)).collect();
    let obeyed: Vec<_> = core.classes.iter().map(|of| (of.name.as_str(), of.weight, of.reserve)).collect();
    assert_eq!(told, obeyed);
    assert_eq!(told, [("default", 4, 0), ("batch", 1, 0), ("critical", 8, 0), ("nightly", 2, 1)]);
    let nightly = &book.classes.classes[3];
    assert_eq!(nightly.applications, [Pattern::new("etl*")]);
    assert_eq!(nightly.networks, [("10.1.0.0".parse().unwrap(), 16)]);
    assert_eq!(nightly.patience.transaction, Some(Duration::from_secs(300)));
    assert_eq!((book.databases["x"].class, book.any.class), (Some(ClassId(3)), None));
    assert!(!book.users.contains_key("a"), "nothing of its own");
    assert_eq!((book.users["b"].class, book.users["b"].trust_labels), (Some(ClassId(2)), true));
    assert_eq!((book.guard, core.guard), (CoreGuard::Observe, CoreGuard::Observe));
}
