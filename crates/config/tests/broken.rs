//! Broken files of every kind, and exactly what their author gets to read.

use poolwarden_config::{Config, SecretRef, has_errors, render};

/// Files that exist, variables that are set; everything else is not there.
fn resolve(wanted: SecretRef) -> Result<String, String> {
    match wanted {
        SecretRef::File(path) if path == "empty" => Ok("\n".to_owned()),
        SecretRef::File(path) if path == "two-lines" => Ok("hunter2\nhunter3\n".to_owned()),
        SecretRef::Text(path) if path == "userlist.txt" => Ok("\"app\" \"hunter3\"\napp hunter3\n".to_owned()),
        SecretRef::Text(path) if path == "etc/hba.conf" => {
            Ok("host all all all ldap\nhost all @names all md5\n".to_owned())
        }
        SecretRef::Text(path) if path == "etc/names" => Ok("app, other\n".to_owned()),
        SecretRef::Text(path) if path == "ident.conf" => Ok("m /(bob \\1\n".to_owned()),
        SecretRef::File(path) | SecretRef::Text(path) => Err(format!("{path}: no such file")),
        SecretRef::Env(_) => Ok("hunter2".to_owned()),
    }
}

const SERVER: &str = "[servers.main]\nhost = \"db\"\n";

/// Name of the case, what stands in the file, whether a server is put in front.
const REFUSED: &[(&str, bool, &str)] = &[
    ("syntax", false, "[servers.main\nhost = \"db\"\n"),
    ("several_syntax_errors", false, "[servers.main]\nhost = db.internal\nport = \nsize == 4\n"),
    ("nearly_toml", true, "[pools.app]\nmin_size: 2\nsize = 20,\n"),
    ("nearly_quoted", true, "[pools.app]\nmode = “session”\nmax_wait = \"2s\ndisabled = False\n"),
    ("the_same_section_twice", true, "[pools.app]\nsize = 5\n[pools.app]\nmin_size = 2\n"),
    ("duplicate_key", true, "port = 1\nport = 2\n"),
    ("empty_file", false, ""),
    ("unknown_section", true, "[limit]\nmax_clients = 5\n"),
    ("unknown_key_near", true, "[pools.app]\nmax_wiat = \"2s\"\n"),
    ("unknown_key_elsewhere", true, "[pools.app]\nmax_clients = 5\n"),
    ("unknown_key_far", true, "[log]\nfrobnicate = 1\n"),
    ("pgbouncers_words", true, "[pools.app]\ndefault_pool_size = 5\npool_mode = \"session\"\n"),
    ("bare_duration", true, "[pools.app]\nmax_wait = 2\nlifetime = \"3600\"\n"),
    ("bare_size", true, "[limits]\nmemory = 1073741824\n"),
    ("bare_rate", true, "[[topology.app]]\nname = \"web\"\npeak_rate = 400\n"),
    ("wrong_unit", true, "[pools.app]\nmax_wait = \"2 parsecs\"\n"),
    ("wrong_type", true, "[pools.app]\nsize = \"20\"\ndisabled = \"yes\"\ntrack = [1, 2]\n"),
    ("a_value_where_a_table_belongs", true, "[pools]\napp = 5\n"),
    ("a_table_where_a_list_belongs", true, "[topology.app]\nname = \"web\"\n"),
    ("out_of_range", true, "[pools.app]\nsize = 0\nreserve = -1\n[listen]\nbacklog = 99999999999999999999\n"),
    ("unknown_word", true, "[pools.app]\nmode = \"transactions\"\n"),
    ("min_above_size", true, "[pools.app]\nsize = 5\nmin_size = 6\n"),
    ("no_host", false, "[servers.main]\nport = 5432\n"),
    ("host_with_port", false, "[servers.main]\nhost = \"db.internal:5433\"\n"),
    ("no_such_server", true, "[pools.app]\nserver = \"mian\"\n"),
    ("which_server", true, "[servers.other]\nhost = \"db2\"\n[pools.app]\nsize = 5\n"),
    ("no_such_class", true, "[users.app]\nclass = \"critcal\"\n[pools.app]\nclass = \"gold\"\n"),
    (
        "classes_that_claim_the_same",
        true,
        "[classes.a]\napplications = [\"web*\", \"job\"]\nnetworks = \"10.1.2.3/16\"\n\
         [classes.b]\napplications = \"web*\"\nnetworks = [\"10.1.0.0/16\", \"::1\"]\nweight = 0\n",
    ),
    ("applications_that_are_no_patterns", true, "[classes.batch]\napplications = [\"re*ports\", \"\", \"*\"]\n"),
    ("reserved_pool_names", true, "[pools.pgbouncer]\n[pools.poolwarden]\n"),
    ("broken_address", true, "[listen]\naddress = [\"localhost:6432\"]\nhttp = \"9432\"\n"),
    ("listened_on_twice", true, "[listen]\naddress = [\"127.0.0.1:9432\"]\nhttp = \"127.0.0.1:9432\"\n"),
    ("nowhere_to_listen", true, "[listen]\naddress = []\n"),
    ("http_in_the_open", true, "[listen]\nhttp = \"0.0.0.0:9432\"\n"),
    ("broken_network", true, "[listen]\nproxy_protocol = [\"10.0.0.0/33\"]\n"),
    (
        "literal_passwords",
        true,
        "[users.app]\npassword = \"hunter2\"\n[pools.app]\nuser = \"u\"\npassword = \"hunter2\"\n",
    ),
    ("secret_not_there", true, "[users.app]\nscram_file = \"secrets/app\"\n"),
    ("secret_empty", true, "[users.app]\nscram_file = \"empty\"\n"),
    ("secret_of_two_lines", true, "[users.app]\nscram_file = \"two-lines\"\n"),
    ("two_secrets", true, "[users.app]\nscram_file = \"a\"\npassword_env = \"B\"\n"),
    (
        "tls_half_written",
        true,
        "tls = \"verify-full\"\ntls_key = \"k\"\n[listen.tls]\nmode = \"verify-ca\"\ncertificate = \"c\"\n",
    ),
    ("tls_direct_without_tls", true, "tls_negotiation = \"direct\"\nchannel_binding = \"require\"\n"),
    ("tls_words", true, "tls = \"on\"\n[listen.tls]\ncert = \"c\"\nmin_version = \"1.1\"\n"),
    ("auth_query_that_nobody_asks", true, "[auth]\nquery = \"select 1\"\n"),
    ("auth_server_and_rules_missing", true, "[auth]\nmethod = \"hba\"\nuser = \"u\"\nserver = \"mian\"\n"),
    (
        "auth_files_with_faults",
        true,
        "[auth]\nmethod = \"hba\"\nuserlist = \"userlist.txt\"\nhba = \"etc/hba.conf\"\nident_map = \"ident.conf\"\n",
    ),
    ("auth_file_not_there", true, "[auth]\nuserlist = \"nowhere.txt\"\n"),
    ("watch_without_user", true, "[servers.main.watch]\ndatabase = \"postgres\"\n"),
    ("connects_upside_down", true, "connects_start = 20\n"),
    ("time_limit_of_nothing", true, "connect_timeout = \"0s\"\n[limits]\nlogin_timeout = \"0s\"\n"),
    (
        "many_faults_at_once",
        true,
        "port = 0\n[pools.app]\nsiez = 5\nmax_wait = 1\n[usres.app]\n[log]\nlevel = \"loud\"\n",
    ),
    ("not_ascii", true, "# größer\n[pools.\"größe\"]\nmode = \"ständig\"\n"),
];

const ALLOWED: &[(&str, &str)] = &[
    ("trust_in_the_open", "[auth]\nmethod = \"trust\"\n[listen]\naddress = [\"0.0.0.0:6432\"]\n"),
    ("nobody_can_log_in", ""),
    ("database_limit_below_size", "[auth]\nmethod = \"trust\"\n[pools.app]\nsize = 20\nmax_connections = 5\n"),
    ("only_read_so_far", "[auth]\nmethod = \"trust\"\n[drill]\nmax_age = \"7d\"\n"),
    (
        "reserves_beyond_the_size",
        "[auth]\nmethod = \"trust\"\n[users.till]\nclass = \"critical\"\npool_size = 3\n[classes.critical]\nreserve = 2\n\
         [classes.batch]\nreserve = 1\napplications = \"night*\"\n[pools.app]\nsize = 4\n",
    ),
];

#[test]
fn every_broken_file_says_where_and_what_to_write() {
    for (name, with_server, text) in REFUSED {
        let text = if *with_server { format!("{SERVER}{text}") } else { (*text).to_owned() };
        let (config, findings) = Config::parse(&text, resolve);
        assert!(config.is_none() && has_errors(&findings), "{name} is not refused");
        let rendered = render("poolwarden.toml", &text, &findings);
        assert!(!rendered.contains("hunter3"), "{name} tells a secret");
        for finding in &findings {
            assert!(finding.line >= 1 && finding.column >= 1 && finding.span.end <= text.len(), "{name}");
            assert!(!finding.fix.is_empty(), "{name}: no fix in {}", finding.message);
        }
        insta::assert_snapshot!(*name, rendered);
    }
}

#[test]
fn more_classes_than_there_are_ids_are_refused() {
    let classes = |count: usize| (0..count).map(|n| format!("[classes.c{n}]\nweight = 2\n")).collect::<String>();
    let (most, findings) = Config::parse(&format!("{SERVER}{}", classes(Config::MAX_CLASSES - 3)), resolve);
    assert!(most.is_some_and(|config| config.classes_by_id().count() == Config::MAX_CLASSES), "{findings:?}");
    let (more, findings) = Config::parse(&format!("{SERVER}{}", classes(Config::MAX_CLASSES - 2)), resolve);
    assert!(more.is_none() && findings.iter().any(|finding| finding.message.contains("201 classes")), "{findings:?}");
}

#[test]
fn what_is_allowed_and_probably_not_meant_is_said() {
    for (name, text) in ALLOWED {
        let text = format!("{SERVER}{text}");
        let (config, findings) = Config::parse(&text, resolve);
        assert!(config.is_some(), "{name} is refused: {findings:?}");
        assert!(!findings.is_empty(), "{name}: nothing is said");
        insta::assert_snapshot!(*name, render("poolwarden.toml", &text, &findings));
    }
}
