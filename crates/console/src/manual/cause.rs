//! The pages of the causes.

use poolwarden_watch::CauseCode;

use super::{Page, Subject};

const fn page(
    cause: CauseCode,
    title: &'static str,
    (what, recognised, raise): (&'static str, &'static str, &'static str),
    steps: &'static [&'static str],
) -> Page {
    Page { subject: Subject::Cause(cause), title, what, recognised, raise, steps }
}

/// In the order of the closed list.
pub(super) static PAGES: [Page; 24] = [
    page(
        CauseCode::PoolTooSmall,
        "more work comes than the pool's size can carry",
        (
            "every connection does useful work, holds are as long as ever, and there are not enough of them",
            "lent equals the size, waits are for pool_size, holds and statements are as before, PostgreSQL has time",
            "yes: to the size `why` calls enough, if no other limit binds before that",
        ),
        &[
            "set pools.DATABASE.size to what `why` calls enough, and reload",
            "look at `why` again: nobody waits, or the next limit is named",
        ],
    ),
    page(
        CauseCode::UserLimit,
        "the user may have no more server connections",
        (
            "users.USER.max_connections counts over all pools of the user; it binds before the pool's size does",
            "waits are for user; the user's connections equal the limit, and the pool has room",
            "no: the user's limit binds first, and a larger pool changes nothing",
        ),
        &[
            "raise users.USER.max_connections to what `why` calls enough, and reload; no restart, no dropped client",
            "look at `why` again: nobody waits, or the next limit is named",
        ],
    ),
    page(
        CauseCode::DatabaseLimit,
        "the database may have no more server connections",
        (
            "pools.DATABASE.max_connections counts over all users of the database; it binds before the pool's size does",
            "waits are for database; the connections of all its users equal the limit",
            "no: the database's limit binds first",
        ),
        &[
            "see SHOW POOLS: which user has them",
            "raise pools.DATABASE.max_connections to what `why` calls enough, and reload",
        ],
    ),
    page(
        CauseCode::ClassShare,
        "another class has the right to the connections",
        (
            "places are reserved for another class, or its weight gives it the next connection",
            "waits are for class_share; SHOW CLASSES shows who has them",
            "it depends: this class gets its share of what is added",
        ),
        &["see SHOW CLASSES", "change weight or reserve in [classes.NAME], or the class of the requests"],
    ),
    page(
        CauseCode::HostBudget,
        "all pools of the server together have what they may",
        (
            "servers.SERVER.max_connections binds: another pool has the connections this one wants",
            "waits are for host_budget; connections on the server equal it",
            "no: another pool would have to give up as many",
        ),
        &[
            "see SHOW POOLS: which pool has most, and `why` on that one",
            "raise servers.SERVER.max_connections if PostgreSQL has free slots, or make that pool smaller",
        ],
    ),
    page(
        CauseCode::ConnectLimited,
        "connections cannot be opened as fast as wanted",
        (
            "after a start, a failover or in a spike, logins to PostgreSQL take their time and are paced",
            "waits are for connects; fewer connections than the size, and none was refused",
            "no: it passes by itself as connections come",
        ),
        &[
            "wait some seconds",
            "keep connections open with pools.DATABASE.min_size",
            "see how long a login to PostgreSQL takes",
        ],
    ),
    page(
        CauseCode::PgRoleLimit,
        "CONNECTION LIMIT of the role in PostgreSQL",
        (
            "PostgreSQL refuses more connections of this role",
            "connects are refused with 53300 \"too many connections for role\"; its backends equal rolconnlimit",
            "no: PostgreSQL refuses all the same",
        ),
        &[
            "alter role NAME connection limit N, in PostgreSQL",
            "see who else uses the role: `why` lists its backends by application",
            "do not be misled by a psql that works: superusers are not limited",
        ],
    ),
    page(
        CauseCode::PgDatabaseLimit,
        "CONNECTION LIMIT of the database in PostgreSQL",
        (
            "PostgreSQL refuses more connections to this database",
            "connects are refused with 53300 \"too many connections for database\"; its backends equal datconnlimit",
            "no: PostgreSQL refuses all the same",
        ),
        &[
            "alter database NAME connection limit N, in PostgreSQL",
            "see which applications are connected to it past poolwarden",
        ],
    ),
    page(
        CauseCode::PgSlots,
        "PostgreSQL has no free connection slot",
        (
            "somebody uses up max_connections, and it may be an application that does not come through poolwarden",
            "connects are refused with 53300 \"too many clients\" or \"slots are reserved\"; free slots are 0",
            "it makes it worse: slots are what is missing",
        ),
        &[
            "see `why`: the application and role with most backends, and which grew",
            "end its idle backends (pg_terminate_backend) and bound it, or bring it behind poolwarden",
            "raise max_connections at the next restart of PostgreSQL, if that is what it needs",
        ],
    ),
    page(
        CauseCode::PgDown,
        "PostgreSQL is down, starting, or does not answer",
        (
            "no connection can be opened, and those that were open have ended",
            "connects fail at once (refused, starting up) or time out; `why` shows the error and since when",
            "no: there is nothing to connect to",
        ),
        &[
            "start PostgreSQL, or see its log for why it does not start",
            "clients wait for down_wait and are served when it is back",
        ],
    ),
    page(
        CauseCode::Network,
        "the way to PostgreSQL is broken or slow",
        (
            "packets are lost or delayed between here and PostgreSQL: a firewall, a route, a name that resolves elsewhere",
            "connects time out instead of being refused; the watch connection's answers take long, or stop while sockets stay open",
            "no: each connection is as slow as the others",
        ),
        &[
            "from this host: does the name resolve to the right address, does its port answer",
            "see what changed: firewall, security group, failover of the address",
        ],
    ),
    page(
        CauseCode::LockConvoy,
        "connections wait for a lock that one of them holds",
        (
            "one transaction holds a lock, the others queue behind it, each keeping its server connection",
            "at least three in ten of the lent connections wait for a lock; `why` names the pid at the root, its age and application",
            "no: more connections would wait for the same lock",
        ),
        &[
            "`poolwarden holders POOL`: who is blocked by whom",
            "`poolwarden cancel CONN` of the root, or `terminate CONN` where it is idle in its transaction",
            "afterwards: lock_timeout for migrations, shorter transactions",
        ],
    ),
    page(
        CauseCode::IdleInTransaction,
        "transactions stay open while their clients do else",
        (
            "an application calls something else (a queue, a payment, a file) inside its transaction, and the connection waits with it",
            "a large part of the time lent nothing runs; ages are short and owners are many",
            "briefly: it hides the time lost until traffic grows",
        ),
        &[
            "see `why`: which application and route, and after which statement",
            "let it end its transaction before it calls others",
            "bound it: idle_in_transaction_timeout of the pool, the class or the user",
        ],
    ),
    page(
        CauseCode::Leak,
        "connections are held and forgotten",
        (
            "an application begins a transaction (or a session) and loses it: an exception, a path without its end",
            "connections held for very long with nothing running, more and more, of one application",
            "briefly: it only delays the end",
        ),
        &[
            "`poolwarden holders POOL`: which application, which client, which statement came last",
            "`poolwarden terminate --stuck POOL` gives the connections back; the application sees an error there",
            "restart or mend that application, and set idle_in_transaction_timeout",
        ],
    ),
    page(
        CauseCode::NestedCheckout,
        "clients that hold a connection wait for a second one",
        (
            "a unit of work needs two connections at once; when all have their first, nobody gets a second, and nobody gives one back",
            "those who wait come from the same applications and addresses as those who hold, and what is held does nothing",
            "briefly: only from threads times (connections per unit - 1) + 1 on it cannot stand still",
        ),
        &[
            "`poolwarden terminate --stuck POOL` lets the rest go on",
            "let the application use one connection per unit of work",
            "until then a pool of threads x (connections per unit - 1) + 1 at least",
        ],
    ),
    page(
        CauseCode::SlowQuery,
        "one statement takes much longer than it did",
        (
            "a plan changed, an index is gone, a table grew: one statement takes most of the servers' time",
            "the hold of one fingerprint is at least twice what it was while the others' are as before",
            "no: more connections run the same slow statement",
        ),
        &[
            "see `why` with the operate token: the statement, before and after",
            "explain (analyze) it, analyze its tables, see what was deployed",
            "`poolwarden cancel CONN` ends those that run now",
        ],
    ),
    page(
        CauseCode::PgSaturated,
        "PostgreSQL has more to do than it can",
        (
            "all statements take longer: processors, disks or internal locks of PostgreSQL are used up",
            "holds of all fingerprints grew; more connections bring no more completions",
            "it makes it worse: the same work is divided among more",
        ),
        &[
            "see PostgreSQL's host: processors, disk, memory",
            "shed what can wait: `poolwarden shed --class batch --for 10m`",
            "a smaller pool often serves more",
        ],
    ),
    page(
        CauseCode::DemandGrowth,
        "more requests come than usually",
        (
            "arrivals grew: a campaign, a crawler, a new feature, a time of day",
            "arrivals a second are at least half as many again as they were, holds are as before",
            "yes: as far as the other limits and PostgreSQL allow",
        ),
        &[
            "see `why`: which application, and what size is enough",
            "raise what binds, or shed what can wait: `poolwarden shed --class batch --for 10m`",
        ],
    ),
    page(
        CauseCode::RetryStorm,
        "refused requests come again at once",
        (
            "clients answer an error with an immediate retry, so that each refusal makes more requests",
            "many arrivals are of clients refused within the last 2 s; unique clients are as many as before",
            "no: retries fill whatever is added until they end",
        ),
        &[
            "find the application: SHOW CLASSES counts retries",
            "let it wait before it retries, longer each time and by chance, and give up after three",
            "first arrivals are served before retries meanwhile",
        ],
    ),
    page(
        CauseCode::ScaleOut,
        "more clients than usually, with no more work",
        (
            "replicas, workers or their own pools were added: connections grow, requests do not",
            "client connections doubled, arrivals are as before; new addresses",
            "no: the work has not grown",
        ),
        &[
            "see SHOW CLIENTS: which application, how many addresses",
            "replicas x processes x pool size must stay below limits.max_clients",
        ],
    ),
    page(
        CauseCode::Upstream,
        "what stands before poolwarden is at fault",
        (
            "requests fail or wait before they come here: the web tier, the application's own pool, its network",
            "nobody waits here and all is granted at once, while probes of the web tier fail or the application reports timeouts",
            "no: the pool has room",
        ),
        &[
            "leave the pool alone; see the web server and the application",
            "see whether a route that needs no database fails too: then it is not the database's way",
            "see the application's own pool: its size, its wait, its leaks",
        ],
    ),
    page(
        CauseCode::ClientLimit,
        "poolwarden's limits on clients",
        (
            "clients are refused at the door: max_clients, open files, memory",
            "poolwarden_client_connections_refused_total grows, with the limit as its reason",
            "no: they never come to a pool",
        ),
        &[
            "see SHOW LIMITS: which of max_clients, fds and memory is used up",
            "raise that one; see who has so many connections open (SHOW CLIENTS)",
        ],
    ),
    page(
        CauseCode::PoolwardenBusy,
        "poolwarden itself has no time",
        (
            "its loops have more to do than their processors can: TLS, tiny statements at a high rate, or somebody else on the host",
            "a loop works more than nine tenths of the time, or is late by more than 10 ms",
            "no: the connections are not what is missing",
        ),
        &[
            "see poolwarden_loop_busy_ratio and poolwarden_loop_lag_seconds",
            "give the process processors of its own, or run another instance",
        ],
    ),
    page(
        CauseCode::ConfigurationChange,
        "the configuration changed, and with it what binds",
        (
            "a reload or a SET made the limit that binds now smaller, or changed what uses it",
            "a change within ten minutes before the waits began, of the setting that binds or of one that uses it up",
            "no: the change is what to undo",
        ),
        &[
            "see `why`: the setting, from what to what, when and by whom",
            "set it back and reload; it is live",
            "look at `why` again",
        ],
    ),
];
