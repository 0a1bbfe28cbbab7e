//! The extended protocol over a small pool: every conversation is answered as PostgreSQL itself answers it.

use std::time::Duration;

use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Plan, Say, Target, Wire, bed, place, version};

/// What one client says, and how many `ReadyForQuery` it then waits for.
type Step = (Say, usize);

/// A client of PostgreSQL itself.
fn direct(bed: &Bed) -> Wire {
    Wire::connect(&Address::Tcp(bed.postgres.address()), &bed::login()).expect("connect to PostgreSQL")
}

/// Says it to PostgreSQL and through the pooler; both must answer alike, and the pool rests afterwards.
#[track_caller]
fn same(bed: &Bed, steps: &[Step]) -> Vec<String> {
    let (mut there, mut here) = (direct(bed), bed.client());
    let told = steps.iter().map(|(say, readies)| {
        let expected = there.told(say, *readies);
        let told = here.told(say, *readies);
        assert_eq!(told, expected, "the pooler's answer, and PostgreSQL's");
        told
    });
    let told = told.collect();
    let after = here.query("select 'still in step'").expect("served").value();
    assert_eq!(after, "still in step");
    told
}

fn start(size: u32) -> Bed {
    Bed::start(Plan { size, ..Plan::default() })
}

fn s() -> Say {
    Say::new()
}

#[test]
fn an_error_in_mid_pipeline_skips_to_its_sync_and_every_sync_is_answered() {
    let _machine = place::machine(false);
    let bed = start(1);
    let broken = s().once("select 1").once("select 1/0").once("select 2").sync();
    let told = same(
        &bed,
        &[
            (broken.clone().then(&s().once("select 3").sync()), 2),
            (broken.clone().query("select 4").then(&broken).query("select 5; select 1/0; select 6").sync(), 5),
            (s().query("begin").then(&broken).once("select 7").sync().query("rollback"), 4),
            (s().sync().sync().sync(), 3),
        ],
    );
    assert_eq!(told[0], "1 2 D(1) C(SELECT 1) 1 E(22012) ZI 1 2 D(3) C(SELECT 1) ZI");
}

#[test]
fn a_simple_query_in_the_middle_of_a_batch_is_answered_in_its_place() {
    let _machine = place::machine(false);
    let bed = start(1);
    let middle = s().once("select 1").query("select 2").once("select 3").sync();
    let told = same(
        &bed,
        &[
            (middle.clone(), 2),
            (s().parse("a", "select 4").query("begin").run("a", &[]).sync().query("commit"), 3),
            // A failed batch skips the simple query as well: one ready, for the sync.
            (s().once("select 1/0").query("select 5").sync(), 1),
            (s().once("select 6").query("select 1/0").once("select 7").sync(), 2),
        ],
    );
    // From 18 on the query is in the batch's transaction, up to then it ends it.
    let stays_open = version::major() >= 18;
    let after = if stays_open { "ZT" } else { "ZI" };
    let expected = format!("1 2 D(1) C(SELECT 1) T(?column?) D(2) C(SELECT 1) {after} 1 2 D(3) C(SELECT 1) ZI");
    assert_eq!(told[0], expected);
    // A batch that ends with a simple query and never syncs does not keep the only connection but for that transaction.
    let mut first = bed.client();
    assert!(first.told(&s().once("select 1").query("select 2"), 1).ends_with(after));
    let held = (!stays_open).then_some(first);
    assert_eq!(bed.client().query("select 8").expect("the connection is free").value(), "8");
    drop(held);
}

#[test]
fn a_flush_without_sync_holds_the_connection_with_its_portal() {
    let _machine = place::machine(false);
    let bed = start(2);
    let mut holder = bed.client();
    let opened = s().parse("", "select pg_backend_pid() from generate_series(1, 3)").bind("p", "", &[]).execute("p", 1);
    holder.send(&opened.flush().bytes).expect("sent");
    let first = poolwarden_testbed::say::tell(&holder.up_to('s').expect("suspended"));
    let pid = first.split(['(', ')']).nth(1).expect("a row").to_string();
    // Others work meanwhile, and never on the connection that is held.
    let mut other = bed.client();
    for _ in 0..20 {
        assert_ne!(other.query("select pg_backend_pid()").expect("served").value(), pid);
    }
    assert!(holder.silent_for(Duration::from_millis(50)));
    let rest = holder.told(&s().execute("p", 1).execute("p", 0).sync(), 1);
    assert_eq!(rest, format!("D({pid}) s D({pid}) C(SELECT 1) ZI"));
    bed.at_rest();
}

#[test]
fn portals_are_suspended_row_by_row_and_end_with_their_transaction() {
    let _machine = place::machine(false);
    let bed = start(2);
    let rows = "select n from generate_series(1, 5) n";
    let told = same(
        &bed,
        &[
            (s().query("begin").parse("same", rows).bind("same", "same", &[]).execute("same", 2).sync(), 2),
            (s().execute("same", 2).close('P', "same").run("same", &[]).sync(), 1),
            (s().bind("b", "same", &[]).execute("b", 1).query("commit").execute("b", 1).sync(), 2),
            (s().run("same", &[]).close('S', "same").run("same", &[]).sync(), 1),
            (s().parse("", rows).bind("c", "", &[]).execute("c", 4).execute("c", 4).sync().execute("c", 4).sync(), 2),
        ],
    );
    assert_eq!(told[0], "C(BEGIN) ZT 1 2 D(1) D(2) s ZT");
    assert!(told[2].ends_with("E(34000) ZI"), "{}", told[2]);
}

#[test]
fn a_checkout_refused_in_mid_batch_answers_no_ready_before_the_sync() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 1, max_wait: Duration::from_secs(1), ..Plan::default() });
    let mut holder = bed.client();
    holder.query("begin").expect("the only connection");
    let mut refused = bed.client();
    refused.send(&s().once("select 1").bytes).expect("sent");
    refused.send(&s().flush().bytes).expect("sent");
    let error = refused.receive().expect("an error");
    assert_eq!(error.0, b'E');
    assert!(refused.silent_for(Duration::from_millis(100)), "something came before the sync");
    assert_eq!(refused.told(&s().once("select 2").sync(), 1), "ZI");
    holder.query("commit").expect("committed");
    assert_eq!(refused.told(&s().once("select 3").sync(), 1), "1 2 D(3) C(SELECT 1) ZI");
}

#[test]
fn a_name_is_free_again_after_its_parse_failed() {
    let _machine = place::machine(false);
    let bed = start(2);
    let told = same(
        &bed,
        &[
            (s().parse("a", "selec 1").run("a", &[]).sync(), 1),
            (s().run("a", &[]).sync(), 1),
            (s().parse("a", "select 2").run("a", &[]).sync(), 1),
            (s().query("begin").parse("b", "select 1/0").run("b", &[]).parse("c", "select 3").sync(), 2),
            (s().query("rollback").run("b", &[]).sync().run("c", &[]).sync(), 3),
            (s().parse("c", "select 4").run("c", &[]).parse("c", "select 5").sync(), 1),
            (s().parse("", "select 6").sync().run("", &[]).sync(), 2),
            (s().parse("", "selec").sync().run("", &[]).sync(), 2),
        ],
    );
    assert_eq!(told[0], "E(42601) ZI");
    assert_eq!(told[2], "1 2 D(2) C(SELECT 1) ZI");
    assert!(told[5].ends_with("E(42P05) ZI"), "{}", told[5]);
}

#[test]
fn prepared_statements_follow_their_clients_over_many_connections_that_keep_two_each() {
    let _machine = place::machine(false);
    let bed =
        Bed::start_as(Target::Poolwarden, Plan { size: 3, ..Plan::default() }.pool("max_prepared_statements = 2"));
    let mut clients: Vec<Wire> = (0..6).map(|_| bed.client()).collect();
    for (number, wire) in clients.iter_mut().enumerate() {
        for name in ["a", "b", "c"] {
            let told = wire.told(&s().parse(name, &format!("select '{name}{number}' || $1::text")).sync(), 1);
            assert_eq!(told, "1 ZI");
        }
    }
    for round in 0..12_usize {
        // Transactions that overlap force every client over every connection in the course of the rounds.
        let busy = round % clients.len();
        let held = clients[busy].told(&s().query("begin").run("a", &["-"]).sync(), 2);
        assert_eq!(held, format!("C(BEGIN) ZT 2 D(a{busy}-) C(SELECT 1) ZT"));
        for (number, wire) in clients.iter_mut().enumerate().filter(|(number, _)| *number != busy) {
            let batch =
                s().run("c", &["1"]).run("a", &["2"]).run("b", &["3"]).describe('S', "c").run("c", &["4"]).sync();
            let row = |name: &str, value: &str| format!("2 D({name}{number}{value}) C(SELECT 1)");
            let described = "t(1) T(?column?)";
            let expected =
                [row("c", "1"), row("a", "2"), row("b", "3"), described.to_string(), row("c", "4"), "ZI".to_string()];
            assert_eq!(wire.told(&batch, 1), expected.join(" "), "client {number}");
        }
        let done = clients[busy].told(&s().run("b", &["."]).query("commit"), 1);
        assert_eq!(done, format!("2 D(b{busy}.) C(SELECT 1) C(COMMIT) ZI"));
    }
    // What a connection of PostgreSQL keeps is bounded: at most the two, and one more while one is replaced.
    for _ in 0..6 {
        let kept = clients[0].query("select count(*) from pg_prepared_statements").expect("served").value();
        assert!(kept.parse::<u32>().expect("a number") <= 3, "{kept} statements on one connection");
    }
}

#[test]
fn a_statement_whose_table_changed_is_told_so_on_every_connection() {
    let _machine = place::machine(false);
    let bed = start(2);
    bed.postgres.sql("create table shape (a int); insert into shape values (1); grant all on shape to app");
    let mut wire = bed.client();
    let mut keeper = bed.client();
    let prepared = wire.told(&s().parse("q", "select * from shape").describe('S', "q").run("q", &[]).sync(), 1);
    assert_eq!(prepared, "1 t(0) T(a) 2 D(1) C(SELECT 1) ZI");
    bed.postgres.sql("alter table shape add b int default 2");
    for hold in [false, true] {
        if hold {
            keeper.query("begin").expect("the connection that knows the statement");
        }
        let told = wire.told(&s().run("q", &[]).sync(), 1);
        assert_eq!(told.split(' ').next_back(), Some("ZI"), "{told}");
        assert!(told.contains("E(0A000)"), "the client believes in the old columns: {told}");
    }
    let again = s().close('S', "q").parse("q", "select * from shape").describe('S', "q").run("q", &[]).sync();
    assert_eq!(wire.told(&again, 1), "3 1 t(0) T(a,b) 2 D(1,2) C(SELECT 1) ZI");
}

#[test]
fn a_function_call_is_answered() {
    let _machine = place::machine(false);
    let bed = start(1);
    let abs = bed.postgres.sql("select 'abs(int4)'::regprocedure::oid").value().parse().expect("a number");
    let told = same(
        &bed,
        &[
            (s().call(abs, &["-42"]).call(abs, &["x"]).call(1, &[]), 3),
            (s().query("begin").call(abs, &["-7"]).query("commit"), 3),
            (s().once("select 1").call(abs, &["-7"]).once("select 2").sync(), 2),
        ],
    );
    assert!(told[0].starts_with("V(\0\0\0\u{2}42) ZI"), "{:?}", told[0]);
}

#[test]
fn a_batch_that_is_large_empty_or_odd_is_answered_as_by_postgresql() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut long = s();
    for number in 0..500 {
        long = long.once(&format!("select {number}"));
        if number % 7 == 0 {
            long = long.sync();
        }
    }
    same(
        &bed,
        &[
            (s().query(""), 1),
            (s().query(";"), 1),
            (s().once("").sync(), 1),
            (s().query("select 1; select 2; begin; select 3; commit; select 4"), 1),
            (s().flush().flush().sync(), 1),
            (s().describe('S', "none").sync().describe('P', "none").sync().close('S', "none").close('P', "").sync(), 3),
            (s().parse("t", "select $1::int, $2::text").describe('S', "t").bind("", "t", &["1"]).sync(), 1),
            (s().bind("", "t", &["1", "x"]).describe('P', "").execute("", 0).sync(), 1),
            (long.sync(), 73),
            (s().query(&format!("select length('{}')", "x".repeat(3 << 20))), 1),
            (s().parse("", "select length($1)").run("", &[&"y".repeat(3 << 20)]).sync(), 1),
        ],
    );
}

#[test]
fn every_message_may_be_split_at_every_byte() {
    let _machine = place::machine(false);
    let bed = start(2);
    bed.postgres.sql("create table cut (a int, b text); grant all on cut to app");
    let sample = s()
        .query("select 'simple'")
        .parse("st", "select $1::int + 1")
        .describe('S', "st")
        .run("st", &["41"])
        .flush()
        .sync()
        .once("select 1/0")
        .sync()
        .query("copy cut from stdin")
        .data("1\tone\n")
        .data("2\ttwo\n")
        .done()
        .query("begin")
        .close('S', "st")
        .run("st", &["1"])
        .sync()
        .query("rollback");
    let readies = 7;
    let expected = direct(&bed).told(&sample, readies);
    bed.postgres.sql("truncate cut");
    // One byte a packet, from the first byte of the start-up message on.
    let mut wire = Wire::dial(&bed.address()).expect("connect");
    for byte in poolwarden_testbed::wire::startup(&bed::login()) {
        wire.send(&[byte]).expect("sent");
    }
    wire.log_in(&bed::login()).expect("logged in");
    for byte in &sample.bytes {
        wire.send(&[*byte]).expect("sent");
    }
    let told = poolwarden_testbed::say::tell(&wire.readies(readies).expect("answered"));
    assert_eq!(told, expected);
    // In two pieces, at every place.
    for at in 1..sample.bytes.len() {
        wire.query("truncate cut").expect("served");
        let (head, tail) = sample.bytes.split_at(at);
        wire.send(head).expect("sent");
        wire.send(tail).expect("sent");
        let told = poolwarden_testbed::say::tell(&wire.readies(readies).expect("answered"));
        assert_eq!(told, expected, "cut at {at}");
    }
}
