//! Every setting of the file, once, in the order they are shown: what it accepts, its default, whether it is live, what it is for.
//!
//! `NAME` in a key stands for a name the operator chose, `[]` for each table of an array. The walk accepts exactly these keys.

use crate::value::Kind;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Dotted key, `pools.NAME.size`.
    pub key: &'static str,
    /// What it accepts.
    pub kind: Kind,
    /// The default as the file would write it, without quotes; empty: none, or as the sentence says.
    pub default: &'static str,
    /// Whether a reload applies it; else it needs a restart.
    pub live: bool,
    /// Whether anything in this release acts on it; else it is only read and checked.
    pub acts: bool,
    /// One sentence.
    pub doc: &'static str,
    /// A value as the file writes it.
    pub example: &'static str,
}

type Text = &'static str;

const fn live(key: Text, kind: Kind, default: Text, doc: Text, example: Text) -> Setting {
    Setting { key, kind, default, live: true, acts: true, doc, example }
}

const fn restart(key: Text, kind: Kind, default: Text, doc: Text, example: Text) -> Setting {
    Setting { key, kind, default, live: false, acts: true, doc, example }
}

const fn later(key: Text, kind: Kind, default: Text, doc: Text, example: Text) -> Setting {
    Setting { key, kind, default, live: true, acts: false, doc, example }
}

/// Most connections a number may ask for: PostgreSQL's own bound (MAX_BACKENDS).
const MOST: i64 = 262_143;
const ANY: i64 = 1_000_000_000;
const MODES: Kind = Kind::Choice(&["session", "transaction", "statement"]);

const TLS_MODES: Kind = Kind::Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]);
const TLS_VERSIONS: Kind = Kind::Choice(&["1.2", "1.3"]);

/// All settings.
pub const CATALOGUE: &[Setting] = &[
    restart(
        "poolwarden.data_dir",
        Kind::Text,
        "",
        "directory for the token, history and recordings; default /var/lib/poolwarden, or poolwarden below the XDG state directory",
        "\"/var/lib/poolwarden\"",
    ),
    live(
        "poolwarden.guard",
        Kind::Choice(&["enforce", "observe"]),
        "enforce",
        "observe sheds, ends and undoes nothing, and counts what it would have done",
        "\"observe\"",
    ),
    restart(
        "poolwarden.loops",
        Kind::AutoInteger(1, 256),
        "auto",
        "event loops; auto is as many as the load needs",
        "2",
    ),
    restart(
        "poolwarden.instance_id",
        Kind::Integer(1, 255),
        "",
        "which of several instances behind one address this is; cancel requests that name another are forwarded to [peers.ID]",
        "1",
    ),
    live(
        "poolwarden.drain_delay",
        Kind::Duration,
        "0s",
        "after SIGTERM, time to go on accepting while /readyz already says no, so that balancers notice",
        "\"5s\"",
    ),
    live(
        "poolwarden.drain_deadline",
        Kind::Duration,
        "30s",
        "longest a drain waits for what is lent before it closes the rest",
        "\"60s\"",
    ),
    restart(
        "listen.address",
        Kind::Addresses,
        "127.0.0.1:6432",
        "where PostgreSQL clients connect over TCP",
        "[\"127.0.0.1:6432\", \"[::1]:6432\"]",
    ),
    restart(
        "listen.unix_socket_dir",
        Kind::Text,
        "",
        "directory of the unix socket, .s.PGSQL.PORT with the first address's port; empty: the data directory",
        "\"/run/poolwarden\"",
    ),
    restart(
        "listen.unix_socket_port",
        Kind::Integer(1, 65_535),
        "",
        "port in the unix socket's name; default the first address's, else 6432",
        "7432",
    ),
    restart(
        "listen.reuse_port",
        Kind::Bool,
        "false",
        "several processes may listen on the same address and the kernel spreads clients over them; one process uses many cores without it",
        "true",
    ),
    restart(
        "listen.http",
        Kind::Address,
        "127.0.0.1:9432",
        "dashboard, API, metrics and health; loopback only",
        "\"off\"",
    ),
    restart(
        "listen.metrics",
        Kind::Address,
        "off",
        "metrics and health alone, for scrapers and probes elsewhere",
        "\"0.0.0.0:9433\"",
    ),
    live(
        "listen.pgbouncer_metrics",
        Kind::Bool,
        "false",
        "/metrics has PgBouncer's numbers as well, under the names that prometheus-community's pgbouncer_exporter gives them",
        "true",
    ),
    restart(
        "listen.backlog",
        Kind::Integer(1, 65_535),
        "4096",
        "connections the kernel may hold before they are accepted",
        "1024",
    ),
    live(
        "listen.proxy_protocol",
        Kind::Networks,
        "",
        "networks whose PROXY protocol v2 headers are believed",
        "[\"10.0.0.0/8\"]",
    ),
    live(
        "listen.tls.mode",
        TLS_MODES,
        "",
        "TLS for clients over TCP: allow and prefer serve whoever asks, require refuses the others, verify-ca and verify-full ask for a client certificate; default: prefer where there is a certificate, else disable",
        "\"require\"",
    ),
    live(
        "listen.tls.certificate",
        Kind::Text,
        "",
        "PEM file of the certificate shown to clients, its chain behind it; a relative path starts at this file's directory, and a reload reads it again",
        "\"server.crt\"",
    ),
    live(
        "listen.tls.key",
        Kind::Text,
        "",
        "PEM file of that certificate's key; default: the certificate's file",
        "\"server.key\"",
    ),
    live(
        "listen.tls.client_ca",
        Kind::Text,
        "",
        "PEM file of the authorities client certificates must come from; without verify-ca or verify-full a client may come without one",
        "\"clients.crt\"",
    ),
    live("listen.tls.min_version", TLS_VERSIONS, "1.2", "oldest TLS spoken with clients", "\"1.3\""),
    live(
        "console.admins",
        Kind::List,
        "",
        "users who may change things on the SQL console; \"*\" is everybody",
        "[\"ops\"]",
    ),
    live(
        "console.readers",
        Kind::List,
        "*",
        "users who may look (aggregates, no SQL text); \"*\" is everybody",
        "[\"monitor\"]",
    ),
    live(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "text",
        "one line per event, for people or for machines",
        "\"json\"",
    ),
    live(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "least level that is written",
        "\"debug\"",
    ),
    live(
        "auth.method",
        Kind::Choice(&["trust", "password", "md5", "scram-sha-256", "cert", "hba", "peer"]),
        "scram-sha-256",
        "how clients prove who they are; md5 asks users with a SCRAM secret for SCRAM, hba follows the rules of auth.hba",
        "\"scram-sha-256\"",
    ),
    live(
        "auth.userlist",
        Kind::Text,
        "",
        "file of PgBouncer's form (\"user\" \"secret\", a line each); a secret below [users.NAME] goes before",
        "\"userlist.txt\"",
    ),
    live(
        "auth.hba",
        Kind::Text,
        "",
        "file of rules as PostgreSQL's pg_hba.conf (local, host, hostssl, hostnossl); the first that fits counts",
        "\"hba.conf\"",
    ),
    live(
        "auth.ident_map",
        Kind::Text,
        "",
        "file of maps as PostgreSQL's pg_ident.conf, for the rules cert and peer with map=",
        "\"ident.conf\"",
    ),
    live(
        "auth.user",
        Kind::Text,
        "",
        "role that looks up users who are listed nowhere; without it nobody is looked up",
        "\"poolwarden_auth\"",
    ),
    live(
        "auth.query",
        Kind::Text,
        "select rolname, case when rolvaliduntil < now() then null else rolpassword end from pg_authid where rolname = $1 and rolcanlogin",
        "gives the name and the secret of user $1; no row, or no secret: nobody may log in so",
        "\"select * from poolwarden.lookup($1)\"",
    ),
    live("auth.password_env", Kind::SecretEnv, "", "variable with the password of auth.user", "\"AUTH_PASSWORD\""),
    live(
        "auth.password_file",
        Kind::SecretFile,
        "",
        "file with it; without either, its password as a user",
        "\"secrets/auth\"",
    ),
    live(
        "auth.database",
        Kind::Text,
        "",
        "database in which users are looked up; default the one the client wants",
        "\"postgres\"",
    ),
    live("auth.server", Kind::Text, "", "server that is asked; default that of the client's pool", "\"main\""),
    live(
        "auth.search_path",
        Kind::Text,
        "pg_catalog",
        "search_path of that connection, so that nobody's tables are read instead; empty leaves the role's own",
        "\"pg_catalog\"",
    ),
    live(
        "auth.cache",
        Kind::Duration,
        "60s",
        "how long an answer counts; for as long again it counts while a newer one is fetched",
        "\"10s\"",
    ),
    live("auth.max_stale", Kind::Duration, "1h", "how long an answer serves while PostgreSQL is away", "\"15m\""),
    live(
        "auth.known_users",
        Kind::Bool,
        "false",
        "who is let in without a password must still be a user of [users], of the userlist or of auth.query",
        "true",
    ),
    live(
        "auth.failure_delay",
        Kind::Duration,
        "500ms",
        "a failed login is told so after about this long; nobody else waits",
        "\"1s\"",
    ),
    live(
        "auth.failures_per_minute",
        Kind::Integer(0, ANY),
        "60",
        "failures of one user from one address (or IPv6 /64) that are heard in a minute, further tries are refused unheard; 0 hears all",
        "10",
    ),
    live(
        "servers.NAME.host",
        Kind::Text,
        "",
        "host name, ip address, or directory of a unix socket (starts with /); the one key without a default",
        "\"db.internal\"",
    ),
    live("servers.NAME.port", Kind::Integer(1, 65_535), "5432", "PostgreSQL's port", "5433"),
    live(
        "servers.NAME.tls",
        TLS_MODES,
        "prefer",
        "TLS towards PostgreSQL, in libpq's words; never over a unix socket",
        "\"verify-full\"",
    ),
    live(
        "servers.NAME.tls_negotiation",
        Kind::Choice(&["postgres", "direct"]),
        "postgres",
        "direct: TLS from the first byte (PostgreSQL 17 on), one round trip less; needs tls = require or more",
        "\"direct\"",
    ),
    live(
        "servers.NAME.tls_ca",
        Kind::Text,
        "",
        "PEM file of the authorities the server's certificate must come from; default for verify-ca and verify-full: the system's",
        "\"root.crt\"",
    ),
    live(
        "servers.NAME.tls_certificate",
        Kind::Text,
        "",
        "PEM file of the certificate shown to PostgreSQL where it asks for one",
        "\"poolwarden.crt\"",
    ),
    live(
        "servers.NAME.tls_key",
        Kind::Text,
        "",
        "PEM file of that certificate's key; default: the certificate's file",
        "\"poolwarden.key\"",
    ),
    live("servers.NAME.tls_min_version", TLS_VERSIONS, "1.2", "oldest TLS spoken with PostgreSQL", "\"1.3\""),
    live(
        "servers.NAME.channel_binding",
        Kind::Choice(&["disable", "prefer", "require"]),
        "prefer",
        "whether SCRAM is bound to the TLS connection, so that nobody in between can take part in it",
        "\"require\"",
    ),
    live(
        "servers.NAME.max_protocol_version",
        Kind::Choice(&["3.0", "3.2"]),
        "3.2",
        "newest protocol asked for; a server that cannot is asked again with 3.0",
        "\"3.0\"",
    ),
    live(
        "servers.NAME.max_connections",
        Kind::AutoInteger(1, MOST),
        "auto",
        "the host budget: server connections of all pools of this server together; auto asks PostgreSQL, and is 50 while unknown",
        "80",
    ),
    live(
        "servers.NAME.max_user_connections",
        Kind::Integer(1, MOST),
        "",
        "server connections of one user over all pools of this server, for users without a max_connections of their own; default unlimited",
        "40",
    ),
    live(
        "servers.NAME.instances",
        Kind::Integer(1, 10_000),
        "",
        "poolwarden processes that share this PostgreSQL; divides auto; default topology.pooler.instances",
        "2",
    ),
    live(
        "servers.NAME.connect_timeout",
        Kind::Duration,
        "15s",
        "longest a connect to PostgreSQL may take, login included",
        "\"5s\"",
    ),
    live(
        "servers.NAME.connects_start",
        Kind::Integer(1, 1_000),
        "4",
        "connects in flight at the start and after a failure",
        "2",
    ),
    live(
        "servers.NAME.connects_max",
        Kind::Integer(1, 1_000),
        "16",
        "most connects in flight; each successful round doubles up to here",
        "32",
    ),
    live(
        "servers.NAME.ghost_timeout",
        Kind::Duration,
        "60s",
        "longest a connection that would not end is still counted",
        "\"30s\"",
    ),
    live(
        "servers.NAME.tcp_user_timeout",
        Kind::Duration,
        "30s",
        "unacknowledged bytes older than this end a server connection; 0s leaves it to the system",
        "\"10s\"",
    ),
    live(
        "servers.NAME.keepalive",
        Kind::Duration,
        "30s",
        "idle time before TCP keepalive probes a server connection; 0s: none",
        "\"60s\"",
    ),
    live(
        "servers.NAME.watch.user",
        Kind::Text,
        "",
        "role (pg_monitor) of the one connection that asks PostgreSQL about itself",
        "\"poolwarden\"",
    ),
    live("servers.NAME.watch.password_env", Kind::SecretEnv, "", "variable with its password", "\"WATCH_PASSWORD\""),
    live("servers.NAME.watch.scram_file", Kind::SecretFile, "", "file with its password", "\"secrets/watch\""),
    live("servers.NAME.watch.database", Kind::Text, "postgres", "database it connects to", "\"postgres\""),
    live(
        "pools.NAME.server",
        Kind::Text,
        "",
        "which [servers.NAME]; may be left out when there is only one",
        "\"main\"",
    ),
    live(
        "pools.NAME.database",
        Kind::Text,
        "",
        "the database's name in PostgreSQL; default: the name clients ask for",
        "\"app\"",
    ),
    live(
        "pools.NAME.user",
        Kind::Text,
        "",
        "PostgreSQL role for every client of this pool; default: the client's own user",
        "\"app_rw\"",
    ),
    live("pools.NAME.password_env", Kind::SecretEnv, "", "variable with that role's password", "\"APP_RW_PASSWORD\""),
    live("pools.NAME.scram_file", Kind::SecretFile, "", "file with that role's password", "\"secrets/app_rw\""),
    live("pools.NAME.mode", MODES, "transaction", "when a server connection goes back to its pool", "\"session\""),
    live("pools.NAME.size", Kind::Integer(1, MOST), "20", "server connections per (database, user)", "50"),
    live(
        "pools.NAME.min_size",
        Kind::Integer(0, MOST),
        "0",
        "server connections kept open per (database, user) once a client has been there",
        "2",
    ),
    live(
        "pools.NAME.reserve",
        Kind::Integer(0, MOST),
        "0",
        "server connections beyond size, once the oldest waiter has waited reserve_after",
        "5",
    ),
    live("pools.NAME.reserve_after", Kind::Duration, "500ms", "wait after which the reserve opens", "\"1s\""),
    live(
        "pools.NAME.max_connections",
        Kind::Integer(1, MOST),
        "",
        "server connections of all users of this database together; default unlimited",
        "40",
    ),
    live(
        "pools.NAME.max_wait",
        Kind::Duration,
        "2s",
        "longest wait for a server connection while the server is up and the pool not paused",
        "\"5s\"",
    ),
    live("pools.NAME.pause_wait", Kind::Duration, "60s", "longest wait while the pool is paused", "\"30s\""),
    live("pools.NAME.down_wait", Kind::Duration, "15s", "longest wait while the server is down", "\"5s\""),
    live(
        "pools.NAME.query_timeout",
        Kind::Duration,
        "0s",
        "longest a request may run before its client is disconnected; 0s: no limit",
        "\"30s\"",
    ),
    live(
        "pools.NAME.transaction_timeout",
        Kind::Duration,
        "0s",
        "longest a transaction may take before its client is disconnected; 0s: no limit",
        "\"5m\"",
    ),
    live(
        "pools.NAME.idle_in_transaction_timeout",
        Kind::Duration,
        "0s",
        "longest a client may be silent inside a transaction before it is disconnected; 0s: no limit",
        "\"60s\"",
    ),
    live(
        "pools.NAME.client_idle_timeout",
        Kind::Duration,
        "0s",
        "longest a client may be silent outside a transaction before it is disconnected; 0s: no limit",
        "\"1h\"",
    ),
    live(
        "pools.NAME.max_queue",
        Kind::Integer(0, ANY),
        "100000",
        "waiting requests per pool; the next is refused",
        "1000",
    ),
    live(
        "pools.NAME.lifetime",
        Kind::Duration,
        "1h",
        "age at which an idle connection is closed, give or take a tenth; 0s: never",
        "\"30m\"",
    ),
    live(
        "pools.NAME.idle_timeout",
        Kind::Duration,
        "10m",
        "idle time after which a connection above min_size is closed; 0s: never",
        "\"2m\"",
    ),
    live("pools.NAME.disabled", Kind::Bool, "false", "new clients are refused and nothing is lent", "true"),
    live(
        "pools.NAME.server_reset_query",
        Kind::Text,
        "DISCARD ALL",
        "what a session-mode connection runs before the next client gets it; empty: nothing",
        "\"DISCARD ALL\"",
    ),
    live(
        "pools.NAME.reset",
        Kind::Choice(&["auto", "always"]),
        "auto",
        "auto: a connection is reset between clients in session mode only; always: in every mode, for settings made inside functions, which nobody sees",
        "\"always\"",
    ),
    live(
        "pools.NAME.session_state",
        Kind::Choice(&["pin", "refuse"]),
        "pin",
        "what becomes of a lock, a temporary table, LISTEN and other state that outlives a transaction: pin keeps the connection with its client, refuse is an error",
        "\"refuse\"",
    ),
    live(
        "pools.NAME.max_prepared_statements",
        Kind::Integer(0, 100_000),
        "200",
        "prepared statements kept on each server connection; 0: protocol-level statements are passed as they are",
        "500",
    ),
    live(
        "pools.NAME.track",
        Kind::List,
        "",
        "parameters followed besides the six that always are, so that each client sees its own",
        "[\"search_path\"]",
    ),
    live(
        "pools.NAME.startup.NAME",
        Kind::Parameter,
        "",
        "parameter every server connection of this pool starts with",
        "\"30s\"",
    ),
    live(
        "pools.NAME.class",
        Kind::Text,
        "",
        "class of the requests of this database, but for users with one of their own; default: the client network's, else default",
        "\"batch\"",
    ),
    live(
        "users.NAME.scram_file",
        Kind::SecretFile,
        "",
        "file with the user's SCRAM secret or password",
        "\"secrets/app\"",
    ),
    live(
        "users.NAME.password_env",
        Kind::SecretEnv,
        "",
        "variable with the user's SCRAM secret or password",
        "\"APP_PASSWORD\"",
    ),
    live(
        "users.NAME.max_connections",
        Kind::Integer(1, MOST),
        "",
        "server connections over all pools of this user on one server; default unlimited",
        "40",
    ),
    live("users.NAME.pool_size", Kind::Integer(1, MOST), "", "this user's size in every pool; default the pool's", "5"),
    live("users.NAME.mode", MODES, "", "this user's mode in every pool; default the pool's", "\"session\""),
    live(
        "users.NAME.query_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool\'s, for this user; default the class\'s, else the pool\'s",
        "\"30s\"",
    ),
    live(
        "users.NAME.transaction_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool\'s, for this user; default the class\'s, else the pool\'s",
        "\"5m\"",
    ),
    live(
        "users.NAME.idle_in_transaction_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool\'s, for this user; default the class\'s, else the pool\'s",
        "\"60s\"",
    ),
    live(
        "users.NAME.client_idle_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool\'s, for this user; default the class\'s, else the pool\'s",
        "\"1h\"",
    ),
    live(
        "users.NAME.class",
        Kind::Text,
        "",
        "class of this user's requests; default: the pool's, else the client network's, else default",
        "\"critical\"",
    ),
    live(
        "users.NAME.trust_labels",
        Kind::Bool,
        "false",
        "whether a label from the client may raise its class; any label may lower it",
        "true",
    ),
    live(
        "classes.NAME.weight",
        Kind::Integer(1, 1_000),
        "",
        "share of the servers' time when classes compete; critical 8, default 4, batch 1, any other 4",
        "8",
    ),
    live(
        "classes.NAME.reserve",
        Kind::Integer(0, MOST),
        "0",
        "server connections of a pool kept for this class, where a rule assigns it; the others always have one",
        "1",
    ),
    live(
        "classes.NAME.max_wait",
        Kind::Duration,
        "",
        "longest wait of this class; default the pool's, for batch 60s",
        "\"30s\"",
    ),
    live(
        "classes.NAME.networks",
        Kind::Networks,
        "",
        "client networks whose requests are of this class, where neither user nor pool has one; of several the narrowest counts",
        "[\"10.1.0.0/16\"]",
    ),
    live(
        "classes.NAME.applications",
        Kind::List,
        "",
        "what clients of this class call themselves (application_name), with * at the end for any rest; only lowers the class of a user without trust_labels",
        "[\"reports*\"]",
    ),
    live(
        "classes.NAME.query_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool's, for this class; default the pool's, and a user's own goes before",
        "\"30s\"",
    ),
    live(
        "classes.NAME.transaction_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool's, for this class; default the pool's, and a user's own goes before",
        "\"5m\"",
    ),
    live(
        "classes.NAME.idle_in_transaction_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool's, for this class; default the pool's, and a user's own goes before",
        "\"60s\"",
    ),
    live(
        "classes.NAME.client_idle_timeout",
        Kind::Duration,
        "",
        "the same limit as the pool's, for this class; default the pool's, and a user's own goes before",
        "\"1h\"",
    ),
    live("limits.max_clients", Kind::Integer(1, 10_000_000), "10000", "client connections at once", "2000"),
    live(
        "limits.max_logins",
        Kind::Integer(1, 1_000_000),
        "4000",
        "connections at once that have not logged in yet",
        "200",
    ),
    live("limits.login_timeout", Kind::Duration, "15s", "longest a login may take", "\"5s\""),
    live("limits.memory", Kind::Size, "1GiB", "bytes all buffers together may hold", "\"256MiB\""),
    live(
        "limits.max_any_pools",
        Kind::Integer(1, 100_000),
        "1000",
        "pools [pools.\"*\"] may have at once on one server",
        "100",
    ),
    live(
        "recording.enabled",
        Kind::Bool,
        "true",
        "whether every checkout is recorded, for simulate and plan: times, pools, classes and applications, and no text of any statement",
        "false",
    ),
    live(
        "recording.max_size",
        Kind::Size,
        "1GiB",
        "bytes recordings may take, 256KiB at least; the oldest go first",
        "\"256MiB\"",
    ),
    live(
        "history.max_size",
        Kind::Size,
        "2GiB",
        "bytes the history of the configuration may take; the oldest versions go first",
        "\"500MiB\"",
    ),
    live(
        "review.every",
        Kind::Duration,
        "1h",
        "time between two reviews of the running configuration, besides those at the start and after changes; 0s: those alone",
        "\"6h\"",
    ),
    live("review.allow[].code", Kind::Text, "", "a rule whose findings are accepted", "\"CAP-13\""),
    live(
        "review.allow[].reason",
        Kind::Text,
        "",
        "why they are, for whoever reads it next",
        "\"one replica at night\"",
    ),
    live(
        "review.allow[].until",
        Kind::Text,
        "",
        "the last day on which they are accepted, YYYY-MM-DD; a day that is past is a finding itself",
        "\"2027-01-31\"",
    ),
    later("drill.max_age", Kind::Duration, "30d", "age after which a drill is due again", "\"7d\""),
    later("alerts.receiver[].name", Kind::Text, "", "what escalations call this receiver", "\"ops\""),
    later(
        "alerts.receiver[].url",
        Kind::Text,
        "",
        "where notifications are posted",
        "\"https://alerts.internal/poolwarden\"",
    ),
    later("alerts.escalate[].receiver", Kind::Text, "", "receiver to call next", "\"dba\""),
    later("alerts.escalate[].after", Kind::Duration, "", "time without acknowledgement", "\"10m\""),
    live("probe[].name", Kind::Text, "", "what reports call this probe", "\"login\""),
    live(
        "probe[].url",
        Kind::Text,
        "",
        "http or https address of the web tier that is asked; shown as it is written, so that no secret belongs in it",
        "\"http://web.internal/health\"",
    ),
    live(
        "probe[].expect",
        Kind::Integer(100, 599),
        "200",
        "status of a good answer; redirects are not followed",
        "204",
    ),
    live("probe[].every", Kind::Duration, "5s", "time between two questions, at least 1s", "\"30s\""),
    live("probe[].timeout", Kind::Duration, "2s", "an answer that takes longer is none; at most 1m", "\"5s\""),
    live(
        "probe[].database",
        Kind::Bool,
        "",
        "whether the route needs the database: one that does and one that does not tell web tier and database apart",
        "true",
    ),
    live(
        "topology.postgres.server",
        Kind::Text,
        "",
        "the [servers.NAME] this is about; default: every server there is",
        "\"main\"",
    ),
    live("topology.postgres.max_connections", Kind::Integer(1, MOST), "", "PostgreSQL's max_connections", "100"),
    live(
        "topology.postgres.superuser_reserved_connections",
        Kind::Integer(0, MOST),
        "3",
        "PostgreSQL's superuser_reserved_connections",
        "3",
    ),
    live(
        "topology.postgres.reserved_connections",
        Kind::Integer(0, MOST),
        "0",
        "PostgreSQL's reserved_connections",
        "0",
    ),
    live(
        "topology.postgres.others",
        Kind::Integer(0, MOST),
        "0",
        "backends of everything that does not come through the pooler",
        "10",
    ),
    live("topology.postgres.cores", Kind::Integer(1, 10_000), "", "CPU cores of PostgreSQL's machine", "8"),
    live("topology.postgres.memory", Kind::Size, "", "memory of PostgreSQL's machine", "\"32GiB\""),
    live(
        "peers.NAME.host",
        Kind::Text,
        "",
        "where the instance with this instance_id listens: name, address, or the directory of its unix socket",
        "\"10.0.0.2\"",
    ),
    live("peers.NAME.port", Kind::Integer(1, 65_535), "6432", "the port of that instance", "6432"),
    live(
        "topology.pooler.instances",
        Kind::Integer(1, 10_000),
        "1",
        "processes or hosts in front of the same PostgreSQL",
        "2",
    ),
    live("topology.app[].name", Kind::Text, "", "the application", "\"web\""),
    live("topology.app[].pool", Kind::Text, "", "the pool it uses", "\"app\""),
    live("topology.app[].user", Kind::Text, "", "whom it logs in as", "\"web\""),
    live(
        "topology.app[].replicas",
        Kind::OpenInteger(0, ANY),
        "",
        "the most there can be; \"unlimited\" where nothing bounds them, as with functions or an autoscaler without a maximum",
        "6",
    ),
    live("topology.app[].surge", Kind::Ratio(100), "0", "share of replicas added while deploying", "0.25"),
    live("topology.app[].processes", Kind::Integer(0, ANY), "1", "processes per replica", "4"),
    live("topology.app[].threads", Kind::Integer(0, ANY), "", "concurrent units of work per process", "5"),
    live(
        "topology.app[].pools",
        Kind::Integer(1, 100),
        "1",
        "pools to the same PostgreSQL in each process, those of queues, caches and migrations counted",
        "2",
    ),
    live(
        "topology.app[].pool_size",
        Kind::OpenInteger(0, ANY),
        "",
        "connections of the application's own pool, per process and pool; \"unlimited\" where it has no bound",
        "10",
    ),
    live("topology.app[].max_idle", Kind::Integer(0, ANY), "", "connections its pool keeps when idle, at most", "10"),
    live(
        "topology.app[].connections",
        Kind::Integer(0, ANY),
        "",
        "connections all its replicas together are meant to have",
        "60",
    ),
    live(
        "topology.app[].connections_per_unit",
        Kind::Integer(0, ANY),
        "1",
        "connections one unit of work holds at once",
        "2",
    ),
    live("topology.app[].request_timeout", Kind::Duration, "", "when a request is given up", "\"30s\""),
    live("topology.app[].acquire_timeout", Kind::Duration, "", "when the application's pool gives up", "\"5s\""),
    live("topology.app[].query_timeout", Kind::Duration, "", "when a query is given up", "\"10s\""),
    live("topology.app[].lifetime", Kind::Duration, "", "age at which its pool closes a connection", "\"30m\""),
    live("topology.app[].idle_timeout", Kind::Duration, "", "idle time after which it does", "\"10m\""),
    live("topology.app[].keepalive", Kind::Duration, "", "how often its pool keeps an idle connection alive", "\"2m\""),
    live("topology.app[].peak_rate", Kind::Rate, "", "declared traffic, all replicas together", "\"400/s\""),
    live("topology.app[].hold", Kind::Duration, "", "declared time a connection is held per request", "\"20ms\""),
];

/// A known key, or a whole table, that this release refuses with a sentence of its own.
pub(crate) struct RefusedKey {
    pub(crate) key: &'static str,
    pub(crate) code: &'static str,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
}

const LITERAL: &str = "a literal password in the file";
const LITERAL_FIX: &str = "put it in a file and write scram_file = \"PATH\", or write password_env = \"VARIABLE\"";

const fn refused(key: Text, code: Text, why: Text, fix: Text) -> RefusedKey {
    RefusedKey { key, code, why, fix }
}

/// See [`RefusedKey`].
pub(crate) const REFUSED: &[RefusedKey] = &[
    refused(
        "auth.password",
        "literal-secret",
        LITERAL,
        "put it in a file and write password_file = \"PATH\", or write password_env = \"VARIABLE\"",
    ),
    refused("users.NAME.password", "literal-secret", LITERAL, LITERAL_FIX),
    refused("pools.NAME.password", "literal-secret", LITERAL, LITERAL_FIX),
    refused("servers.NAME.watch.password", "literal-secret", LITERAL, LITERAL_FIX),
];

/// PgBouncer's words and ours.
pub(crate) const FOREIGN: &[(&str, &str)] = &[
    ("pool_mode", "pools.NAME.mode"),
    ("default_pool_size", "pools.NAME.size"),
    ("min_pool_size", "pools.NAME.min_size"),
    ("reserve_pool_size", "pools.NAME.reserve"),
    ("reserve_pool_timeout", "pools.NAME.reserve_after"),
    ("max_db_connections", "pools.NAME.max_connections"),
    ("max_user_connections", "users.NAME.max_connections"),
    ("max_client_conn", "limits.max_clients"),
    ("query_wait_timeout", "pools.NAME.max_wait"),
    ("idle_transaction_timeout", "pools.NAME.idle_in_transaction_timeout"),
    ("server_lifetime", "pools.NAME.lifetime"),
    ("server_idle_timeout", "pools.NAME.idle_timeout"),
    ("server_connect_timeout", "servers.NAME.connect_timeout"),
    ("client_login_timeout", "limits.login_timeout"),
    ("listen_addr", "listen.address"),
    ("listen_port", "listen.address"),
    ("auth_type", "auth.method"),
    ("auth_file", "auth.userlist"),
    ("auth_hba_file", "auth.hba"),
    ("auth_ident_file", "auth.ident_map"),
    ("auth_query", "auth.query"),
    ("auth_user", "auth.user"),
    ("auth_dbname", "auth.database"),
    ("admin_users", "console.admins"),
    ("stats_users", "console.readers"),
    ("dbname", "pools.NAME.database"),
    ("track_extra_parameters", "pools.NAME.track"),
];

/// The setting with exactly this key.
pub(crate) fn find(pattern: &str) -> Option<&'static Setting> {
    CATALOGUE.iter().find(|setting| setting.key == pattern)
}

/// Whether any setting stands below this table.
pub(crate) fn is_table(pattern: &str) -> bool {
    let below = |key: &str| key.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('.'));
    CATALOGUE.iter().any(|setting| below(setting.key))
}

/// The keys that may stand directly in this table, without `[]`; empty prefix: the sections.
pub(crate) fn children(prefix: &str) -> impl Iterator<Item = &'static str> {
    let dotted = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    CATALOGUE.iter().filter_map(move |setting| {
        let rest = setting.key.strip_prefix(dotted.as_str())?;
        let first = rest.split('.').next().unwrap_or(rest);
        Some(first.trim_end_matches("[]")).filter(|word| *word != "NAME")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_unique_and_every_entry_has_its_sentence_and_a_default_that_reads() {
        let mut seen = BTreeSet::new();
        for setting in CATALOGUE {
            assert!(seen.insert(setting.key), "{} twice", setting.key);
            assert!(!setting.doc.is_empty() && !setting.example.is_empty(), "{}", setting.key);
            let read = crate::value::read_default(setting.kind, setting.default);
            assert_eq!(read.is_some(), !setting.default.is_empty(), "{}: {:?}", setting.key, setting.default);
        }
    }

    #[test]
    fn foreign_words_lead_to_real_settings_and_refused_keys_are_none() {
        assert!(FOREIGN.iter().all(|(_, ours)| find(ours).is_some()));
        assert!(REFUSED.iter().all(|refused| find(refused.key).is_none() && !is_table(refused.key)));
    }
}
