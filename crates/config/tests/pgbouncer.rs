//! PgBouncer's ini: what it becomes, what is refused, and that the list of settings is whole and true.

mod pgbouncer {
    pub(crate) mod world;
}

use std::time::Duration;

use pgbouncer::world::{Ini, beside, config, parts, read};
use poolwarden_config::pgbouncer::{Becomes, CATALOGUE, CHANGED, Section, Verdict, find};
use poolwarden_config::{AuthMethod, Config, Host, Severity, diff};
use poolwarden_pool::Mode;

#[test]
fn debians_file_runs_unchanged() {
    let reading = read(&[("pgbouncer.ini", include_str!("pgbouncer/debian.ini"))]);
    let config = reading.config.as_ref().unwrap_or_else(|| panic!("{}", Ini(&reading)));
    assert_eq!(Ini(&reading).to_string(), "", "and nothing is remarked");
    let listen = &config.listen;
    assert_eq!(listen.addresses, ["127.0.0.1:6432".parse().unwrap(), "[::1]:6432".parse().unwrap()]);
    assert_eq!(listen.unix_socket_dir.as_deref(), Some("/var/run/postgresql"));
    assert!(config.pools.is_empty() && config.pool("any").is_none(), "no database, and so nobody is served");
    let process = config.pgbouncer.as_ref().unwrap();
    assert_eq!(process.pidfile.as_deref(), Some("/var/run/postgresql/pgbouncer.pid"));
    assert_eq!(process.logfile.as_deref(), Some("/var/log/postgresql/pgbouncer.log"));
}

#[test]
fn everything_left_out_is_as_in_pgbouncer() {
    let config = config("[databases]\napp =\n[pgbouncer]\n");
    assert!(config.listen.addresses.is_empty());
    assert_eq!((config.listen.unix_socket_dir.as_deref(), config.listen.unix_port()), (Some("/tmp"), 6432));
    assert_eq!(config.auth.method, AuthMethod::Md5);
    assert_eq!((config.limits.max_clients, config.limits.login_timeout), (100, Duration::from_secs(60)));
    assert!(config.console.admins.is_empty() && config.console.readers.is_empty());
    let server = &config.servers[0];
    assert_eq!((&server.host, server.port), (&Host::Socket("/tmp".to_owned()), 5432));
    assert_eq!(server.connect_timeout, Duration::from_secs(15));
    let pool = &config.pools["app"];
    let settings = &pool.settings;
    assert_eq!((settings.mode, settings.size, settings.min_size, settings.reserve), (Mode::Session, 20, 0, 0));
    assert_eq!(settings.max_connections, None);
    let wait = Duration::from_secs(120);
    assert_eq!([settings.max_wait, settings.pause_wait, settings.down_wait], [wait; 3]);
    assert_eq!([settings.lifetime.as_secs(), settings.idle_timeout.as_secs()], [3600, 600]);
    assert_eq!(pool.reset_query.as_deref(), Some("DISCARD ALL"));
    assert_eq!((pool.max_prepared_statements, pool.track.as_slice()), (200, &["intervalstyle".to_owned()][..]));
}

/// What of a configuration a setting changed: keys of the TOML, and whether the process's part did.
fn changes(before: &Config, after: &Config) -> (Vec<String>, bool) {
    let keys = diff(before, after).into_iter().map(|change| change.key).collect();
    let process = |config: &Config| {
        let mut process = config.pgbouncer.clone().expect("of an ini");
        process.settings.clear(); // these two say all of it
        process.toml.clear();
        process
    };
    (keys, process(before) != process(after))
}

/// An ini in which each section's settings can be tried: the line goes in where its section's is.
fn trial(section: Section, line: &str) -> String {
    let at = |of: Section| if of == section { line } else { "" };
    let (main, database, user, peer) =
        (at(Section::Pgbouncer), at(Section::Databases), at(Section::Users), at(Section::Peers));
    let needs = match line.split('=').next().unwrap_or_default().trim() {
        "client_tls_sslmode" | "client_tls_ca_file" | "client_tls_protocols" => {
            "client_tls_cert_file = s.crt\nclient_tls_key_file = s.key\n"
        }
        "client_tls_key_file" | "client_tls_cert_file" => "client_tls_key_file = a.key\nclient_tls_cert_file = a.crt\n",
        "server_tls_key_file" | "server_tls_cert_file" => "server_tls_key_file = a.key\nserver_tls_cert_file = a.crt\n",
        "auth_hba_file" => "auth_type = hba\nauth_hba_file = other.conf\n",
        "auth_ident_file" => "auth_type = hba\nauth_hba_file = hba.conf\n",
        "syslog_facility" | "syslog_ident" => "syslog = 1\n",
        "host" | "port" | "pool_size" if section == Section::Peers => "peer_id = 1\n",
        "reserve_pool_timeout" => "reserve_pool_size = 2\n",
        "auth_query" | "auth_dbname" if section == Section::Pgbouncer => "auth_user = lookup\n",
        "auth_query" | "auth_dbname" => "auth_user = lookup\n",
        _ => "",
    };
    let tls = if main.starts_with("client_tls_") && !main.starts_with("client_tls_sslmode") {
        "client_tls_sslmode = allow\n"
    } else {
        ""
    };
    let password = if database.starts_with("password") { "user=svc" } else { "" };
    let peers = if section == Section::Peers {
        format!("[peers]\n1 = host=own\n3 = host=10.0.0.1 {peer}\n")
    } else {
        String::new()
    };
    format!(
        "[databases]\napp = host=10.0.0.1 {password} {database}\n[users]\njoe = {user}\n{peers}[pgbouncer]\nlisten_addr = 127.0.0.1\n{tls}{needs}{main}\n"
    )
}

#[test]
fn every_setting_becomes_what_its_list_says() {
    for entry in CATALOGUE {
        let line = match entry.section {
            Section::Pgbouncer => format!("{} = {}", entry.name, entry.example),
            Section::Databases | Section::Users | Section::Peers => format!("{}={}", entry.name, entry.example),
        };
        let text = trial(entry.section, &line);
        let (before, after) = (read_text(&text.replacen(&line, "", 1)), read_text(&text));
        let said = |code: &str| {
            let all = after.sources.iter().flat_map(|source| &source.findings);
            all.filter(|finding| finding.code == code && finding.message.starts_with(entry.name)).count()
        };
        if let Verdict::Refused(_) = entry.verdict {
            assert!(after.config.is_none(), "{}: {text}", entry.name);
            assert_eq!(said("refused"), 1, "{}: {}", entry.name, Ini(&after));
            continue;
        }
        let before = before.config.as_ref().unwrap_or_else(|| panic!("{}: {}", entry.name, Ini(&before)));
        let config = after.config.as_ref().unwrap_or_else(|| panic!("{}: {}", entry.name, Ini(&after)));
        let (keys, process) = changes(before, config);
        match entry.becomes {
            Becomes::Setting(key) => {
                let pattern: Vec<&str> = key.split('.').filter(|part| !["NAME", "ID"].contains(part)).collect();
                let is = |key: &String| {
                    pattern.iter().all(|part| key.split('.').any(|word| word == *part))
                        || pattern == ["pools", "startup"] && key.contains(".startup.")
                };
                assert!(keys.iter().any(is), "{} is to become {key}, and changes {keys:?}", entry.name);
            }
            Becomes::Process => assert!(keys.is_empty() && process, "{}: {keys:?}", entry.name),
            Becomes::Nothing => {
                assert!(keys.is_empty() && !process, "{}: {keys:?}", entry.name);
                assert_eq!(said("needless"), 1, "{}: {}", entry.name, Ini(&after));
            }
        }
    }
}

fn read_text(text: &str) -> poolwarden_config::pgbouncer::Reading {
    read(&[("pgbouncer.ini", text)])
}

#[test]
fn a_default_that_is_written_is_no_fault_and_no_remark() {
    let main = CATALOGUE.iter().filter(|entry| entry.section == Section::Pgbouncer);
    let lines: String = main.map(|entry| format!("{} = {}\n", entry.name, entry.default)).collect();
    let lines =
        lines.replace("auth_type = md5", "auth_type = md5\nlisten_addr = 127.0.0.1").replace("listen_addr = \n", "");
    let reading = read_text(&format!("[databases]\napp =\n[pgbouncer]\n{lines}"));
    assert!(reading.config.is_some(), "{}", Ini(&reading));
    let said = reading.sources.iter().flat_map(|source| &source.findings);
    // That nobody can log in without a userlist is true, and no news about a default.
    assert_eq!(said.filter(|finding| finding.code != "locked-door").count(), 0, "{}", Ini(&reading));
}

#[test]
fn names_and_examples_are_whole() {
    for entry in CATALOGUE {
        let place = (entry.section, entry.name);
        assert_eq!(CATALOGUE.iter().filter(|other| (other.section, other.name) == place).count(), 1, "{place:?}");
        assert!(!entry.example.is_empty() && entry.example != entry.default, "{place:?}");
        let says_why = matches!(entry.verdict, Verdict::Same) || !entry.why.is_empty();
        assert!(says_why, "{place:?} says neither how it is better nor why it is refused");
    }
}

#[test]
fn what_is_printed_gives_the_same_configuration() {
    let text = include_str!("pgbouncer/rich.ini");
    let reading = read(&[("pgbouncer.ini", text), ("more.ini", "idle_transaction_timeout = 60\n")]);
    let config = reading.config.as_ref().unwrap_or_else(|| panic!("{}", Ini(&reading)));
    let (again, findings) = poolwarden_config::Config::parse(&reading.toml, |wanted| match wanted {
        poolwarden_config::SecretRef::Env(name) => {
            let found = reading.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, secret)| secret.reveal().to_owned()).ok_or_else(|| format!("{name} is not set"))
        }
        poolwarden_config::SecretRef::File(path) | poolwarden_config::SecretRef::Text(path) => beside(&path),
    });
    let again = again.unwrap_or_else(|| panic!("{}", poolwarden_config::render("toml", &reading.toml, &findings)));
    assert_eq!(parts(config), parts(&again));
    let guards = [config, &again].map(|config| config.host_settings(0).guard);
    assert_eq!(guards, [poolwarden_pool::Guard::Observe; 2], "PgBouncer sheds nothing");
    assert!(!reading.toml.contains("geheim"), "a password in the TOML: {}", reading.toml);
    insta::assert_snapshot!(reading.toml);
}

#[test]
fn precedence_is_pgbouncers() {
    let config = config(
        "[databases]\na = host=h pool_size=5 pool_mode=statement max_db_connections=6 server_lifetime=9\nb = host=h\n* = host=other port=5433\n\
         [users]\njoe = pool_mode=transaction max_user_connections=0\nann = pool_size=3 query_timeout=4\n\
         [pgbouncer]\ndefault_pool_size = 7\nmax_db_connections = 8\nmax_user_connections = 2\nserver_lifetime = 0\nquery_wait_timeout = 0\nmin_pool_size = 50\n",
    );
    let settings = |name: &str| &config.pools[name].settings;
    assert_eq!((settings("a").size, settings("b").size), (5, 7));
    assert_eq!((settings("a").min_size, settings("b").min_size), (5, 7), "capped at the size");
    assert_eq!((settings("a").max_connections, settings("b").max_connections), (Some(6), Some(8)));
    assert_eq!((settings("a").lifetime.as_secs(), settings("b").lifetime), (9, Duration::from_micros(1)));
    assert_eq!(settings("a").max_wait.as_secs(), 100 * 365 * 86_400, "for ever");
    assert_eq!(config.mode(&config.pools["a"], "joe"), Mode::Transaction);
    assert_eq!(config.mode(&config.pools["a"], "ann"), Mode::Statement);
    assert_eq!(config.mode(&config.pools["b"], "ann"), Mode::Session);
    let own = |name: &str| config.users[name].settings.max_connections;
    assert_eq!((own("joe"), own("ann")), (Some(262_143), None));
    assert!(config.servers.iter().all(|server| server.max_user_connections == Some(2)));
    assert_eq!(config.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["h", "other:5433"]);
    let any = config.route("elsewhere", "joe").unwrap();
    assert_eq!((any.database, any.server), ("elsewhere", 1));
}

#[test]
fn findings_stand_at_their_line_of_their_file() {
    let reading = read(&[
        ("pgbouncer.ini", "[pgbouncer]\npool_moed = session\n%include more.ini\nlisten_addr = nowhere.invalid\n"),
        (
            "more.ini",
            "; here\nserver_round_robin = 1\nmax_client_conn = 10 ; much\n[databases]\na = hots=1\nb = pool_size=7x\n",
        ),
    ]);
    assert!(reading.config.is_none() && reading.toml.is_empty());
    insta::assert_snapshot!(Ini(&reading).to_string());
}

#[test]
fn a_second_section_forgets_the_first_and_a_second_name_replaces_the_first() {
    let reading = read_text(
        "[pgbouncer]\nlisten_addr = 127.0.0.1\ndefault_pool_size = 7\n[databases]\na = pool_size=3\n[pgbouncer]\nlisten_addr = 127.0.0.1\nmax_client_conn = 9\n[databases]\na = host=h\n",
    );
    let config = reading.config.as_ref().unwrap_or_else(|| panic!("{}", Ini(&reading)));
    assert_eq!((config.pools["a"].settings.size, config.limits.max_clients), (20, 9));
    let warned: Vec<usize> = reading.sources[0]
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Warning && f.code == "repeated")
        .map(|f| f.line)
        .collect();
    assert_eq!(warned, [6]);
}

#[test]
fn no_finding_shows_a_password() {
    let reading =
        read_text("[databases]\na = host=x password=geheim nonsense\nb = password='geh''eim' hots=1\n[pgbouncer]\n");
    let said = Ini(&reading).to_string();
    assert!(!said.is_empty() && !said.contains("geh"), "{said}");
}

/// What `SHOW CONFIG` of PgBouncer 1.18 prints: name, default, whether a reload changes it. The test bed holds it against a real one.
#[test]
fn every_setting_of_pgbouncer_1_18_is_listed_with_its_default() {
    let rows = include_str!("pgbouncer/settings-1.18.txt");
    assert!(rows.lines().count() >= 75);
    for row in rows.lines() {
        let fields: Vec<&str> = row.split('|').collect();
        let (name, default, changeable) = (fields[0], fields[1], fields[2] == "yes");
        let entry = find(Section::Pgbouncer, name).unwrap_or_else(|| panic!("{name} is not in the list"));
        let older = CHANGED.iter().find(|(changed, _)| *changed == name).map(|(_, default)| *default);
        // PgBouncer prints no default where it sets one by itself.
        let expected = if name == "verbose" { "" } else { entry.default };
        assert!(default == expected || Some(default) == older, "{name}: {default:?}, ours {expected:?}");
        assert_eq!(changeable, entry.live, "{name}");
    }
}
