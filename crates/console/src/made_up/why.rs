//! Made-up answers to "why?", one per situation that an operator meets.

use poolwarden_watch::pool::Limit;
use poolwarden_watch::why::{Binding, Cause, Evidence, Gain, Holder, Layer, PoolState, PoolWhy, Rates, Verdict, Why};
use poolwarden_watch::{CauseCode, ChangeView, Exhaustion, Forecast, LeaseState, LeaseView};

use super::NOW_MS;

/// Every situation by its name.
pub(crate) fn situations() -> Vec<(&'static str, Why)> {
    vec![
        ("all_is_calm", answer(calm(3))),
        ("forty_calm_pools", answer(calm(40))),
        ("nobody_came_yet", answer(Vec::new())),
        ("the_user_limit_of_the_story", answer(join(vec![user_limit()], calm(2)))),
        ("the_pool_is_too_small", answer(vec![too_small()])),
        ("an_application_leaks", answer(vec![leak()])),
        ("transactions_are_left_idle", answer(vec![idle_in_transaction()])),
        ("a_lock_convoy", answer(vec![convoy()])),
        ("postgresql_is_down", down()),
        ("the_web_tier_is_at_fault", upstream()),
        ("a_leak_and_a_slow_query_mixed", answer(vec![mixed()])),
        ("an_operator_paused_it", answer(vec![paused()])),
        ("it_comes_to_its_end", answer(join(vec![rising()], calm(1)))),
        ("sixty_pools_are_saturated", answer((0..60).map(|at| numbered(user_limit(), at)).collect())),
        ("hostile_names", answer(vec![hostile()])),
    ]
}

fn answer(pools: Vec<PoolWhy>) -> Why {
    let not_seen = vec!["the web tier: add a [[probe]] with the address of a page".to_owned()];
    Why { at_ms: NOW_MS, pools, layers: well(), not_seen }
}

fn join(mut pools: Vec<PoolWhy>, more: Vec<PoolWhy>) -> Vec<PoolWhy> {
    pools.extend(more);
    pools
}

fn well() -> Vec<Layer> {
    vec![
        layer("postgresql main", Verdict::RuledOut, "answers in 0.8 ms, 61 of 97 slots used"),
        layer("network", Verdict::RuledOut, "0 of 12 connects failed within 60 s"),
        layer("poolwarden", Verdict::RuledOut, "its busiest loop works 12 % of the time, and is 0.2 ms late"),
    ]
}

fn layer(name: &str, verdict: Verdict, text: &str) -> Layer {
    Layer { name: name.to_owned(), verdict, evidence: Evidence::new(text, [("value", 0.8)]) }
}

fn base(pool: &str, user: &str) -> PoolWhy {
    PoolWhy {
        pool: pool.to_owned(),
        user: user.to_owned(),
        server: "main".to_owned(),
        lent: 1,
        open: 4,
        rates: Rates { window_s: 60.0, arrivals: 40.0, granted: 40.0, hold_us: Some(4_200.0), ..Rates::default() },
        forecast: Forecast { headroom: Some(9.5), exhaustion: None, none: "nothing rises".to_owned() },
        next_step: "nothing: all is served".to_owned(),
        ..PoolWhy::default()
    }
}

/// Calm, and more and more is asked of it.
fn rising() -> PoolWhy {
    let next_step =
        "raise pools.app.size to 42 (now 20), which is enough for another hour of this, or shed what can wait"
            .to_owned();
    let exhaustion = Exhaustion {
        cause: CauseCode::DemandGrowth,
        limit: Limit::PoolSize,
        in_s: 742.0,
        interval_s: (601.0, 980.0),
        evidence: vec![
            Evidence::new(
                "12.8 of 20 connections are wanted, 0.40 more each minute for the last 12 min",
                [("demand", 12.8)],
            ),
            Evidence::new("320 requests/s come instead of 200", [("arrivals", 320.0)]),
        ],
        next_step: next_step.clone(),
    };
    let forecast = Forecast { headroom: Some(1.0), exhaustion: Some(exhaustion), none: String::new() };
    PoolWhy { forecast, next_step, state: PoolState::Tight, ..base("app", "web") }
}

fn calm(count: u32) -> Vec<PoolWhy> {
    (0..count).map(|at| base(&format!("calm{at:02}"), "web")).collect()
}

fn numbered(mut pool: PoolWhy, at: u32) -> PoolWhy {
    pool.pool = format!("tenant{at:02}");
    pool
}

/// Three of three lent to the user, who may have no more; seventeen wait.
fn user_limit() -> PoolWhy {
    PoolWhy {
        state: PoolState::Saturated,
        waiting_for_ms: Some(72_000),
        lent: 3,
        open: 3,
        waiting: 17,
        oldest_wait_ms: 1_250,
        demand: vec![2, 5, 20],
        rates: Rates {
            window_s: 60.0,
            arrivals: 180.0,
            granted: 142.0,
            refused: 38.0,
            completed: 142.0,
            lent: 3.0,
            waiting: 17.0,
            wait_us: Some(94_000.0),
            hold_us: Some(21_100.0),
            ..Rates::default()
        },
        binding: binding(Limit::User, "users.web.max_connections", Some(3), 3),
        binds: true,
        gains: vec![
            gain(Limit::User, "users.web.max_connections", (3, Some(3)), Some(17), Some(Limit::PoolSize)),
            no_gain(Limit::PoolSize, "pools.app.size", (3, Some(20))),
            no_gain(Limit::HostBudget, "servers.main.max_connections", (5, Some(80))),
        ],
        causes: vec![
            supported(CauseCode::UserLimit, 0.97, "97 % of the wait was for user, which has 3 of 3 in use"),
            untestable(CauseCode::Upstream, "no [[probe]] is configured"),
            ruled_out(CauseCode::PoolTooSmall, "3 of 20 are lent"),
            ruled_out(CauseCode::PgSaturated, "statements take 5.1 ms, as before (4.9 ms)"),
            ruled_out(CauseCode::LockConvoy, "0 of 3 connections wait for a lock"),
            ruled_out(CauseCode::Leak, "0 connections are stuck"),
            ruled_out(CauseCode::Network, "0 of 12 connects failed"),
        ],
        holders: vec![
            holder(5, "shop", 41_000_000, LeaseState::Active),
            holder(6, "shop", 12_000, LeaseState::Active),
            holder(7, "worker", 3_000, LeaseState::Idle),
        ],
        changes: vec![change("users.web.max_connections", Some("20"), Some("3"))],
        next_step: "raise users.web.max_connections from 3 to 9 or more; raising pools.app.size has no effect"
            .to_owned(),
        ..base("app", "web")
    }
}

fn too_small() -> PoolWhy {
    PoolWhy {
        binding: binding(Limit::PoolSize, "pools.app.size", Some(3), 3),
        gains: vec![Gain {
            connections: None,
            next: None,
            ..gain(Limit::PoolSize, "pools.app.size", (3, Some(3)), None, None)
        }],
        causes: vec![
            supported(CauseCode::PoolTooSmall, 1.0, "3 of 3 are lent, holds are as usual, and PostgreSQL has time"),
            supported(CauseCode::DemandGrowth, 0.0, "180 requests a second came, usually 95"),
            ruled_out(CauseCode::PgSaturated, "statements take 5.1 ms, as before (4.9 ms)"),
        ],
        changes: Vec::new(),
        next_step: "raise pools.app.size from 3 to 9".to_owned(),
        ..user_limit()
    }
}

fn leak() -> PoolWhy {
    let stuck = |conn| Holder { stuck: true, ..holder(conn, "reports", 840_000_000, LeaseState::IdleInTransaction) };
    PoolWhy {
        binding: binding(Limit::PoolSize, "pools.app.size", Some(4), 4),
        lent: 4,
        open: 4,
        gains: vec![gain(Limit::PoolSize, "pools.app.size", (4, Some(4)), Some(16), Some(Limit::HostBudget))],
        causes: vec![
            supported(
                CauseCode::Leak,
                0.91,
                "4 of 4 connections have run nothing for 14m 00s, all of application reports",
            ),
            ruled_out(CauseCode::PoolTooSmall, "what is not stuck needs 1 connection"),
        ],
        holders: (11..15).map(stuck).collect(),
        changes: Vec::new(),
        next_step: "poolwarden terminate --stuck app, then restart application reports".to_owned(),
        ..user_limit()
    }
}

fn idle_in_transaction() -> PoolWhy {
    PoolWhy {
        causes: vec![
            supported(
                CauseCode::IdleInTransaction,
                0.78,
                "78 % of the time lent nothing ran; application shop, route /checkout",
            ),
            ruled_out(CauseCode::SlowQuery, "statements take 5.1 ms, as before"),
        ],
        holders: (5..8).map(|conn| holder(conn, "shop", 900_000, LeaseState::IdleInTransaction)).collect(),
        next_step: "let application shop end its transactions before it calls others (route /checkout)".to_owned(),
        ..too_small()
    }
}

fn convoy() -> PoolWhy {
    let blocked = |conn| Holder { blocked_by: vec![8100], ..holder(conn, "shop", 33_000_000, LeaseState::Active) };
    PoolWhy {
        causes: vec![
            supported(
                CauseCode::LockConvoy,
                0.99,
                "2 of 3 connections wait for pid 8100 (application migrate, 34 s in its transaction)",
            ),
            ruled_out(CauseCode::PoolTooSmall, "without the locks 1 connection is enough"),
        ],
        holders: vec![holder(5, "migrate", 34_000_000, LeaseState::IdleInTransaction), blocked(6), blocked(7)],
        next_step: "poolwarden cancel 5 (pid 8100, application migrate), which 2 others wait for".to_owned(),
        ..too_small()
    }
}

fn down() -> Why {
    let pool = PoolWhy {
        state: PoolState::Down,
        lent: 0,
        open: 0,
        binding: binding(Limit::Breaker, "the reachability of server \"main\"", None, 0),
        gains: vec![no_gain(Limit::PoolSize, "pools.app.size", (0, Some(20)))],
        causes: vec![supported(CauseCode::PgDown, 1.0, "every connect since 8 s ago was refused: connection refused")],
        holders: Vec::new(),
        changes: Vec::new(),
        next_step: "start PostgreSQL on db.internal:5432; waiting requests are served when it is back".to_owned(),
        ..user_limit()
    };
    let mut why = answer(vec![pool]);
    why.layers[0] = layer("postgresql main", Verdict::Supported, "db.internal:5432 refuses connections since 8 s");
    why.layers[1] = layer("network", Verdict::NotTestable, "nothing was sent that PostgreSQL answered");
    why
}

fn upstream() -> Why {
    let mut pool = base("app", "web");
    pool.causes = vec![supported(CauseCode::Upstream, 1.0, "9 of 10 probes of /login failed, and nobody waits here")];
    let mut why = answer(vec![pool]);
    why.layers.push(layer(
        "web tier",
        Verdict::Supported,
        "9 of 10 answers of probe login within 60 s were 502; the route needs no database",
    ));
    why.not_seen = Vec::new();
    why
}

fn mixed() -> PoolWhy {
    PoolWhy {
        causes: vec![
            supported(CauseCode::Leak, 0.48, "2 of 4 connections have run nothing for 14m 00s"),
            supported(CauseCode::SlowQuery, 0.44, "one statement takes 920 ms, before 31 ms"),
        ],
        mixed: true,
        ..leak()
    }
}

fn paused() -> PoolWhy {
    PoolWhy {
        state: PoolState::Paused,
        binding: None,
        binds: false,
        gains: Vec::new(),
        causes: Vec::new(),
        holders: Vec::new(),
        next_step: "poolwarden resume app, when whoever paused it is done".to_owned(),
        ..user_limit()
    }
}

fn hostile() -> PoolWhy {
    let mut pool = user_limit();
    pool.pool = "a\u{1b}[2J\nb".to_owned();
    pool.holders[0].lease.application = "x\u{7}\r\ny".to_owned();
    pool.holders[0].lease.query = "select\n\u{1b}]0;owned\u{7} 1".to_owned();
    pool.holders[0].lease.route = Some("/a\nb".to_owned());
    pool
}

fn binding(limit: Limit, setting: &str, size: Option<u32>, used: u32) -> Option<Binding> {
    Some(Binding { limit, setting: setting.to_owned(), size, used })
}

fn gain(
    limit: Limit,
    setting: &str,
    (used, size): (u32, Option<u32>),
    connections: Option<u32>,
    next: Option<Limit>,
) -> Gain {
    let setting = setting.to_owned();
    let (enough, wait_us) = (Some(9), Some(1_900.0));
    Gain { limit, setting, used, size, connections, enough, per_second: 38.0, wait_us, next }
}

fn no_gain(limit: Limit, setting: &str, uses: (u32, Option<u32>)) -> Gain {
    let of = gain(limit, setting, uses, Some(0), Some(Limit::User));
    Gain { enough: None, per_second: 0.0, wait_us: None, ..of }
}

fn supported(code: CauseCode, share: f64, text: &str) -> Cause {
    let evidence = vec![Evidence::new(text, [("share", share)])];
    let next_step = format!("poolwarden explain {} says what to do", code.name());
    Cause { code, verdict: Verdict::Supported, share, evidence, next_step }
}

fn ruled_out(code: CauseCode, text: &str) -> Cause {
    let evidence = vec![Evidence::new(text, [("used", 3.0), ("size", 20.0)])];
    Cause { code, verdict: Verdict::RuledOut, share: 0.0, evidence, next_step: String::new() }
}

fn untestable(code: CauseCode, text: &str) -> Cause {
    let evidence = vec![Evidence::said(text)];
    Cause { code, verdict: Verdict::NotTestable, share: 0.0, evidence, next_step: String::new() }
}

fn change(key: &str, from: Option<&str>, to: Option<&str>) -> ChangeView {
    let text = |value: Option<&str>| value.map(str::to_owned);
    ChangeView { at_ms: NOW_MS - 492_000, key: key.to_owned(), from: text(from), to: text(to), by: "reload".to_owned() }
}

/// One lent connection; its numbers follow from its serial.
pub(crate) fn holder(conn: u64, application: &str, held_us: u64, state: LeaseState) -> Holder {
    let idle = if state == LeaseState::IdleInTransaction { held_us - held_us / 10 } else { 0 };
    Holder {
        conn,
        pool: "app".to_owned(),
        user: "web".to_owned(),
        server: "main".to_owned(),
        pid: Some(8_118 + u32::try_from(conn).unwrap()),
        stuck: false,
        blocked_by: Vec::new(),
        lease: LeaseView {
            client: conn + 12,
            application: application.to_owned(),
            addr: "10.0.0.7".to_owned(),
            port: 40_000 + u16::try_from(conn).unwrap(),
            held_us,
            state,
            state_us: held_us / 2,
            on_server_us: held_us - idle,
            idle_in_transaction_us: idle,
            route: (application == "shop").then(|| "/checkout".to_owned()),
            fingerprint: 0xfeed,
            query: "select * from orders where customer = $1 for update".to_owned(),
            ..LeaseView::default()
        },
    }
}

/// Four holders of all kinds.
pub(crate) fn holders() -> Vec<Holder> {
    let mut holders = vec![
        holder(5, "migrate", 3_700_000_000, LeaseState::IdleInTransaction),
        holder(6, "shop", 33_000_000, LeaseState::Active),
        holder(7, "shop", 1_900, LeaseState::Active),
        holder(8, "", 250, LeaseState::Idle),
    ];
    holders[0].stuck = true;
    holders[1].blocked_by = vec![8_123];
    holders[3].pid = None;
    holders
}
