//! A made-up picture for tests: one server, two pools, one of them starved by its user's limit.

pub(crate) mod why;

use std::time::Duration;

use poolwarden_store::{Effect, Entry, KeyChange, Measures, PoolEffect, Version, VersionState};
use poolwarden_watch::pool::{
    ClassId, ClassSnapshot, HostId, HostSnapshot, Limit, LimitUse, Mode, PoolId, PoolKey, PoolSnapshot, ServerFacts,
    Slots,
};
use poolwarden_watch::{
    Activity, Backend, BackendState, Cancels, CertificateView, ClassView, ClientState, ClientView, ConfigView,
    DatabaseView, HostView, LoopView, PeerView, PinView, PoolTraffic, ProbeResult, ProbeView, ProcessState,
    ProcessView, ServerState, ServerView, SessionStateView, SessionView, Traffic, UsageKind, UsageView, Used, UserView,
    Uses, View,
};
use serde_json::json;

use crate::history::History;
use crate::review::{Reviewed, Severity, Ticket};
use crate::standing::{Drift, Recording, Standing};

/// 2024-08-15 08:00:00 UTC.
pub(crate) const NOW_MS: u64 = 1_723_708_800_000;

/// Version 7 runs, on trial and unconfirmed; the file says something else, and the history is not written.
pub(crate) fn standing() -> Standing {
    Standing {
        version: Some(7),
        drift: Some(Drift { since_ms: NOW_MS - 9_000, why: "poolwarden.toml does not say what runs".into() }),
        confirm_until_ms: Some(NOW_MS + 60_000),
        trial_until_ms: Some(NOW_MS + 30_000),
        history_trouble: Some("database or disk is full".into()),
        history_lost: 3,
        recording: Recording {
            trouble: Some("no space left on device".into()),
            checkouts: 40_000,
            lost: 17,
            bytes: 480_000,
        },
    }
}

/// A version in each state, the last one with its effect and its text.
pub(crate) fn history(texts: bool) -> History {
    let states = [
        VersionState::Tentative { until_ms: NOW_MS + 60_000 },
        VersionState::Refused { why: "poolwarden.toml:3:1: unknown key".into() },
        VersionState::Interrupted,
        VersionState::Undone { why: "requests wait for pool_size".into() },
        VersionState::RolledBack { to: 1 },
        VersionState::Superseded,
        VersionState::Confirmed,
    ];
    let version = |(n, state): (u64, VersionState)| Version {
        n,
        at_ms: NOW_MS - 60_000 * n,
        by: "alice, http from 127.0.0.1:5".into(),
        reason: (n == 7).then(|| "sale on friday".into()),
        changes: vec![KeyChange { key: "pools.app.size".into(), from: Some("20".into()), to: None }],
        text: "[pools.app]\n".into(),
        hash: "0123456789abcdef".into(),
        state,
        effect: (n == 1).then(effect),
    };
    let audit = Entry {
        at_ms: NOW_MS,
        by: "http from 127.0.0.1:5".into(),
        verb: "pause".into(),
        target: "app".into(),
        outcome: "done".into(),
    };
    let versions = (1..=7).rev().zip(states).map(version).collect();
    History { versions, audit: vec![audit], standing: standing(), texts }
}

fn effect() -> Effect {
    let measures = |waiting_milli| Measures {
        window_ms: 5_000,
        arrivals_per_ks: 40_500,
        waiting_milli,
        refused: 0,
        wait_p99_us: Some(812_000),
        binding: Some("user".into()),
    };
    let pool = PoolEffect {
        server: "main".into(),
        database: "app".into(),
        user: "web".into(),
        before: measures(12_140),
        after: Measures { wait_p99_us: None, binding: None, ..measures(0) },
    };
    Effect { sentence: "pool app (web): less waiting".into(), pools: vec![pool] }
}

/// Four tickets, found twelve minutes ago.
pub(crate) fn review() -> Reviewed {
    let ticket = |code: &str, severity: Severity| Ticket {
        code: code.into(),
        severity,
        message: "backends can exceed PostgreSQL's slots: 5000 > 97".into(),
        place: "/etc/poolwarden/poolwarden.toml:10:8".into(),
        fix: "write max_connections = 97".into(),
        fingerprint: "0123456789abcdef".into(),
    };
    let finding = json!({
        "code": "CAP-01", "severity": "error", "message": "too many", "fix": "write 97", "why": "refused", "fixable": false,
        "spans": [{"file": "poolwarden.toml", "line": 10, "column": 8, "end_line": 10, "end_column": 12, "label": "", "primary": true}],
        "told": [{"place": "poolwarden's default", "label": "", "primary": false}],
        "state": "new", "reason": null, "fingerprint": "0123456789abcdef",
    });
    let step = json!({"limit": "pools", "connections": 20, "unlimited": false, "sentence": "app 20", "tightest": true});
    Reviewed {
        file: "/etc/poolwarden/poolwarden.toml".into(),
        at_ms: Some(NOW_MS - 720_000),
        took_us: 31_500,
        failed: None,
        tickets: vec![
            ticket("CAP-01", Severity::Error),
            ticket("TMO-02", Severity::Warning),
            ticket("TMO-02", Severity::Warning),
            ticket("CAP-09", Severity::Info),
        ],
        document: json!({
            "schema": 1,
            "findings": [finding],
            "not_checked": [{"code": "CAP-05", "needs": ["application"], "of": []}],
            "chain": [{"pooler": "poolwarden.toml", "server": "main", "steps": [step]}],
            "vanished": [],
            "unreadable": [],
            "inconclusive": [],
            "summary": {"errors": 1, "warnings": 2, "infos": 1, "known": 0, "allowed": 0, "exit_code": 1},
        }),
    }
}

pub(crate) fn view() -> View {
    View {
        version: "0.1.0".into(),
        started_at_ms: NOW_MS - 90_000,
        now_ms: NOW_MS,
        state: ProcessState::Active,
        hosts: vec![host()],
        traffic: vec![traffic(0, "web", 1), traffic(1, "batch", 2)],
        recent_us: 60_000_000,
        clients: vec![client(17, ClientState::Active, Some(5)), client(18, ClientState::ActiveCancelReq, None)],
        servers: vec![server()],
        pins: vec![PinView {
            host: HostId(0),
            database: "app".into(),
            user: "web".into(),
            client: 17,
            addr: "10.0.0.7".into(),
            port: 40_017,
            application_name: "worker".into(),
            remote_pid: Some(4711),
            reason: "advisory_lock,listen".into(),
            since_ms: NOW_MS - 30_000,
            held_us: 30_500_000,
        }],
        waiters: Vec::new(),
        usage: usage(),
        probes: vec![probe()],
        changes: Vec::new(),
        session_state: vec![SessionStateView {
            host: HostId(0),
            pool: PoolId(0),
            reason: "listen",
            pinned: 1,
            pins: 3,
            refused: 2,
        }],
        databases: vec![DatabaseView {
            name: "app".into(),
            host: "db.internal".into(),
            port: 5432,
            database: Some("app_production".into()),
            pool_size: 20,
            server_lifetime_s: 3600,
            current_connections: 5,
            current_client_connections: 40,
            ..DatabaseView::default()
        }],
        users: vec![UserView { name: "web".into(), max_connections: Some(3), ..UserView::default() }],
        classes: classes(),
        config: vec![ConfigView {
            key: "pools.app.size".into(),
            value: "20".into(),
            default: Some("20".into()),
            changeable: true,
        }],
        loops: vec![LoopView { clients: 40, servers: 5, busy_ratio: 0.25, lag_us: 1_500, moved: 2 }],
        peers: vec![PeerView { id: 2, host: "10.0.0.2".into(), port: 6432, active: 1, waiting: 0 }],
        process: process(),
    }
}

/// Ids are places; batch is shed for two minutes more.
fn classes() -> Vec<ClassView> {
    let class =
        |(name, weight, reserve): (&str, _, _)| ClassView { name: name.into(), weight, reserve, shed_until_ms: None };
    let mut classes: Vec<_> = [("default", 4, 0), ("batch", 1, 0), ("critical", 8, 1)].map(class).into();
    classes[1].shed_until_ms = Some(NOW_MS + 120_000);
    classes
}

fn host() -> HostView {
    let snapshot = HostSnapshot {
        pools: vec![starved(), pool(1, "batch")],
        budget: 80,
        used: 5,
        connects: (0, 4),
        down: false,
        moved: 2,
        evicted: 1,
        retired: (0, 0, 0),
        shed: vec![(ClassId(1), Duration::from_secs(120))],
    };
    let facts = ServerFacts {
        start_time: 1,
        pids: vec![10, 11, 12, 13, 14],
        max_connections: 100,
        reserved: 3,
        ..ServerFacts::default()
    };
    let (name, address) = ("main".into(), "db.internal".into());
    HostView {
        id: HostId(0),
        name,
        address,
        port: 5432,
        snapshot,
        facts: Some(facts),
        activity: Some(activity()),
        watch_error: None,
    }
}

/// One backend of ours that runs, one of others that waits for its lock, three that are not listed.
fn activity() -> Activity {
    let backend =
        |pid, own, state| Backend { pid, role: "web".into(), database: "app".into(), own, state, ..Backend::default() };
    let blocked = Backend { blocked_by: vec![8123], ..backend(9001, false, BackendState::Active) };
    Activity {
        seen_at_ms: NOW_MS,
        took_us: 800,
        max_connections: 100,
        reserved: 3,
        backends: vec![backend(8123, true, BackendState::Active), blocked],
        unlisted: 3,
        ..Activity::default()
    }
}

fn usage() -> Vec<UsageView> {
    let of = |name: Option<&str>, leases, held_us, waited_us| UsageView {
        host: HostId(0),
        pool: PoolId(0),
        kind: UsageKind::Application,
        name: name.map(str::to_owned),
        query: String::new(),
        used: Used { leases, held_us, waited_us, ..Used::default() },
    };
    vec![of(Some("shop"), 900, 9_000_000, 3_000_000), of(Some(""), 97, 2_000_000, 0), of(None, 3, 10, 500_000)]
}

fn probe() -> ProbeView {
    let last = ProbeResult { at_ms: NOW_MS, took_us: 31_000, status: Some(502), ..ProbeResult::default() };
    let (name, url) = ("login".into(), "http://web.internal/login".into());
    ProbeView { name, url, database: Some(false), good: 1, bad: 9, last: Some(last) }
}

/// Three of three lent to the user, 17 of its 40 clients wait.
fn starved() -> PoolSnapshot {
    let mut pool = pool(0, "web");
    pool.slots = Slots { lent: 3, idle: 0, fenced: 0, ending: 1, ..Slots::default() };
    pool.clients = 40;
    pool.waiting = 17;
    pool.oldest_wait = Duration::from_micros(1_250_007);
    pool.binding = Some(Limit::User);
    pool.limits = vec![
        LimitUse { limit: Limit::PoolSize, used: 3, size: Some(20), binds: false },
        LimitUse { limit: Limit::User, used: 3, size: Some(3), binds: true },
        LimitUse { limit: Limit::Database, used: 5, size: None, binds: false },
    ];
    pool.granted = 1_000;
    pool.granted_after_wait = 700;
    pool.wait_nanos[Limit::User.index()] = 12_345_678_900;
    pool.wait_nanos[Limit::Connects.index()] = 40_000_000;
    pool.refused[Limit::WaitTime.index()] = 4;
    pool.wait_granted[0] = 300;
    pool.wait_granted[4] = 600;
    pool.wait_granted[15] = 100;
    pool.wait_failed[12] = 4;
    pool.hold[3] = 997;
    pool.leases = 997;
    pool.classes = vec![ClassSnapshot {
        class: ClassId(1),
        lent: 3,
        waiting: 17,
        granted: 1_000,
        refused: [4, 30, 0, 200, 5, 0],
        would_refuse: [0, 1, 0, 2, 0, 0],
        reattempts: 60,
        server_nanos: 12_500_000_000,
        overloaded: true,
    }];
    pool
}

fn pool(id: u32, user: &str) -> PoolSnapshot {
    PoolSnapshot {
        alone: false,
        id: PoolId(id),
        key: PoolKey { database: "app".into(), user: user.into() },
        mode: Mode::Transaction,
        size: 20,
        min_size: 0,
        reserve: 0,
        slots: Slots { idle: 1, ..Slots::default() },
        clients: 2,
        waiting: 0,
        oldest_wait: Duration::ZERO,
        paused: false,
        disabled: false,
        binding: None,
        limits: Vec::new(),
        granted: 0,
        granted_after_wait: 0,
        refused: [0; 16],
        abandoned: 0,
        wait_nanos: [0; 16],
        wait_granted: [0; 16],
        wait_failed: [0; 16],
        hold: [0; 16],
        leases: 0,
        lent_nanos: 5_500_000_000,
        on_server_nanos: 4_000_000_000,
        idle_in_transaction_nanos: 1_000_000_000,
        occupancy: [900, 60, 0, 0, 20, 0, 0, 0, 0, 0, 20, 4],
        connects: 6,
        connect: [0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        connects_failed: 1,
        connect_failures: vec![(*b"53300", 1)],
        closed: [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        high_water: (3, 17),
        failure: None,
        classes: Vec::new(),
    }
}

fn traffic(id: u32, user: &str, times: u64) -> PoolTraffic {
    let recent = Traffic {
        xact_count: 600 * times,
        query_count: 1_200 * times,
        bytes_received: 60_000 * times,
        bytes_sent: 120_000 * times,
        xact_time_us: 600_000,
        query_time_us: 120_000,
        wait_time_us: 90_000,
        client_parse_count: 60,
        server_parse_count: 0,
        bind_count: 1_200,
        client_login_count: 60,
        server_assignment_count: 600,
        idle_in_transaction_us: 0,
        idle_warned: 3,
        idle_ended: 2,
        idle_spared: 1,
    };
    let key = PoolKey { database: "app".into(), user: user.into() };
    let totals = recent.plus(&recent);
    let (mut query, mut idle_in_transaction) = ([0; 16], [0; 16]);
    (query[1], query[15], idle_in_transaction[3]) = (1_190 * times, 10 * times, 40 * times);
    PoolTraffic {
        host: HostId(0),
        pool: PoolId(id),
        key,
        server_database: "app_production".into(),
        totals,
        recent,
        query,
        idle_in_transaction,
    }
}

fn client(id: u64, state: ClientState, link: Option<u64>) -> ClientView {
    ClientView {
        id,
        user: "web".into(),
        database: "app".into(),
        state,
        addr: "10.0.0.7".into(),
        port: 50_123,
        local_addr: "127.0.0.1".into(),
        local_port: 6432,
        connected_at_ms: NOW_MS - 60_000,
        requested_at_ms: NOW_MS - 1_000,
        wait_us: 0,
        application_name: "shop".into(),
        link,
        remote_pid: None,
        prepared_statements: 2,
        tls: String::new(),
        received: 64,
        session: session(),
    }
}

fn server() -> ServerView {
    ServerView {
        id: 5,
        user: "web".into(),
        database: "app".into(),
        state: ServerState::Active,
        addr: "10.0.0.9".into(),
        port: 5432,
        local_addr: "10.0.0.1".into(),
        local_port: 40_000,
        connected_at_ms: NOW_MS - 80_000,
        requested_at_ms: NOW_MS - 1_000,
        close_needed: false,
        remote_pid: Some(8123),
        link: Some(17),
        application_name: "shop".into(),
        prepared_statements: 2,
        tls: String::new(),
        session: session(),
        lease: None,
    }
}

fn session() -> SessionView {
    SessionView { client_encoding: Some("UTF8".into()), timezone: Some("UTC".into()), ..SessionView::default() }
}

fn process() -> ProcessView {
    let mut refused_clients = [0; 16];
    refused_clients[Limit::MaxClients.index()] = 3;
    ProcessView {
        fds: Uses { used: 60, max: Some(65_536) },
        clients: Uses { used: 42, max: Some(10_000) },
        logins: Uses { used: 1, max: None },
        memory_bytes: Uses { used: 4_096, max: Some(1 << 30) },
        refused_clients,
        clients_opened: 45,
        login: [0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        cpu_nanos: 17_250_000_000,
        login_failures: vec![("credentials", 2)],
        scram_derivations: 3,
        cancels: Cancels { forwarded: 1, answered: 2, refused: 3, dropped: 4 },
        log_dropped: 0,
        facts_dropped: 0,
        reloads: 1,
        reloads_failed: 1,
        certificates: vec![CertificateView {
            place: "server",
            host: "main".into(),
            subject: "CN=pooler".into(),
            not_after: 1_900_000_000,
        }],
        config_hash: "c0ffee".into(),
    }
}
