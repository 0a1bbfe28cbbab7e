//! tokio-postgres, in clear and over TLS in both modes: pipelines requests of one connection, and prepares every parameterised one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, future, pin_mut};
use poolwarden_testbed::door::WAYS;
use poolwarden_testbed::{Plan, Sampler, place};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// 8 MiB.
const LARGE: usize = 8 << 20;

/// How a client comes in.
#[derive(Clone)]
struct Entry {
    url: String,
    tls: Option<MakeRustlsConnect>,
}

async fn connect(entry: &Entry) -> Client {
    // A connection ends with its client; a fault of it shows in the client's own calls.
    match &entry.tls {
        Some(tls) => {
            let (client, connection) =
                tokio_postgres::connect(&entry.url, tls.clone()).await.expect("connect over TLS");
            tokio::spawn(connection);
            client
        }
        None => {
            let (client, connection) = tokio_postgres::connect(&entry.url, NoTls).await.expect("connect");
            tokio::spawn(connection);
            client
        }
    }
}

/// TLS that trusts this authority.
fn trusting(authority: &Path) -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).expect("an authority") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Runs `work` with a fresh bed, through every way in.
fn with_bed(work: impl AsyncFn(Entry)) {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let sampler = Sampler::start(&door.bed.postgres);
        let runtime = Runtime::new().expect("a runtime");
        let limit = Duration::from_secs(60);
        // The channel is bound where the driver can: over TLS it must.
        let options = if way.tls { "?sslmode=require&channel_binding=require" } else { "" };
        let entry = Entry { url: door.bed.url() + options, tls: door.authority.as_deref().map(trusting) };
        runtime.block_on(async { tokio::time::timeout(limit, work(entry)).await }).expect("done within a minute");
        sampler.expect_at_most(door.bed.limit());
    }
}

#[track_caller]
fn refused<T>(outcome: Result<T, Error>, state: &SqlState) {
    let error = outcome.err().expect("an error");
    assert_eq!(error.code(), Some(state), "{error:?}");
}

#[test]
fn tokio_postgres_queries_with_and_without_parameters() {
    with_bed(async |entry| {
        let client = connect(&entry).await;
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
    with_bed(async |entry| {
        let clients = (0..20_i32).map(|number| {
            let entry = entry.clone();
            async move {
                let mut client = connect(&entry).await;
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
    with_bed(async |entry| {
        let client = connect(&entry).await;
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
    with_bed(async |entry| {
        let mut client = connect(&entry).await;
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
    with_bed(async |entry| {
        let client = connect(&entry).await;
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
    with_bed(async |entry| {
        let client = connect(&entry).await;
        let token = client.cancel_token();
        let cancel = async {
            let other = connect(&entry).await;
            let running = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'";
            while other.query(running, &[]).await.expect("an answer").is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            match entry.tls.clone() {
                Some(tls) => token.cancel_query(tls).await.expect("asked over TLS"),
                None => token.cancel_query(NoTls).await.expect("asked"),
            }
        };
        let (outcome, ()) = future::join(client.batch_execute("select pg_sleep(30)"), cancel).await;
        refused(outcome, &SqlState::QUERY_CANCELED);
        assert_eq!(client.query_one("select 7", &[]).await.expect("a row").get::<_, i32>(0), 7);
    });
}

#[test]
fn tokio_postgres_carries_a_large_row_both_ways() {
    with_bed(async |entry| {
        let client = connect(&entry).await;
        let blob: Vec<u8> = (0..LARGE).map(|n| n.to_le_bytes()[0]).collect();
        let row = client.query_one("select $1::bytea", &[&blob]).await.expect("a row");
        assert!(row.get::<_, Vec<u8>>(0) == blob, "8 MiB changed on their way");
    });
}

#[test]
fn a_hundred_tokio_postgres_clients_at_once_are_served() {
    with_bed(async |entry| {
        let clients = future::join_all((0..100).map(|_| connect(&entry))).await;
        let work = clients.into_iter().zip(0_i32..).map(|(mut client, number)| async move {
            let transaction = client.transaction().await.expect("begun");
            let row = transaction.query_one("select $1::int from pg_sleep(0.01)", &[&number]).await.expect("a row");
            assert_eq!(row.get::<_, i32>(0), number);
            transaction.commit().await.expect("committed");
        });
        future::join_all(work).await;
    });
}
