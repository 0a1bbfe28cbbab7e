//! The readers, whole files at a time; and that no text makes them fall.

use std::time::Duration;

use poolwarden_pool::Mode;

use super::draft::{Draft, app};
use super::{FileKind, Gathered, Input, assemble, gather, recognise};
use crate::review::chain::{App, Bound, Kind, Library, Limit};
use crate::review::place::{Known, Place};
use crate::review::{Facts, review};

const OURS: &str = r#"
[servers.main]
host = "db.internal"
[servers.reports]
host = "10.0.0.9"
port = 5433
max_connections = 30
instances = 2
[pools.app]
server = "main"
size = 40
reserve = 2
max_wait = "500ms"
[pools."*"]
server = "reports"
mode = "session"
user = "ro"
[users.app]
scram_file = "secrets/app"
max_connections = 60
[users.ops]
scram_file = "secrets/ops"
[console]
admins = ["ops"]
[limits]
max_clients = 500
[topology.postgres]
server = "main"
max_connections = 100
reserved_connections = 2
others = 10
cores = 8
memory = "32GiB"
[topology.pooler]
instances = 3
[[topology.app]]
name = "web"
pool = "app"
user = "app"
replicas = "unlimited"
surge = 0.25
processes = 4
threads = 5
pools = 2
pool_size = 10
connections = 60
request_timeout = "30s"
acquire_timeout = "0s"
peak_rate = "600/m"
hold = "20ms"
"#;

const INI: &str = "; a comment\n%include common.ini\n[databases]\napp = host=db.internal pool_size=30 dbname=shop\n\
                   forced = host=db.internal port=5432 user=svc password=hunter2 max_db_connections=7\n* = host=10.0.0.9 port=5433\n\
                   [users]\nbatch = pool_size=3 max_user_connections=9\n[peers]\n1 = host=/tmp/a\n2 = host=/tmp/b\n";
const COMMON: &str = "[pgbouncer]\nauth_file = /etc/pgbouncer/userlist.txt\nadmin_users = ops\nauth_user = lookup\n\
                      pool_mode = transaction\ndefault_pool_size = 25\nmax_client_conn = 900\nquery_wait_timeout = 0\n\
                      so_reuseport = 1\nignore_startup_parameters = extra_float_digits, options\nreserve_pool_timeout = 1.5\n";
const USERS: &str = "\"app\" \"md5hunter2\"\n\"ops\" \"x\"\n\"lookup\" \"y\"\n";

fn files(files: &[(&str, &str)]) -> Gathered {
    let input = |(name, text): &(&str, &str)| Input::File { name: (*name).to_owned(), text: (*text).to_owned() };
    gather(&files.iter().map(input).collect::<Vec<_>>(), &mut |path| Err(format!("no {path}")))
}

/// The text that a value stands on.
fn text_of<'a, T>(all: &'a Gathered, known: &Known<T>) -> &'a str {
    match &known.place {
        Place::Text { file, span } => &all.dossier.texts[*file].text[span.clone()],
        Place::Default(whose) => whose,
        Place::Told { .. } => "told",
    }
}

#[test]
fn a_whole_poolwarden_toml_becomes_the_chain_with_its_places() {
    let all = files(&[("poolwarden.toml", OURS)]);
    assert_eq!((&all.faults, &all.unreadable), (&Vec::new(), &Vec::new()));
    let [main, reports] = all.dossier.postgres.as_slice() else { panic!("{:?}", all.dossier.postgres) };
    assert_eq!(main.address, Some(("db.internal".to_owned(), 5432)));
    let number = |known: &Option<Known<u64>>| known.as_ref().map(|known| known.value);
    assert_eq!(
        [&main.max_connections, &main.superuser_reserved, &main.reserved].map(number),
        [Some(100), None, Some(2)]
    );
    assert_eq!([&main.others, &main.cores, &main.memory].map(number), [Some(10), Some(8), Some(32 << 30)]);
    assert_eq!((reports.name.as_str(), number(&reports.max_connections)), ("reports", None));

    let pooler = &all.dossier.poolers[0];
    assert_eq!((pooler.kind, pooler.instances.value), (Kind::Poolwarden, 3));
    assert_eq!((pooler.max_clients.value, text_of(&all, &pooler.max_clients)), (Bound::Of(500), "500"));
    // auto: (100 - 3 - 2 - 10 - 2) / 3
    assert_eq!((pooler.auto_budgets.contains(&0), pooler.budgets[&0].value), (true, Bound::Of(27)));
    assert_eq!((pooler.budgets[&1].value, text_of(&all, &pooler.budgets[&1])), (Bound::Of(30), "30"));
    assert_eq!(pooler.users["app"].value, Bound::Of(60));
    let [any, app] = pooler.pools.as_slice() else { panic!("{:?}", pooler.pools) };
    assert_eq!((any.name.value.as_str(), any.server, any.mode.value), ("*", 1, Mode::Session));
    assert_eq!((any.database.as_deref(), any.users.as_slice()), (None, ["ro".to_owned()].as_slice()));
    assert_eq!((text_of(&all, &app.name), app.users.as_slice()), ("app", ["app".to_owned()].as_slice()));
    assert_eq!((app.size.value, text_of(&all, &app.size), app.reserve.value), (Bound::Of(40), "40", 2));
    assert_eq!(app.max_wait.value, Limit::After(Duration::from_millis(500)));
    assert_eq!((text_of(&all, &app.max_wait), text_of(&all, &app.mode)), ("\"500ms\"", "poolwarden's"));

    let web = &all.dossier.apps[0];
    assert_eq!((web.replicas.as_ref().map(|known| known.value), web.pools.len()), (Some(Bound::Unlimited), 2));
    assert_eq!(web.acquire_timeout.as_ref().map(|known| known.value), Some(Limit::Never));
    assert_eq!((web.load(), number(&web.intended), web.query_timeout.is_none()), (Some(0.2), Some(60), true));
}

#[test]
fn a_whole_pgbouncer_ini_with_include_and_users_becomes_the_chain_with_its_places() {
    let all = files(&[("k8s/pgbouncer.ini", INI), ("k8s/common.ini", COMMON), ("userlist.txt", USERS)]);
    assert_eq!((&all.faults, &all.unreadable, all.dossier.poolers.len()), (&Vec::new(), &Vec::new(), 1));
    let pooler = &all.dossier.poolers[0];
    assert_eq!((pooler.kind, pooler.instances.value, text_of(&all, &pooler.instances)), (Kind::PgBouncer, 2, "1"));
    assert_eq!((pooler.max_clients.value, text_of(&all, &pooler.max_clients)), (Bound::Of(900), "900"));
    let [any, app, forced] = pooler.pools.as_slice() else { panic!("{:?}", pooler.pools) };
    assert_eq!((app.size.value, text_of(&all, &app.size)), (Bound::Of(30), "30"));
    assert_eq!(app.shadowed.as_ref().map(|known| text_of(&all, known)), Some("25"));
    assert_eq!(
        (app.database.as_deref(), app.users.as_slice()),
        (Some("shop"), ["app".to_owned(), "batch".to_owned()].as_slice())
    );
    assert_eq!((app.max_wait.value, app.mode.value), (Limit::Never, Mode::Transaction));
    assert_eq!(app.reserve_after.value, Limit::After(Duration::from_millis(1500)));
    assert_eq!(
        (any.size.value, any.shadowed.is_none(), any.max_connections.value),
        (Bound::Of(25), true, Bound::Unlimited)
    );
    assert_eq!((forced.users.as_slice(), forced.max_connections.value), (["svc".to_owned()].as_slice(), Bound::Of(7)));
    assert_eq!((app.server, forced.server, any.server), (1, 1, 0));
    assert_eq!(pooler.any_user.as_ref().map(|known| known.value), Some(true));
    assert_eq!((pooler.users["batch"].value, pooler.users["*"].value), (Bound::Of(9), Bound::Unlimited));
    assert_eq!(pooler.ignored_startup.len(), 2);
    let limits = [&pooler.lifetime, &pooler.keepalive_idle].map(|known| known.as_ref().map(|known| known.value));
    assert_eq!(limits, [Some(Limit::After(Duration::from_secs(3600))), Some(Limit::Never)]);
    assert!(!format!("{:?}", all.dossier).contains("hunter2"));
}

#[test]
fn topology_and_facts_beside_a_pgbouncer_ini_are_about_its_server() {
    let ini = "[databases]\napp = host=db.internal\n[pgbouncer]\npool_mode = transaction\n";
    let topology = "[topology.postgres]\nmax_connections = 100\nothers = 5\n[topology.pooler]\ninstances = 4\n";
    let facts = "# told\npg.setting.max_connections = 200\npg.setting.statement_timeout = 0\npg.role.a.b.connection_limit = 7\n\
                 pg.role.app.setting.statement_timeout = 5000\npg.role.app.uses_reserved = true\npg.database.shop.connection_limit = -1\n\
                 pg.pending_restart.shared_buffers = true\n";
    let all = files(&[("db.facts", facts), ("pgbouncer.ini", ini), ("topology.toml", topology)]);
    assert_eq!((&all.faults, &all.unreadable), (&Vec::new(), &Vec::new()));
    let [server] = all.dossier.postgres.as_slice() else { panic!("{:?}", all.dossier.postgres) };
    assert_eq!(server.max_connections.as_ref().map(|known| (known.value, text_of(&all, known))), Some((200, "told")));
    assert_eq!(server.others.as_ref().map(|known| (known.value, text_of(&all, known))), Some((5, "5")));
    assert_eq!(server.roles["a.b"].connection_limit.as_ref().map(|known| known.value), Some(7));
    assert_eq!(
        (server.roles["app"].settings["statement_timeout"].value.as_str(), server.roles["app"].reserved),
        ("5000", true)
    );
    assert_eq!((server.databases["shop"].value, server.pending_restart[0].value.as_str()), (-1, "shared_buffers"));
    assert_eq!(all.dossier.poolers[0].instances.value, 4);
}

#[test]
fn faults_of_the_files_are_findings_with_place_and_next_step() {
    let toml = "[servers.main]\nhost = \"db\"\nconnect_timeout = 5\n[pools.app]\nsise = 20\nmode = \"transactoin\"\n";
    let ini = "[databases]\napp = host=db pool_size=3x\n[pgbouncer]\ndefault_pool_sise = 5\nmin_pool_size = many\n";
    for (name, text, expected) in
        [("poolwarden.toml", toml, 3), ("pgbouncer.ini", ini, 3), ("poolwarden.toml", "[a\n", 1)]
    {
        let all = files(&[(name, text)]);
        assert_eq!(all.faults.len(), expected, "{:#?}", all.faults);
        for fault in &all.faults {
            assert!(fault.code == "EFF-06" && !fault.fix.text.is_empty(), "{fault:?}");
            assert!(matches!(fault.labels[0].place, Place::Text { .. }), "{fault:?}");
        }
    }
    let all = files(&[("poolwarden.toml", toml)]);
    let mut edits: Vec<_> =
        all.faults.iter().flat_map(|fault| &fault.fix.edits).map(|edit| edit.new.as_str()).collect();
    edits.sort_unstable();
    assert_eq!(edits, ["\"5s\"", "\"transaction\"", "size"]);
}

#[test]
fn kinds_of_file_are_known_by_name_and_text() {
    for (name, text, kind) in [
        ("a/prod.toml", "", Some(FileKind::Poolwarden)),
        ("pgbouncer.ini", "", Some(FileKind::PgBouncer)),
        ("pgb.conf", "; x\n[pgbouncer]\n", Some(FileKind::PgBouncer)),
        ("userlist.txt", "", Some(FileKind::Userlist)),
        ("app.properties", "", Some(FileKind::Hikari)),
        ("config/application-prod.yml", "", Some(FileKind::Hikari)),
        ("values.yaml", "a: 1\nspring:\n  datasource: x\n", Some(FileKind::Hikari)),
        ("database.yml", "", Some(FileKind::Rails)),
        ("rules.yml", "groups:\n- name: x\n  rules:\n  - alert: y\n    expr: z\n", Some(FileKind::Prometheus)),
        ("prometheus.yml", "global: {}\nscrape_configs:\n- job_name: x\n", Some(FileKind::Prometheus)),
        ("db.py", "", Some(FileKind::SqlAlchemy)),
        (".env.production", "", Some(FileKind::Url)),
        ("compose.yaml", "x: postgres://a/b", Some(FileKind::Url)),
        ("pg.facts", "", Some(FileKind::Facts)),
        ("notes.txt", "hello", None),
    ] {
        assert_eq!(recognise(name, text), kind, "{name}");
    }
    assert_eq!(files(&[("notes.txt", "hello")]).unreadable.len(), 1);
}

#[test]
fn passwords_are_never_in_the_texts() {
    for (name, text) in [
        ("poolwarden.toml", "[users.app]\npassword = \"hunter2\"\n"),
        (
            "app.properties",
            "spring.datasource.password=hunter2\nurl=jdbc:postgresql://h/db?user=a&password=hunter2&x=1\n",
        ),
        ("application.yml", "spring:\n  datasource:\n    password: hunter2\n"),
        (".env", "DATABASE_URL=postgres://app:hunter2@db/app\nDB_PASSWORD='hunter2'\n"),
        ("db.py", "create_engine(\"postgresql+psycopg://u:hunter2@h/db\", connect_args={\"password\": \"hunter2\"})\n"),
        ("db.facts", "pgbouncer.password = hunter2\nnonsense with hunter2\n"),
    ] {
        let all = files(&[(name, text)]);
        for kept in &all.dossier.texts {
            assert_eq!(kept.text.len(), text.len(), "{name}");
        }
        let texts: String = all.dossier.texts.iter().map(|text| text.text.as_str()).collect();
        assert!(!texts.contains("hunter2") || name == "db.facts", "{name}: {texts}");
        assert!(!format!("{:?}", all.faults).contains("hunter2"), "{name}: {:?}", all.faults);
    }
}

/// A generator that needs no seed from the world: the same cases each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

pub(super) fn corrupted(text: &str, dice: &mut Dice) -> String {
    const BITS: [&str; 16] = [
        "\"",
        "'",
        "=",
        "[",
        "]",
        "\n",
        "é",
        "\0",
        "999999999999999999999",
        "-1",
        "[[",
        "%include x\n",
        "\t",
        "{",
        "#",
        ": ",
    ];
    let mut bytes: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len());
        let until = (at + dice.below(40)).min(bytes.len());
        match dice.below(3) {
            0 => drop(bytes.drain(at..until)),
            1 => bytes.splice(at..at, BITS[dice.below(BITS.len())].chars()).for_each(drop),
            _ => {
                let copy: Vec<char> = bytes[at..until].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy).for_each(drop);
            }
        }
    }
    bytes.into_iter().collect()
}

/// Reads and reviews; every place must be of its text.
pub(super) fn read_whole(inputs: &[(&str, &str)]) {
    let all = files(inputs);
    let report = review(&all.dossier);
    for label in all.faults.iter().chain(&report.findings).flat_map(|finding| &finding.labels) {
        if let Place::Text { file, span } = &label.place {
            assert!(all.dossier.texts[*file].text.get(span.clone()).is_some(), "{label:?}");
        }
    }
}

#[test]
fn no_corruption_of_any_file_makes_a_reader_fall() {
    let dice = &mut Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..250 {
        read_whole(&[("poolwarden.toml", &corrupted(OURS, dice))]);
        read_whole(&[
            ("pgbouncer.ini", &corrupted(INI, dice)),
            ("common.ini", &corrupted(COMMON, dice)),
            ("userlist.txt", &corrupted(USERS, dice)),
            ("db.facts", &corrupted("pg.setting.max_connections = 100\npg.role.app.connection_limit = 3\n", dice)),
        ]);
    }
}

#[test]
fn a_megabyte_of_anything_is_read_in_time() {
    for (name, unit) in [
        ("poolwarden.toml", "[pools.a]\nsize = 1\n"),
        ("poolwarden.toml", "[pools.N]\nsise = 1\n"),
        ("poolwarden.toml", "[servers.N]\nhost = \"N\"\n"),
        ("poolwarden.toml", "[[topology.app]]\npool_size = 1\n"),
        ("pgbouncer.ini", "default_pool_size = 1\n"),
        ("pgbouncer.ini", "[databases]\na = host=b pool_size=3\n"),
        ("pgbouncer.ini", "[databases]\nN = host=N password=x pool_size=3x\n"),
        ("pgbouncer.ini", "password=x "),
        ("a.facts", "pg.setting.N = 1\n"),
        ("a.facts", "password="),
        (".env", "://a:b@"),
    ] {
        let (mut text, mut n) = (String::new(), 0);
        // Of names that differ a quarter is as telling, and does not hold the other tests up.
        let most = if unit.contains('N') { 1 << 18 } else { 1 << 20 };
        while text.len() < most {
            n += 1;
            text += &unit.replace('N', &n.to_string());
        }
        read_whole(&[(name, &text)]);
    }
}

#[test]
fn facts_that_could_be_of_several_servers_are_asked_about() {
    let inputs = [
        Input::File { name: "poolwarden.toml".to_owned(), text: OURS.to_owned() },
        Input::Facts(Facts { name: "x".to_owned(), facts: [("pg.setting.a".to_owned(), "1".to_owned())].into() }),
        Input::Facts(Facts {
            name: "postgres://watch@10.0.0.9:5433/app".to_owned(),
            facts: [("pg.setting.max_connections".to_owned(), "44".to_owned())].into(),
        }),
    ];
    let all = gather(&inputs, &mut |path| Err(format!("no {path}")));
    assert_eq!(all.faults.len(), 1, "{:?}", all.faults);
    assert_eq!(all.dossier.postgres[1].max_connections.as_ref().map(|known| known.value), Some(44));
}

#[test]
fn an_applications_own_file_and_its_declaration_become_one() {
    let declared = |name: &str, file: usize| App {
        replicas: Some(Known::written(Bound::Of(6), 0, 0..1)),
        pool_size: Some(Known::written(Bound::Of(10), 0, 0..1)),
        ..app(name.to_owned(), Library::Declared, file, 0..1)
    };
    let own = |name: &str, file: usize| App {
        pool_size: Some(Known::written(Bound::Of(7), file, 0..1)),
        ..app(name.to_owned(), Library::Hikari, file, 0..1)
    };
    let told = |apps: Vec<App>| -> Vec<(String, Option<Bound>, Option<Bound>)> {
        let mut out = Draft::default();
        out.dossier.apps = apps;
        assemble::assemble(&mut out);
        let value = |known: Option<Known<Bound>>| known.map(|known| known.value);
        out.dossier.apps.into_iter().map(|app| (app.name, value(app.replicas), value(app.pool_size))).collect()
    };
    let (six, seven, ten) = (Some(Bound::Of(6)), Some(Bound::Of(7)), Some(Bound::Of(10)));
    let named = |name: &str, replicas, size| (name.to_owned(), replicas, size);
    // of the same name
    let both = vec![declared("web", 0), declared("jobs", 0), own("jobs", 1)];
    assert_eq!(told(both), [named("web", six, ten), named("jobs", six, seven)]);
    // the only one of each, and several pools of one file
    assert_eq!(told(vec![declared("web", 0), own("application", 1)]), [named("web", six, seven)]);
    let several = vec![declared("web", 0), own("main", 1), own("queue", 1)];
    assert_eq!(told(several), [named("web", six, seven), named("web", six, seven)]);
    // nobody can say which
    let open = vec![declared("web", 0), own("a", 1), own("b", 2)];
    assert_eq!(told(open), [named("web", six, ten), named("a", None, seven), named("b", None, seven)]);
}

#[test]
fn one_address_under_two_names_has_both_budgets() {
    let server = |name: &str| {
        format!("[servers.{name}]\nhost = \"db\"\nmax_connections = 40\n[pools.{name}]\nserver = \"{name}\"\n")
    };
    let all = files(&[("poolwarden.toml", &(server("a") + &server("b")))]);
    assert_eq!((all.dossier.postgres.len(), all.dossier.postgres[0].name.as_str()), (1, "a"));
    assert_eq!(all.dossier.poolers[0].budgets[&0].value, Bound::Of(80));
}

#[test]
fn who_operates_uses_pools_if_a_limit_says_so_or_nobody_else_is_known() {
    let users = |console: &str, more: &str| {
        let text = format!(
            "[console]\n{console}\n[servers.main]\nhost = \"db\"\n[pools.app]\nsize = 5\n[users.a]\npassword_env = \"A\"\n{more}"
        );
        files(&[("poolwarden.toml", &text)]).dossier.poolers[0].pools[0].users.clone()
    };
    let b = "[users.b]\npassword_env = \"B\"\n";
    assert_eq!(users("", b), ["a", "b"]);
    assert_eq!(users("admins = [\"a\"]", b), ["b"]);
    assert_eq!(users("admins = [\"a\"]", &format!("max_connections = 2\n{b}")), ["a", "b"]);
    assert_eq!(users("admins = [\"a\"]", ""), ["a"]);
    assert_eq!(users("readers = [\"a\", \"b\"]", b), ["a", "b"]);
    let ini = |lines: &str, more: &str| {
        let text = format!("[databases]\napp = host=db\n[pgbouncer]\nauth_file = userlist.txt\n{lines}\n{more}");
        let list = "\"a\" \"x\"\n\"b\" \"x\"\n\"look\" \"x\"\n";
        files(&[("pgbouncer.ini", &text), ("userlist.txt", list)]).dossier.poolers[0].pools[0].users.clone()
    };
    assert_eq!(ini("auth_user = look\nadmin_users = a", ""), ["b"]);
    assert_eq!(ini("auth_user = look\nadmin_users = a", "[users]\na = max_user_connections=3\n"), ["a", "b"]);
    assert_eq!(ini("auth_user = look\nadmin_users = a, b", ""), ["a", "b"]);
}
