//! The pages of the limits.

use poolwarden_watch::pool::Limit;

use super::{Page, Subject};

const fn page(
    limit: Limit,
    title: &'static str,
    (what, recognised, raise): (&'static str, &'static str, &'static str),
    steps: &'static [&'static str],
) -> Page {
    Page { subject: Subject::Limit(limit), title, what, recognised, raise, steps }
}

const BINDS: &str = "no: another limit binds, and the pool's size is not it";

/// In the order of the closed list.
pub(super) static PAGES: [Page; 16] = [
    page(
        Limit::PoolSize,
        "the pool's own size",
        (
            "most server connections of one (database, user); each of them is a process in PostgreSQL",
            "lent equals the size, requests wait, and every other limit still has room",
            "yes: by as much as `why` says is enough, and only as long as PostgreSQL has time for it; `why` names the limit that binds next",
        ),
        &[
            "see `why POOL`: its causes say whether the pool is too small, or its connections are held for nothing",
            "if it is too small, set pools.DATABASE.size to what `why` calls enough, and reload",
            "look again: waiting goes to 0 within seconds, or the next limit is named",
        ],
    ),
    page(
        Limit::Reserve,
        "connections beyond the size, not yet allowed",
        (
            "the reserve opens only after the oldest request has waited for the pool's reserve_after",
            "lent equals the size, and the oldest wait is shorter than reserve_after",
            "yes: the size counts at once, the reserve only after its delay",
        ),
        &["wait for reserve_after, or shorten it", "where it is used every day, raise pools.DATABASE.size instead"],
    ),
    page(
        Limit::ClassShare,
        "the share or the reserve of another class",
        (
            "classes share a pool by weight, and places may be kept for one of them",
            "a connection is free or comes back, and requests of this class wait while another's reserve is kept or its share is due",
            "it depends: more places leave more to this class, and the same share of them",
        ),
        &[
            "see SHOW CLASSES: who has what, who waits",
            "change weight or reserve in [classes.NAME], or give the requests another class",
        ],
    ),
    page(
        Limit::User,
        "the user's connections over all its pools of a server",
        (
            "users.USER.max_connections counts the server connections of one user in all its pools on one server together",
            "the user's connections in all pools equal the limit while the pool itself has room",
            BINDS,
        ),
        &[
            "see `why POOL`: it names the user, the limit and what is enough",
            "raise users.USER.max_connections and reload; it is live",
            "or let a pool of the same user that needs less keep fewer: its size, its min_size",
        ],
    ),
    page(
        Limit::Database,
        "all users of one database together",
        (
            "pools.DATABASE.max_connections counts the server connections of all users of a database",
            "the database's connections equal the limit while the pool itself has room",
            BINDS,
        ),
        &[
            "see SHOW POOLS: which user of the database holds them",
            "raise pools.DATABASE.max_connections and reload, or give that user a smaller pool_size",
        ],
    ),
    page(
        Limit::HostBudget,
        "all pools of one server together",
        (
            "servers.SERVER.max_connections is what poolwarden may open on one PostgreSQL altogether; it keeps slots for others",
            "connections on the server equal the budget while the pool itself has room; idle ones of other pools are closed for it",
            BINDS,
        ),
        &[
            "see SHOW POOLS: which pool holds most, and whether it needs them",
            "raise servers.SERVER.max_connections if PostgreSQL has slots to spare (`why` says how many)",
            "else make the pools that need less smaller; more instances share the same PostgreSQL",
        ],
    ),
    page(
        Limit::Connects,
        "connects to PostgreSQL under way at once",
        (
            "connects are paced: few at first, twice as many with each round that goes well, up to connects_max",
            "fewer connections than the size, connects in flight at their limit, and nothing refused them",
            "no: more connections are not allowed to be opened faster by that",
        ),
        &[
            "wait: it passes by itself within seconds of a cold start or a spike",
            "where it returns, keep connections open (pools.DATABASE.min_size), or raise servers.SERVER.connects_max",
            "slow logins are PostgreSQL's or the network's: see poolwarden_server_connects_total and its log",
        ],
    ),
    page(
        Limit::Breaker,
        "PostgreSQL refuses or cannot be reached",
        (
            "after failed connects none is tried for a moment, then one, then more; requests wait for down_wait",
            "no connection can be opened, and the newest connect failed; `why` tells its error",
            "no: nothing can be opened",
        ),
        &[
            "read the error that `why` shows: refused, timed out, no route, password",
            "start PostgreSQL, or mend what is between",
            "nothing is to be done here: waiting requests are served when it is back",
        ],
    ),
    page(
        Limit::MaxClients,
        "client connections at once",
        (
            "limits.max_clients bounds the clients that are logged in, whatever they do",
            "clients equal the limit, and logins are refused with 53300",
            "no: clients are refused before they meet a pool",
        ),
        &[
            "see SHOW CLIENTS: who has so many, and whether they do anything",
            "raise limits.max_clients (an idle client costs little), or let applications keep fewer",
        ],
    ),
    page(
        Limit::PgRole,
        "CONNECTION LIMIT of the role in PostgreSQL",
        (
            "PostgreSQL counts all connections of a role in all databases and refuses the next with 53300",
            "a connect was refused with \"too many connections for role\", or the role's backends equal rolconnlimit",
            "no: PostgreSQL refuses the next connection whatever the size",
        ),
        &[
            "see `why POOL`: who else uses the role, and how many",
            "alter role NAME connection limit N, in PostgreSQL, as a superuser; it counts at once",
            "a superuser is not limited: that psql works says nothing about the application",
        ],
    ),
    page(
        Limit::PgDatabase,
        "CONNECTION LIMIT of the database in PostgreSQL",
        (
            "PostgreSQL counts all connections to a database and refuses the next with 53300",
            "a connect was refused with \"too many connections for database\", or its backends equal datconnlimit",
            "no: PostgreSQL refuses the next connection whatever the size",
        ),
        &[
            "see `why POOL`: which applications are connected to it",
            "alter database NAME connection limit N, in PostgreSQL, as a superuser; it counts at once",
        ],
    ),
    page(
        Limit::PgSlots,
        "PostgreSQL's max_connections is used up",
        (
            "max_connections less the reserved slots is all that ordinary roles can have together",
            "a connect was refused with \"too many clients already\" or \"remaining connection slots are reserved\"",
            "it makes it worse: more connections of ours take slots that others need",
        ),
        &[
            "see `why POOL`: which application and role has most backends, and which grew",
            "end what others hold idle, or give them a pool of their own here",
            "only then raise max_connections, which needs a restart of PostgreSQL",
        ],
    ),
    page(
        Limit::Fds,
        "open files of this process",
        (
            "each client and each server connection is a file descriptor, and the system bounds them per process",
            "poolwarden_process_capacity_used{limit=\"fds\"} is near poolwarden_process_capacity",
            "no: no socket can be opened",
        ),
        &[
            "raise LimitNOFILE of the service (or ulimit -n) and restart poolwarden",
            "until then lower limits.max_clients",
        ],
    ),
    page(
        Limit::Memory,
        "bytes in buffers",
        (
            "limits.memory bounds what clients and servers have sent and the other side has not taken yet",
            "poolwarden_process_capacity_used{limit=\"memory\"} is near poolwarden_process_capacity",
            "no: a larger pool has more buffers",
        ),
        &["see SHOW SOCKETS: which client does not read", "raise limits.memory, or let that client read faster"],
    ),
    page(
        Limit::QueueLength,
        "requests that may wait at once",
        (
            "pools.DATABASE.max_queue bounds the queue; the next request is refused at once",
            "the queue is as long as the bound; refusals name queue_length",
            "it depends: the limit that bound while they waited is the one to look at",
        ),
        &["see SHOW WAITS: which limit they waited for", "`why POOL` says what raising that one would gain"],
    ),
    page(
        Limit::WaitTime,
        "the time a request may wait",
        (
            "pools.DATABASE.max_wait (or the class's) bounds a wait; what would wait longer is refused, at once where that is sure",
            "refusals name wait_time; waits of others end shortly before the bound",
            "it depends: the limit that bound while they waited is the one to look at",
        ),
        &[
            "see SHOW WAITS: which limit they waited for",
            "`why POOL` says what raising that one would gain",
            "a longer max_wait only moves the errors into the application's own timeouts",
        ],
    ),
];
