//! sqlx, in clear and over TLS in both modes: caches named statements per connection and pings before it lends one. It cannot cancel a query.

use std::time::Duration;

use futures_util::future;
use poolwarden_testbed::door::WAYS;
use poolwarden_testbed::{Plan, Sampler, place};
use sqlx::postgres::{PgConnection, PgPool, PgPoolCopyExt, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tokio::runtime::Runtime;

/// 8 MiB.
const LARGE: usize = 8 << 20;

/// Runs `work` with the URL of a fresh bed, through every way in.
fn with_bed(work: impl AsyncFn(String)) {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let sampler = Sampler::start(&door.bed.postgres);
        let runtime = Runtime::new().expect("a runtime");
        let limit = Duration::from_secs(60);
        let options = match &door.authority {
            Some(authority) => format!("?sslmode=verify-full&sslrootcert={}", authority.display()),
            None => "?sslmode=disable".to_string(),
        };
        let url = door.bed.url() + &options;
        runtime.block_on(async { tokio::time::timeout(limit, work(url)).await }).expect("done within a minute");
        sampler.expect_at_most(door.bed.limit());
    }
}

async fn pool(url: &str, size: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(size).acquire_timeout(Duration::from_secs(60));
    options.connect(url).await.expect("connect")
}

#[track_caller]
fn refused<T>(outcome: Result<T, sqlx::Error>, state: &str) {
    let error = outcome.err().expect("an error");
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some(state), "{error:?}");
}

#[test]
fn sqlx_queries_with_and_without_parameters() {
    with_bed(async |url| {
        let mut client = PgConnection::connect(&url).await.expect("connect");
        let rows = client.fetch_all("select 1 as n; select 2 as n").await.expect("both answers");
        assert_eq!(rows.iter().map(|row| row.get::<i32, _>(0)).collect::<Vec<_>>(), [1, 2]);
        let query =
            sqlx::query("select $1::int8, $2::text, $3::bytea").bind(1_i64 << 40).bind("naïve").bind(vec![0_u8, 255]);
        let row = query.fetch_one(&mut client).await.expect("a row");
        assert_eq!((row.get::<i64, _>(0), row.get::<&str, _>(1)), (1 << 40, "naïve"));
        assert_eq!(row.get::<Vec<u8>, _>(2), [0, 255]);
        client.close().await.expect("closed");
    });
}

#[test]
fn sqlx_prepared_statements_follow_their_client_over_server_connections() {
    with_bed(async |url| {
        let pool = pool(&url, 20).await;
        let work = (0..20_i32).map(|number| {
            let pool = pool.clone();
            async move {
                let add = format!("select $1::int + {}", number % 4);
                for turn in 0..20_i32 {
                    let query = sqlx::query(AssertSqlSafe(add.clone())).bind(turn);
                    let row = query.fetch_one(&pool).await.expect("a row");
                    assert_eq!(row.get::<i32, _>(0), turn + number % 4);
                    let mut transaction = pool.begin().await.expect("begun");
                    let query = sqlx::query("select $1::int * 2").bind(turn);
                    let row = query.fetch_one(&mut *transaction).await.expect("a row");
                    assert_eq!(row.get::<i32, _>(0), turn * 2);
                    transaction.commit().await.expect("committed");
                }
            }
        });
        future::join_all(work).await;
        pool.close().await;
    });
}

#[test]
fn sqlx_rolls_back_and_goes_on_after_errors() {
    with_bed(async |url| {
        let mut client = PgConnection::connect(&url).await.expect("connect");
        client.execute("create table rolled (n int)").await.expect("created");
        let mut transaction = client.begin().await.expect("begun");
        sqlx::query("insert into rolled values ($1)").bind(1).execute(&mut *transaction).await.expect("inserted");
        transaction.rollback().await.expect("rolled back");
        let count: i64 = sqlx::query_scalar("select count(*) from rolled").fetch_one(&mut client).await.expect("a row");
        assert_eq!(count, 0);
        for _ in 0..3 {
            let outcome = sqlx::query("select 1 / $1::int").bind(0).fetch_one(&mut client).await;
            refused(outcome, "22012");
            let five: i32 = sqlx::query_scalar("select $1::int").bind(5).fetch_one(&mut client).await.expect("a row");
            assert_eq!(five, 5);
        }
        let mut transaction = client.begin().await.expect("begun");
        refused(sqlx::query("select no_such_column").fetch_one(&mut *transaction).await, "42703");
        // Dropping it rolls back before the next query.
        drop(transaction);
        let six: i32 = sqlx::query_scalar("select 6").fetch_one(&mut client).await.expect("a row");
        assert_eq!(six, 6);
    });
}

#[test]
fn sqlx_copies_in_and_out() {
    with_bed(async |url| {
        let pool = pool(&url, 2).await;
        pool.execute("create table copied (n int, t text)").await.expect("created");
        let mut copy = pool.copy_in_raw("copy copied from stdin").await.expect("begun");
        let lines: String = (0..10_000).map(|n| format!("{n}\trow {n}\n")).collect();
        copy.send(lines.into_bytes()).await.expect("sent");
        assert_eq!(copy.finish().await.expect("copied"), 10_000);
        let chunks = pool.copy_out_raw("copy (select generate_series(1, 5000)) to stdout").await.expect("begun");
        let chunks: Vec<_> = futures_util::TryStreamExt::try_collect(chunks).await.expect("all chunks");
        let chunks: Vec<u8> = chunks.into_iter().flatten().collect();
        let expected: String = (1..=5_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&chunks), expected);
        pool.close().await;
    });
}

#[test]
fn sqlx_carries_a_large_row_both_ways() {
    with_bed(async |url| {
        let mut client = PgConnection::connect(&url).await.expect("connect");
        let blob: Vec<u8> = (0..LARGE).map(|n| n.to_le_bytes()[0]).collect();
        let query = sqlx::query_scalar::<_, Vec<u8>>("select $1::bytea").bind(&blob);
        assert!(query.fetch_one(&mut client).await.expect("a row") == blob, "8 MiB changed on their way");
    });
}

#[test]
fn a_hundred_sqlx_clients_at_once_are_served() {
    with_bed(async |url| {
        let pool = pool(&url, 100).await;
        let clients = future::join_all((0..100).map(|_| pool.acquire())).await;
        let work = clients.into_iter().zip(0_i32..).map(|(client, number)| async move {
            let mut client = client.expect("connected");
            let mut transaction = client.begin().await.expect("begun");
            let query = sqlx::query_scalar::<_, i32>("select $1::int from pg_sleep(0.01)").bind(number);
            assert_eq!(query.fetch_one(&mut *transaction).await.expect("a row"), number);
            transaction.commit().await.expect("committed");
        });
        future::join_all(work).await;
        pool.close().await;
    });
}
