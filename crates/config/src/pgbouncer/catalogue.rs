//! Every setting of PgBouncer, once, in PgBouncer's order: how it reads it, its default, and what it is here.
//!
//! The newest PgBouncer's names and defaults (1.25 and what its next release has); older ones are a subset, but for the
//! defaults in [`CHANGED`]. The reader, docs/pgbouncer.md and the tests go by this list.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it stands.
    pub section: Section,
    /// Its name.
    pub name: &'static str,
    /// How PgBouncer reads its value.
    pub form: Form,
    /// Its default as PgBouncer prints it; empty: none.
    pub default: &'static str,
    /// Whether PgBouncer applies a change at a reload.
    pub live: bool,
    /// What it is here.
    pub verdict: Verdict,
    /// What it becomes here.
    pub becomes: Becomes,
    /// How it differs, or why it is refused and what to do.
    pub why: &'static str,
    /// A value as the file writes it, other than the default.
    pub example: &'static str,
}

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// `[pgbouncer]`.
    Pgbouncer,
    /// A connection string of `[databases]`.
    Databases,
    /// Settings of a user in `[users]`.
    Users,
    /// A connection string of `[peers]`.
    Peers,
}

impl Section {
    /// All of them, in the order of docs/pgbouncer.md.
    pub const ALL: [Self; 4] = [Self::Pgbouncer, Self::Databases, Self::Users, Self::Peers];

    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pgbouncer => "pgbouncer",
            Self::Databases => "databases",
            Self::Users => "users",
            Self::Peers => "peers",
        }
    }
}

/// How PgBouncer reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number: decimal, `0x` hexadecimal or `0` octal.
    Number,
    /// Seconds, with a fraction where wanted.
    Seconds,
    /// Any text.
    Text,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
}

/// What a setting is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does what it does in PgBouncer.
    Same,
    /// It does what it is for, better; how is said.
    Better,
    /// Another value than the default is an error that says why. Values in the list are as good as the default.
    Refused(&'static [&'static str]),
}

impl Verdict {
    /// The word of the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Better => "better",
            Self::Refused(_) => "refused",
        }
    }
}

/// What a setting becomes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Becomes {
    /// This setting of a poolwarden.toml.
    Setting(&'static str),
    /// Part of the process only: a poolwarden.toml has no word for it.
    Process,
    /// Nothing: what it tunes is not there. Setting it is answered with a remark.
    Nothing,
}

type Text = &'static str;

const fn entry(section: Section, name: Text, form: Form, default: Text, is: (Verdict, Becomes, Text, Text)) -> Entry {
    let (verdict, becomes, why, example) = is;
    Entry { section, name, form, default, live: true, verdict, becomes, why, example }
}

/// A setting of `[pgbouncer]`.
const fn main(name: Text, form: Form, default: Text, is: (Verdict, Becomes, Text, Text)) -> Entry {
    entry(Section::Pgbouncer, name, form, default, is)
}

const fn database(name: Text, form: Form, is: (Verdict, Becomes, Text, Text)) -> Entry {
    entry(Section::Databases, name, form, "", is)
}

const fn user(name: Text, form: Form, is: (Verdict, Becomes, Text, Text)) -> Entry {
    entry(Section::Users, name, form, "", is)
}

const fn peer(name: Text, form: Form, is: (Verdict, Becomes, Text, Text)) -> Entry {
    entry(Section::Peers, name, form, "", is)
}

/// A change waits for a restart.
const fn fixed(mut entry: Entry) -> Entry {
    entry.live = false;
    entry
}

type Is = (Verdict, Becomes, Text, Text);

const fn same(key: Text, example: Text) -> Is {
    (Verdict::Same, Becomes::Setting(key), "", example)
}

const fn same_but(key: Text, example: Text, why: Text) -> Is {
    (Verdict::Same, Becomes::Setting(key), why, example)
}

const fn better(key: Text, example: Text, why: Text) -> Is {
    (Verdict::Better, Becomes::Setting(key), why, example)
}

const fn process(example: Text) -> Is {
    (Verdict::Same, Becomes::Process, "", example)
}

const fn needless(example: Text, why: Text) -> Is {
    (Verdict::Better, Becomes::Nothing, why, example)
}

const fn refused(example: Text, why: Text, fine: &'static [&'static str]) -> Is {
    (Verdict::Refused(fine), Becomes::Nothing, why, example)
}

use Form::{Choice, Number, Seconds};

const TEXT: Form = Form::Text;
const MODES: Form = Choice(&["session", "transaction", "statement"]);
const SSLMODES: Form = Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);
const AUTH: Form = Choice(&["any", "trust", "plain", "md5", "cert", "hba", "ldap", "pam", "scram-sha-256"]);
const BALANCE: Form = Choice(&["disable", "round-robin"]);
const ATTRS: Form = Choice(&["any", "read-write", "read-only", "primary", "standby"]);
/// PgBouncer's own query for a user's secret.
pub(crate) const AUTH_QUERY: Text = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin";
const CIPHERS: &[Text] = &["default", "secure", "fast", "normal"];
const NO_CIPHERS: Text =
    "the ciphers are those of TLS 1.2 with forward secrecy and of TLS 1.3, none weaker; remove the line";
const HOLDS: Text = "server connections are counted for each user of the pool as they are in PgBouncer, and SHOW LIMITS, SHOW WAITS and the error of a refused client say when this one binds";
const WAITS: Text =
    "the refused client is told which limit bound and who holds, as an ERROR that leaves its session alive";

/// All settings.
pub const CATALOGUE: &[Entry] = &[
    main("admin_users", TEXT, "", same("console.admins", "ops, dba")),
    main(
        "application_name_add_host",
        Number,
        "0",
        refused(
            "1",
            "the client's address is in SHOW CLIENTS and SHOW HOLDERS, and is not added to application_name",
            &[],
        ),
    ),
    main("auth_dbname", TEXT, "", same("auth.database", "authdb")),
    main("auth_file", TEXT, "", same_but("auth.userlist", "userlist.txt", "read again at a reload")),
    main("auth_hba_file", TEXT, "", same("auth.hba", "hba.conf")),
    main("auth_ident_file", TEXT, "", same("auth.ident_map", "ident.conf")),
    main(
        "auth_ldap_options",
        TEXT,
        "",
        refused("ldapurl=\"ldap://x\"", "there is no LDAP: use auth_query, or certificates", &[]),
    ),
    main(
        "auth_query",
        TEXT,
        AUTH_QUERY,
        better(
            "auth.query",
            "SELECT * FROM lookup($1)",
            "the answer is kept and refreshed in the background, and goes on to serve while PostgreSQL is away; the query runs on a connection of its own with clean settings",
        ),
    ),
    main(
        "auth_type",
        AUTH,
        "md5",
        better(
            "auth.method",
            "scram-sha-256",
            "wrong passwords are slowed down per source and user; ldap and pam are refused",
        ),
    ),
    main("auth_user", TEXT, "", same("auth.user", "lookup")),
    main(
        "autodb_idle_timeout",
        Seconds,
        "3600",
        needless("60", "an unused pool of `*` is retired after an hour, and its counters stay in the totals"),
    ),
    main(
        "cancel_wait_timeout",
        Seconds,
        "10",
        needless("5", "a cancel request waits for nothing: it goes out on a connection of its own at once"),
    ),
    main("client_idle_timeout", Seconds, "0", same("pools.NAME.client_idle_timeout", "60")),
    main("client_login_timeout", Seconds, "60", same("limits.login_timeout", "5")),
    main("client_tls13_ciphers", TEXT, "", refused("TLS_AES_128_GCM_SHA256", NO_CIPHERS, &[])),
    main("client_tls_ca_file", TEXT, "", same("listen.tls.client_ca", "ca.crt")),
    main("client_tls_cert_file", TEXT, "", same("listen.tls.certificate", "server.crt")),
    main("client_tls_ciphers", TEXT, "default", refused("AES128-SHA", NO_CIPHERS, CIPHERS)),
    main(
        "client_tls_dheparams",
        TEXT,
        "auto",
        refused("legacy", "key exchange is by elliptic curves only; remove the line", &["none"]),
    ),
    main(
        "client_tls_ecdhcurve",
        TEXT,
        "auto",
        refused(
            "secp521r1",
            "X25519, P-256 and P-384 are offered; remove the line",
            &["prime256v1", "x25519", "secp384r1"],
        ),
    ),
    main("client_tls_key_file", TEXT, "", same("listen.tls.key", "server.key")),
    main(
        "client_tls_protocols",
        TEXT,
        "secure",
        better("listen.tls.min_version", "tlsv1.3", "TLS 1.0 and 1.1 are refused"),
    ),
    main("client_tls_sslmode", SSLMODES, "disable", same("listen.tls.mode", "allow")),
    main("conffile", TEXT, "", process("other.ini")),
    main("default_pool_size", Number, "20", same_but("pools.NAME.size", "7", HOLDS)),
    fixed(main(
        "disable_pqexec",
        Number,
        "0",
        refused(
            "1",
            "the simple query protocol stays open: what it guards against is an application that pastes SQL together",
            &[],
        ),
    )),
    main(
        "dns_max_ttl",
        Seconds,
        "15",
        needless("60", "a name is resolved at each connect, so nothing outdated is used"),
    ),
    main(
        "dns_nxdomain_ttl",
        Seconds,
        "15",
        needless("60", "a name is resolved at each connect, and failures are not kept"),
    ),
    main(
        "dns_zone_check_period",
        Seconds,
        "0",
        refused("60", "zones are not watched; RECONNECT after a move closes the connections to the old address", &[]),
    ),
    main("idle_transaction_timeout", Seconds, "0", same("pools.NAME.idle_in_transaction_timeout", "30")),
    main(
        "ignore_startup_parameters",
        TEXT,
        "",
        needless(
            "extra_float_digits, options",
            "every start-up parameter that PostgreSQL accepts is honoured, each client sees its own, and only what PostgreSQL refuses is refused",
        ),
    ),
    fixed(main("job_name", TEXT, "pgbouncer", process("pooler"))),
    fixed(main("listen_addr", TEXT, "", same("listen.address", "10.1.2.3"))),
    fixed(main("listen_backlog", Number, "128", same("listen.backlog", "256"))),
    fixed(main("listen_port", Number, "6432", same("listen.unix_socket_port", "7432"))),
    main("log_connections", Number, "1", process("0")),
    main("log_disconnections", Number, "1", process("0")),
    main("log_pooler_errors", Number, "1", process("0")),
    main("log_stats", Number, "1", process("0")),
    main("logfile", TEXT, "", process("/tmp/pooler.log")),
    main("login_notify_message", TEXT, "", refused("hello", "no notice is sent at a login; remove the line", &[])),
    main("max_client_conn", Number, "100", same("limits.max_clients", "50")),
    main(
        "max_db_client_connections",
        Number,
        "0",
        refused("50", "clients are counted for all databases together (max_client_conn); remove the line", &[]),
    ),
    main("max_db_connections", Number, "0", same("pools.NAME.max_connections", "30")),
    main(
        "max_packet_size",
        Number,
        "2147483647",
        refused(
            "1048576",
            "messages pass through in pieces and are not held, so none is too large; remove the line",
            &[],
        ),
    ),
    main("max_prepared_statements", Number, "200", same("pools.NAME.max_prepared_statements", "50")),
    main(
        "max_user_client_connections",
        Number,
        "0",
        refused("50", "clients are counted for all users together (max_client_conn); remove the line", &[]),
    ),
    main("max_user_connections", Number, "0", same("servers.NAME.max_user_connections", "30")),
    main("min_pool_size", Number, "0", same("pools.NAME.min_size", "2")),
    main("peer_id", Number, "0", same_but("poolwarden.instance_id", "2", "1 to 255")),
    fixed(main("pidfile", TEXT, "", process("/tmp/pooler.pid"))),
    fixed(main(
        "pkt_buf",
        Number,
        "4096",
        needless("8192", "an idle client holds no buffer, and busy ones share those of their loop"),
    )),
    main(
        "pool_idle_timeout",
        Seconds,
        "0",
        needless("60", "an unused pool of `*` is retired after an hour, and its counters stay in the totals"),
    ),
    main(
        "pool_mode",
        MODES,
        "session",
        better(
            "pools.NAME.mode",
            "transaction",
            "in transaction mode, session state is restored for its client or keeps its server connection, and never reaches another client",
        ),
    ),
    main("query_timeout", Seconds, "0", same("pools.NAME.query_timeout", "60")),
    main(
        "query_wait_notify",
        Number,
        "5",
        refused("1", "no notice is sent while a client waits: SHOW WAITS and /metrics say who waits for what", &["0"]),
    ),
    main("query_wait_timeout", Seconds, "120", better("pools.NAME.max_wait", "7", WAITS)),
    main("reserve_pool_size", Number, "0", same("pools.NAME.reserve", "3")),
    main("reserve_pool_timeout", Seconds, "5", same_but("pools.NAME.reserve_after", "2", "0 turns the reserve off")),
    fixed(main(
        "resolv_conf",
        TEXT,
        "",
        refused("/etc/other.conf", "names are resolved as the system does; remove the line", &[]),
    )),
    main("sbuf_loopcnt", Number, "5", needless("9", "no connection may hold up a loop, however much it sends")),
    main(
        "scram_iterations",
        Number,
        "4096",
        refused(
            "10000",
            "plain passwords are salted with 4096 iterations; write a SCRAM secret with more into the userlist",
            &[],
        ),
    ),
    main("server_check_delay", Seconds, "30", needless("5", CHECKED)),
    main("server_check_query", TEXT, "<empty>", needless("select 2", CHECKED)),
    main("server_connect_timeout", Seconds, "15", same("servers.NAME.connect_timeout", "5")),
    main(
        "server_fast_close",
        Number,
        "0",
        refused(
            "1",
            "RECONNECT and a reload close a session's server connection when the session ends; KILL ends sessions at once",
            &[],
        ),
    ),
    main("server_idle_timeout", Seconds, "600", same("pools.NAME.idle_timeout", "60")),
    main(
        "server_lifetime",
        Seconds,
        "3600",
        better("pools.NAME.lifetime", "60", "spread by a tenth, so that connections of one age do not end together"),
    ),
    main(
        "server_login_retry",
        Seconds,
        "15",
        needless(
            "1",
            "a failed connect is tried again after 100 ms, then ever later up to 5 s, and all who wait are served as soon as one succeeds",
        ),
    ),
    main("server_reset_query", TEXT, "DISCARD ALL", same("pools.NAME.server_reset_query", "RESET ALL")),
    main("server_reset_query_always", Number, "0", same("pools.NAME.reset", "1")),
    main(
        "server_round_robin",
        Number,
        "0",
        refused(
            "1",
            "the connection used last is lent first, so that those not needed can close; remove the line",
            &[],
        ),
    ),
    main("server_tls13_ciphers", TEXT, "", refused("TLS_AES_128_GCM_SHA256", NO_CIPHERS, &[])),
    main("server_tls_ca_file", TEXT, "", same("servers.NAME.tls_ca", "ca.crt")),
    main("server_tls_cert_file", TEXT, "", same("servers.NAME.tls_certificate", "client.crt")),
    main("server_tls_ciphers", TEXT, "default", refused("AES128-SHA", NO_CIPHERS, CIPHERS)),
    main("server_tls_key_file", TEXT, "", same("servers.NAME.tls_key", "client.key")),
    main(
        "server_tls_protocols",
        TEXT,
        "secure",
        better("servers.NAME.tls_min_version", "tlsv1.3", "TLS 1.0 and 1.1 are refused"),
    ),
    main("server_tls_sslmode", SSLMODES, "prefer", same("servers.NAME.tls", "disable")),
    fixed(main("service_name", TEXT, "", refused("pooler", "it names a Windows service; write job_name", &[]))),
    fixed(main(
        "so_reuseport",
        Number,
        "0",
        same_but(
            "listen.reuse_port",
            "1",
            "needed only for several processes: one uses as many cores as the load needs",
        ),
    )),
    main("stats_period", Number, "60", process("30")),
    main("stats_users", TEXT, "", same("console.readers", "monitor")),
    main("suspend_timeout", Seconds, "10", process("5")),
    main("syslog", Number, "0", process("1")),
    main("syslog_facility", TEXT, "daemon", process("local0")),
    main("syslog_ident", TEXT, "pgbouncer", process("pooler")),
    main(
        "tcp_defer_accept",
        Number,
        "1",
        needless("0", "a connection that says nothing costs no buffer and makes room when others come"),
    ),
    main("tcp_keepalive", Number, "1", same("servers.NAME.keepalive", "0")),
    main("tcp_keepcnt", Number, "0", needless("5", KEEPALIVE)),
    main(
        "tcp_keepidle",
        Number,
        "0",
        better(
            "servers.NAME.keepalive",
            "60",
            "30 s where it is 0, so that a server that is gone is noticed within a minute",
        ),
    ),
    main("tcp_keepintvl", Number, "0", needless("5", KEEPALIVE)),
    main(
        "tcp_socket_buffer",
        Number,
        "0",
        needless("65536", "the kernel sizes socket buffers by the load (net.ipv4.tcp_rmem, tcp_wmem)"),
    ),
    main(
        "tcp_user_timeout",
        Number,
        "0",
        better(
            "servers.NAME.tcp_user_timeout",
            "10000",
            "30 s where it is 0, so that a server that is gone is noticed",
        ),
    ),
    fixed(main(
        "track_extra_parameters",
        TEXT,
        "IntervalStyle",
        better(
            "pools.NAME.track",
            "search_path",
            "each client's own parameters are kept apart whether PostgreSQL reports them or not",
        ),
    )),
    main("transaction_timeout", Seconds, "0", same("pools.NAME.transaction_timeout", "60")),
    fixed(main("unix_socket_dir", TEXT, "/tmp", same("listen.unix_socket_dir", "/run/pooler"))),
    fixed(main("unix_socket_group", TEXT, "", process("pooler"))),
    fixed(main("unix_socket_mode", Number, "0777", process("0700"))),
    fixed(main("user", TEXT, "", process("postgres"))),
    main("verbose", Number, "0", process("2")),
    database("application_name", TEXT, same("pools.NAME.startup.NAME", "shop")),
    database("auth_dbname", TEXT, same("auth.database", "authdb")),
    database(
        "auth_query",
        TEXT,
        same_but("auth.query", "'select * from lookup($1)'", "the same for all databases that name one"),
    ),
    database("auth_user", TEXT, same_but("auth.user", "lookup", "the same for all databases that name one")),
    database("client_encoding", TEXT, same("pools.NAME.startup.NAME", "UTF8")),
    database(
        "connect_query",
        TEXT,
        refused(
            "'select 1'",
            "no query is run on a new connection: write what it sets as ALTER ROLE ... SET or ALTER DATABASE ... SET",
            &[],
        ),
    ),
    database("datestyle", TEXT, same("pools.NAME.startup.NAME", "ISO")),
    database("dbname", TEXT, same("pools.NAME.database", "shop_v2")),
    database("host", TEXT, same_but("pools.NAME.server", "10.9.9.9", "one host: a comma-separated list is refused")),
    database(
        "load_balance_hosts",
        BALANCE,
        refused("disable", "one host is served, so there is nothing to balance", &["round-robin"]),
    ),
    database(
        "max_db_client_connections",
        Number,
        refused("9", "clients are counted for all databases together (max_client_conn); remove it", &["0"]),
    ),
    database("max_db_connections", Number, same("pools.NAME.max_connections", "30")),
    database("min_pool_size", Number, same_but("pools.NAME.min_size", "2", "once a client has been there")),
    database(
        "password",
        TEXT,
        same_but("pools.NAME.password_env", "secret", "in a TOML it moves to an environment variable or a file"),
    ),
    database("pool_mode", MODES, same("pools.NAME.mode", "transaction")),
    database("pool_size", Number, same("pools.NAME.size", "7")),
    database("port", Number, same("servers.NAME.port", "5433")),
    database("query_wait_timeout", Number, same("pools.NAME.max_wait", "7")),
    database("reserve_pool", Number, same("pools.NAME.reserve", "3")),
    database("reserve_pool_size", Number, same("pools.NAME.reserve", "3")),
    database("server_lifetime", Number, same("pools.NAME.lifetime", "60")),
    database(
        "target_session_attrs",
        ATTRS,
        refused("primary", "the server is taken as it is; name the primary's own address", &["any"]),
    ),
    database("timezone", TEXT, same("pools.NAME.startup.NAME", "UTC")),
    database("user", TEXT, same("pools.NAME.user", "svc")),
    user("client_idle_timeout", Number, same("users.NAME.client_idle_timeout", "60")),
    user("idle_transaction_timeout", Number, same("users.NAME.idle_in_transaction_timeout", "30")),
    user(
        "max_user_client_connections",
        Number,
        refused("9", "clients are counted for all users together (max_client_conn); remove it", &["0"]),
    ),
    user("max_user_connections", Number, same("users.NAME.max_connections", "30")),
    user("pool_mode", MODES, same("users.NAME.mode", "transaction")),
    user("pool_size", Number, same("users.NAME.pool_size", "7")),
    user("query_timeout", Number, same("users.NAME.query_timeout", "60")),
    user(
        "query_wait_timeout",
        Number,
        refused("7", "the wait is the pool's: set it there (query_wait_timeout of the database)", &["-1"]),
    ),
    user(
        "reserve_pool_size",
        Number,
        refused("3", "the reserve is the pool's: set it there (reserve_pool_size of the database)", &[]),
    ),
    user("transaction_timeout", Number, same("users.NAME.transaction_timeout", "60")),
    peer("host", TEXT, same("peers.NAME.host", "10.9.9.9")),
    peer(
        "pool_size",
        Number,
        needless("5", "a cancel request for a peer goes out at once, on a connection of its own"),
    ),
    peer("port", Number, same("peers.NAME.port", "7432")),
];

const CHECKED: Text =
    "a server connection that PostgreSQL closed is noticed while it is idle and is never lent, without a query";
const KEEPALIVE: Text = "three probes at a third of tcp_keepidle";

/// Defaults that were others in PgBouncer 1.18: name and that default.
pub const CHANGED: &[(&str, &str)] = &[
    ("server_check_query", "select 1"),
    ("server_tls_sslmode", "disable"),
    ("client_tls_ciphers", "fast"),
    ("server_tls_ciphers", "fast"),
];

/// The setting of that name in that section.
#[must_use]
pub fn find(section: Section, name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.section == section && entry.name == name)
}
