//! Whole files that are well: the contract's example, the examples folder, every setting of the catalogue, and what changed.

use std::collections::BTreeSet;
use std::time::Duration;

use poolwarden_config::{CATALOGUE, Config, Host, SecretRef, Setting, Severity, diff, render};
use poolwarden_pool::Mode;

fn secret(wanted: SecretRef) -> Result<String, String> {
    Ok(match wanted {
        SecretRef::Text(path) if path.contains("userlist") => "\"listed\" \"secret\"\n".to_owned(),
        SecretRef::Text(path) if path.contains("hba") => "host all all all scram-sha-256\n".to_owned(),
        SecretRef::Text(_) => "map system role\n".to_owned(),
        SecretRef::File(_) | SecretRef::Env(_) => format!("secret of {wanted:?}"),
    })
}

fn parse(text: &str) -> Config {
    let (config, findings) = Config::parse(text, secret);
    config.unwrap_or_else(|| panic!("{}", render("test.toml", text, &findings)))
}

#[test]
fn the_contracts_example_is_understood() {
    let config = parse(include_str!("product.toml"));
    assert_eq!(config.servers[0].host, Host::Name("db.internal".to_owned()));
    let settings = config.host_settings(0);
    assert_eq!((settings.max_connections, settings.any), (Some(80), None));
    let app = &settings.databases["app"];
    assert_eq!((app.size, app.min_size, app.mode, app.max_wait), (20, 2, Mode::Transaction, Duration::from_secs(2)));
    assert_eq!(settings.users["app"].max_connections, Some(40));
    assert!(config.route("other", "app").is_none(), "no pool serves it");
    assert!(config.route("app", "app").is_some_and(|route| route.secret.is_some()));
}

#[test]
fn the_examples_are_clean() {
    for text in [include_str!("../../../examples/poolwarden.toml"), include_str!("../../../examples/smallest.toml")] {
        let (config, findings) = Config::parse(text, secret);
        assert!(config.is_some() && findings.is_empty(), "{}", render("example", text, &findings));
    }
}

#[test]
fn a_server_alone_is_enough_and_has_the_cores_defaults() {
    let config = parse("[servers.main]\nhost = \"/run/postgresql\"\n");
    assert_eq!(config.servers[0].host, Host::Socket("/run/postgresql".to_owned()));
    let expected = poolwarden_pool::HostSettings {
        any: Some(poolwarden_pool::DatabaseSettings::default()),
        ..poolwarden_pool::HostSettings::default()
    };
    assert_eq!(config.host_settings(0), expected);
}

#[test]
fn the_core_is_told_of_classes_by_id_and_of_those_that_a_rule_assigns() {
    let config = parse(
        "[servers.main]\nhost = \"db\"\n[poolwarden]\nguard = \"observe\"\n[pools.app]\nclass = \"gold\"\n[pools.\"*\"]\n\
         [users.till]\nclass = \"critical\"\n[users.joe]\nquery_timeout = \"3s\"\n\
         [classes.gold]\nreserve = 2\nmax_wait = \"5s\"\ntransaction_timeout = \"7s\"\n[classes.lan]\nnetworks = \"10.0.0.0/8\"\n\
         [classes.batch]\napplications = [\"night*\"]\n",
    );
    let settings = config.host_settings(0);
    let names: Vec<_> =
        settings.classes.iter().map(|class| (class.name.as_str(), class.weight, class.reserve)).collect();
    assert_eq!(names, [("default", 4, 0), ("batch", 1, 0), ("critical", 8, 0), ("gold", 4, 2), ("lan", 4, 0)]);
    assert_eq!(settings.classes[1].max_wait, Some(Duration::from_secs(60)));
    assert_eq!(settings.classes[3].max_wait, Some(Duration::from_secs(5)));
    assert_eq!(config.classes["gold"].patience.transaction, Some(Duration::from_secs(7)));
    assert_eq!(settings.guard, poolwarden_pool::Guard::Observe);
    let ids = |of: &[u8]| of.iter().copied().map(poolwarden_pool::ClassId).collect::<Vec<_>>();
    assert_eq!(settings.databases["app"].classes, ids(&[1, 3, 4]));
    assert_eq!(settings.any.map(|any| any.classes), Some(ids(&[1, 4])));
    assert_eq!(settings.users["till"].class, Some(poolwarden_pool::ClassId(2)));
    assert!(!settings.users.contains_key("joe"), "nothing of his concerns the core");
}

#[test]
fn a_class_keeps_its_id_over_reloads_whatever_comes_and_goes() {
    let classes = |names: &str| {
        let tables: String = names.split(' ').map(|name| format!("[classes.{name}]\nweight = 7\n")).collect();
        parse(&format!("[servers.main]\nhost = \"db\"\n{tables}"))
    };
    let names =
        |config: &Config| config.classes_by_id().map(|(_, name, _)| name.to_owned()).collect::<Vec<_>>().join(" ");
    let first = classes("gold lan");
    assert_eq!(names(&first), "default batch critical gold lan");
    let mut second = classes("a lan");
    second.keep_class_ids(&first);
    assert_eq!(names(&second), "default batch critical gold lan a");
    let weights: Vec<_> = second.host_settings(0).classes.iter().map(|class| class.weight).collect();
    assert_eq!(weights, [4, 1, 8, 4, 7, 7], "gold is no more");
    let mut third = classes("gold");
    third.keep_class_ids(&second);
    assert_eq!((third.class_ids()["gold"].0, third.class_ids()["a"].0), (3, 5));
    let mut many = classes(&(0..190).map(|n| format!("x{n}")).collect::<Vec<_>>().join(" "));
    many.keep_class_ids(&classes(&(0..190).map(|n| format!("y{n}")).collect::<Vec<_>>().join(" ")));
    assert_eq!(many.classes_by_id().count(), 193, "there is no room for both: they are numbered anew");
}

#[test]
fn a_server_keeps_its_id_over_reloads_whatever_comes_and_goes() {
    let servers = |names: &str| {
        let tables: String = names.split(' ').map(|name| format!("[servers.{name}]\nhost = \"db\"\n")).collect();
        parse(&format!("{tables}[pools.app]\nserver = \"{}\"\n", names.split(' ').next().unwrap()))
    };
    let ids = |config: &Config| {
        config.servers.iter().map(|server| format!("{} {}", server.name, server.id.0)).collect::<Vec<_>>().join(", ")
    };
    let first = servers("main reports");
    assert_eq!(ids(&first), "main 0, reports 1");
    let mut second = servers("archive main");
    assert_eq!(second.keep_server_ids(&first), Ok(()));
    assert_eq!(ids(&second), "archive 2, main 0", "reports is no more, and its id is nobody's");
    let mut third = servers("reports zoo");
    assert_eq!(third.keep_server_ids(&second), Ok(()));
    assert_eq!(ids(&third), "reports 1, zoo 3", "it is back");
    let name = |of: std::ops::Range<usize>| of.map(|number| format!("s{number:04}")).collect::<Vec<_>>().join(" ");
    let all = servers(&name(0..4096));
    let mut same = servers(&name(96..4096));
    assert_eq!(same.keep_server_ids(&all), Ok(()));
    assert_eq!(ids(&same).split(", ").next(), Some("s0096 96"));
    let mut more = servers(&format!("{} t1 t2", name(96..196)));
    assert_eq!(more.keep_server_ids(&same), Err(4098), "there have been so many");
    assert_eq!(ids(&more).split(", ").next(), Some("s0096 0"), "nothing has changed");
}

#[test]
fn more_servers_than_there_are_ids_are_refused_at_the_first_too_many() {
    let tables: String = (0..4097).map(|number| format!("[servers.s{number:04}]\nhost = \"db\"\n")).collect();
    let (config, findings) =
        Config::parse(&format!("{tables}[pools.app]\nserver = \"s0000\"\n"), |_| Err("none".to_owned()));
    assert!(config.is_none());
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].message.starts_with("4097 servers, and at most 4096"), "{}", errors[0].message);
    assert!(tables[errors[0].span.clone()].contains("s4096"), "{}", &tables[errors[0].span.clone()]);
}

#[test]
fn a_route_resolves_names_star_forced_users_and_the_console() {
    let config = parse(
        "[servers.a]\nhost = \"a\"\n[servers.b]\nhost = \"b\"\n[users.joe]\npassword_env = \"JOE\"\n\
         [pools.shop]\nserver = \"b\"\ndatabase = \"shop_v2\"\nuser = \"svc\"\npassword_env = \"SVC\"\n\
         [pools.\"*\"]\nserver = \"a\"\nmode = \"session\"\n",
    );
    let route = config.route("shop", "joe").expect("a pool of its own");
    assert_eq!((route.server, route.database, route.user), (1, "shop_v2", "svc"));
    assert_eq!(route.secret.map(poolwarden_config::Secret::reveal), Some("secret of Env(\"SVC\")"));
    let route = config.route("blog", "joe").expect("the star's");
    assert_eq!((route.server, route.database, route.user), (0, "blog", "joe"));
    assert_eq!(route.secret.map(poolwarden_config::Secret::reveal), Some("secret of Env(\"JOE\")"));
    assert!(config.route("pgbouncer", "joe").is_none() && config.route("poolwarden", "joe").is_none());
    let (a, b) = (config.host_settings(0), config.host_settings(1));
    assert!(a.any.is_some_and(|any| any.reset) && a.databases.is_empty());
    assert!(b.any.is_none() && b.databases.len() == 1);
}

/// A file that sets this key to its example, and whatever else that key needs.
fn example_of(setting: &Setting) -> (String, String) {
    const BASE: &str = "servers.main.host = \"db\"\npools.app.server = \"main\"\nusers.app.class = \"default\"\nclasses.batch.weight = 1\n";
    let key = match setting.key.split_once(".NAME").map(|(section, _)| section) {
        Some("servers") => setting.key.replace("NAME", "main"),
        Some("pools") => setting.key.replacen("NAME", "app", 1).replace("NAME", "statement_timeout"),
        Some("users") => setting.key.replace("NAME", "app"),
        Some("peers") => setting.key.replace("NAME", "2"),
        _ => setting.key.replace("NAME", "batch"),
    };
    let needs = match setting.key {
        "pools.NAME.password_env" | "pools.NAME.scram_file" => "pools.app.user = \"u\"\n",
        "auth.query" | "auth.password_env" | "auth.password_file" | "auth.database" | "auth.server"
        | "auth.search_path" | "auth.cache" | "auth.max_stale" => "auth.user = \"u\"\n",
        "peers.NAME.host" => "poolwarden.instance_id = 1\n",
        "peers.NAME.port" => "poolwarden.instance_id = 1\npeers.2.host = \"h\"\n",
        key if key.starts_with("servers.NAME.watch.") && !key.ends_with(".user") => "servers.main.watch.user = \"u\"\n",
        "listen.tls.mode" => "listen.tls.certificate = \"c\"\n",
        "listen.tls.key" => "listen.tls.certificate = \"c\"\n",
        "servers.NAME.tls_negotiation" | "servers.NAME.channel_binding" => "servers.main.tls = \"require\"\n",
        "servers.NAME.tls_key" => "servers.main.tls_certificate = \"c\"\n",
        _ => "",
    };
    let base: String = BASE.lines().filter(|line| !line.starts_with(&key)).map(|line| format!("{line}\n")).collect();
    let line = match key.split_once("[].") {
        Some((table, rest)) => {
            let needs = [("name", "\"n\""), ("url", "\"http://h/\"")];
            let needs = needs.iter().filter(|(key, _)| table == "probe" && *key != rest);
            let needs: String = needs.map(|(key, value)| format!("{key} = {value}, ")).collect();
            format!("{table} = [{{ {needs}{rest} = {} }}]\n", setting.example)
        }
        None => format!("{key} = {}\n", setting.example),
    };
    (format!("{base}{needs}"), line)
}

#[test]
fn every_setting_is_read_shown_and_where_it_acts_changes_what_is_obeyed() {
    for setting in CATALOGUE {
        let (base, line) = example_of(setting);
        let config = parse(&format!("{base}{line}"));
        let key = line.split(" = ").next().unwrap_or_default();
        let array = setting.key.contains("[]");
        let shown = config.show().iter().any(|shown| array && shown.key.contains("[0]") || shown.key == key);
        assert!(shown, "{key} is not shown");
        if setting.key == "servers.NAME.host" || setting.example.trim_matches('"') == setting.default {
            continue;
        }
        let before = parse(&base);
        let changes = diff(&before, &config);
        assert!(changes.iter().any(|change| array || change.key == key), "{key}: no change is seen");
        assert!(changes.iter().all(|change| change.live == setting.live), "{key}: {changes:?}");
        let bare = |config: &Config| format!("{config:?}").split("shown:").next().map(str::to_owned);
        // The review reads these from the text itself, with their places; its own tests see that it does.
        let of_the_review = ["topology.", "review.allow"].iter().any(|section| setting.key.starts_with(section));
        if setting.acts && !of_the_review {
            assert_ne!(bare(&before), bare(&config), "{key} is read, and nothing obeys it");
        }
    }
}

#[test]
fn secrets_are_neither_shown_nor_compared_in_the_open() {
    let text = "[servers.main]\nhost = \"db\"\n[users.app]\npassword_env = \"APP\"\n";
    let (old, _) = Config::parse(text, |_| Ok("hunter2".to_owned()));
    let (new, _) = Config::parse(text, |_| Ok("hunter3".to_owned()));
    let (old, new) = (old.expect("well"), new.expect("well"));
    assert!(!format!("{old:?}{:?}", old.show()).contains("hunter"));
    assert!(old.show().iter().any(|shown| shown.key == "users.app.password_env" && shown.value == "<set>"));
    let changes = diff(&old, &new);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].key.as_str(), changes[0].to.as_str()), ("users.app.password_env", "<changed>"));
    assert!(diff(&old, &old).is_empty());
}

#[test]
fn equal_values_in_other_words_are_no_change_and_addresses_wait_for_a_restart() {
    let base = "[servers.main]\nhost = \"db\"\n[pools.app]\n";
    let (seconds, millis) =
        (parse(&format!("{base}max_wait = \"3s\"")), parse(&format!("{base}max_wait = \"3000ms\"")));
    assert!(diff(&seconds, &millis).is_empty());
    let moved = parse(&format!("{base}max_wait = \"3s\"\n[listen]\naddress = \"127.0.0.1:7000\""));
    let keys: Vec<(String, bool)> =
        diff(&seconds, &moved).into_iter().map(|change| (change.key, change.live)).collect();
    assert_eq!(keys, [("listen.address".to_owned(), false)]);
    let more = parse(&format!("{base}max_wait = \"3s\"\n[pools.new]\nsize = 3"));
    let added: BTreeSet<String> = diff(&seconds, &more).into_iter().map(|change| change.key).collect();
    assert!(added.contains("pools.new.size") && added.iter().all(|key| key.starts_with("pools.new.")));
}

#[test]
fn findings_are_bounded_and_errors_come_first() {
    let text: String = (0..5_000).map(|n| format!("k{n} = 1\n")).collect();
    let (config, findings) = Config::parse(&text, secret);
    assert!(config.is_none());
    assert_eq!(findings.len(), poolwarden_config::MAX_FINDINGS);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Error));
}

#[test]
fn recordings_need_room_and_can_be_turned_off() {
    let read = |lines: &str| {
        let text = format!("[servers.main]\nhost = \"db\"\n[recording]\n{lines}\n");
        Config::parse(&text, |_| Err("no secret".to_owned()))
    };
    let of = |lines: &str| read(lines).0.expect("a good file").recording;
    assert_eq!((of("").enabled, of("").max_size), (true, 1 << 30));
    assert!(!of("enabled = false").enabled);
    assert_eq!(of("max_size = \"256KiB\"").max_size, 256 << 10);
    let (config, findings) = read("max_size = \"255KiB\"");
    assert!(config.is_none() && findings.iter().any(|of| of.fix.contains("enabled = false")), "{findings:?}");
}
