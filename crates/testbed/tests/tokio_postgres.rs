//! tokio-postgres: pipelines requests of one connection, and prepares every parameterised one.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, future, pin_mut};
use poolwarden_testbed::{Bed, Plan, Sampler, place};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

/// 8 MiB.
const LARGE: usize = 8 << 20;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    // The connection ends with its client; a fault of it shows in the client's own calls.
    tokio::spawn(connection);
    client
}

/// Runs `work` with the URL of a fresh bed.
fn with_bed<F: Future<Output = ()>>(work: impl FnOnce(String) -> F) {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sampler = Sampler::start(&bed.postgres);
    let runtime = Runtime::new().expect("a runtime");
    let limit = Duration::from_secs(60);
    let url = bed.url();
    runtime.block_on(async { tokio::time::timeout(limit, work(url)).await }).expect("done within a minute");
    sampler.expect_at_most(bed.limit());
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>, state: &SqlState) {
    let error = outcome.err().expect("an error");
    assert_eq!(error.code(), Some(state), "{error:?}");
}

#[test]
fn tokio_postgres_queries_with_and_without_parameters() {
    with_bed(async |url| {
        let client = connect(&url).await;
        let messages = client.simple_query("select 1; select 'two'").await.expect("both answers");
        assert!(messages.len() >= 4, "two rows and two ends: {messages:?}");
        let query = "select $1::int8, $2::text, $3::bytea";
        let row = client.query_one(query, &[&(1_i64 << 40), &"naïve", &&[0_u8, 255][..]]).await.expect("a row");
        assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1 << 40, "naïve"));
        assert_eq!(row.get::<_, &[u8]>(2), [0, 255]);
    });
}

#[test]
fn tokio_postgres_prepared_statements_follow_their_client_over_server_connections() {
    with_bed(async |url| {
        let clients = (0..20_i32).map(|number| {
            let url = url.clone();
            async move {
                let mut client = connect(&url).await;
                let add = client.prepare(&format!("select $1::int + {number}")).await.expect("prepared");
                let twice = client.prepare("select $1::int * 2").await.expect("prepared");
                for turn in 0..20_i32 {
                    let row = client.query_one(&add, &[&turn]).await.expect("a row");
                    assert_eq!(row.get::<_, i32>(0), turn + number);
                    let transaction = client.transaction().await.expect("begun");
                    let row = transaction.query_one(&twice, &[&turn]).await.expect("a row");
                    assert_eq!(row.get::<_, i32>(0), turn * 2);
                    transaction.commit().await.expect("committed");
                }
            }
        });
        future::join_all(clients).await;
    });
}

#[test]
fn tokio_postgres_pipelines_many_requests_of_one_client() {
    with_bed(async |url| {
        let client = connect(&url).await;
        let statement = client.prepare("select $1::int").await.expect("prepared");
        let (client, statement) = (&client, &statement);
        let answers =
            (0..200_i32).map(|n| async move { client.query_one(statement, &[&n]).await.map(|r| r.get::<_, i32>(0)) });
        let answers = future::join_all(answers).await;
        for (expected, got) in (0..).zip(answers) {
            assert_eq!(got.expect("a row"), expected);
        }
    });
}

#[test]
fn tokio_postgres_rolls_back_and_goes_on_after_errors() {
    with_bed(async |url| {
        let mut client = connect(&url).await;
        client.batch_execute("create table rolled (n int)").await.expect("created");
        let transaction = client.transaction().await.expect("begun");
        transaction.execute("insert into rolled values ($1)", &[&1_i32]).await.expect("inserted");
        transaction.rollback().await.expect("rolled back");
        let row = client.query_one("select count(*) from rolled", &[]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), 0);
        for _ in 0..3 {
            refused(client.query_one("select 1 / $1::int", &[&0_i32]).await, &SqlState::DIVISION_BY_ZERO);
            let row = client.query_one("select $1::int", &[&5_i32]).await.expect("a row");
            assert_eq!(row.get::<_, i32>(0), 5);
        }
        let transaction = client.transaction().await.expect("begun");
        refused(transaction.query("select no_such_column", &[]).await, &SqlState::UNDEFINED_COLUMN);
        refused(transaction.query("select 1", &[]).await, &SqlState::IN_FAILED_SQL_TRANSACTION);
        transaction.rollback().await.expect("rolled back");
        assert_eq!(client.query_one("select 6", &[]).await.expect("a row").get::<_, i32>(0), 6);
    });
}

#[test]
fn tokio_postgres_copies_in_and_out() {
    with_bed(async |url| {
        let client = connect(&url).await;
        client.batch_execute("create table copied (n int, t text)").await.expect("created");
        let sink = client.copy_in::<_, &[u8]>("copy copied from stdin").await.expect("begun");
        pin_mut!(sink);
        for n in 0..10_000 {
            let line: &'static str = Box::leak(format!("{n}\trow {n}\n").into_boxed_str());
            sink.send(line.as_bytes()).await.expect("sent");
        }
        assert_eq!(sink.finish().await.expect("copied"), 10_000);
        let stream = client.copy_out("copy (select generate_series(1, 5000)) to stdout").await.expect("begun");
        let chunks: Vec<_> = stream.map(|chunk| chunk.expect("a chunk").to_vec()).collect().await;
        let expected: String = (1..=5_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&chunks.concat()), expected);
    });
}

#[test]
fn tokio_postgres_cancels_a_running_query() {
    with_bed(async |url| {
        let client = connect(&url).await;
        let token = client.cancel_token();
        let cancel = async {
            let other = connect(&url).await;
            let running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'";
            while other.query(running, &[]).await.expect("an answer").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            token.cancel_query(NoTls).await.expect("asked");
        };
        let (outcome, ()) = future::join(client.batch_execute("select pg_sleep(30)"), cancel).await;
        refused(outcome, &SqlState::QUERY_CANCELED);
        assert_eq!(client.query_one("select 7", &[]).await.expect("a row").get::<_, i32>(0), 7);
    });
}

#[test]
fn tokio_postgres_carries_a_large_row_both_ways() {
    with_bed(async |url| {
        let client = connect(&url).await;
        let blob: Vec<u8> = (0..LARGE).map(|n| n.to_le_bytes()[0]).collect();
        let row = client.query_one("select $1::bytea", &[&blob]).await.expect("a row");
        assert!(row.get::<_, Vec<u8>>(0) == blob, "8 MiB changed on their way");
    });
}

#[test]
fn a_hundred_tokio_postgres_clients_at_once_are_served() {
    with_bed(async |url| {
        let clients = future::join_all((0..100).map(|_| connect(&url))).await;
        let work = clients.into_iter().zip(0_i32..).map(|(mut client, number)| async move {
            let transaction = client.transaction().await.expect("begun");
            let row = transaction.query_one("select $1::int from pg_sleep(0.01)", &[&number]).await.expect("a row");
            assert_eq!(row.get::<_, i32>(0), number);
            transaction.commit().await.expect("committed");
        });
        future::join_all(work).await;
    });
}
