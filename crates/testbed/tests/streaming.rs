//! Large results, large requests and clients that do not read: bounded memory, and nobody else waits.

use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::{Bed, Plan, Say, Target, child, place, until};

const MIB: u64 = 1 << 20;

#[test]
fn a_result_of_256_mib_streams_to_a_slow_reader_with_bounded_memory() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let pid = bed.pooler().expect("poolwarden").pid();
    let mut wire = bed.client();
    wire.query("select 1").expect("warm");
    let before = child::memory(pid).expect("poolwarden runs");
    // 254 rows of a megabyte, and one message of four.
    let sql = "select repeat('x', case when n = 1 then 4 else 1 end * 1048576) from generate_series(1, 253) n";
    wire.send(&Say::new().query(sql).bytes).expect("sent");
    let mut room = vec![0; 1 << 20];
    let (mut total, mut tail, mut pauses) = (0_u64, Vec::new(), 0);
    while !tail.ends_with(b"Z\0\0\0\x05I") {
        let count = wire.read(&mut room).expect("more");
        assert!(count > 0, "ended after {total} bytes");
        total += u64::try_from(count).expect("small");
        tail.extend_from_slice(&room[..count]);
        tail.drain(..tail.len().saturating_sub(6));
        // A reader that is slow, not a test that waits: a pause now and then lets everything before it fill up.
        if total / (16 * MIB) > pauses {
            pauses += 1;
            thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(total > 256 * MIB, "{total} bytes");
    let grown = child::peak_memory(pid).expect("poolwarden runs").saturating_sub(before);
    eprintln!("{} MiB streamed, poolwarden grew by {} KiB", total / MIB, grown / 1024);
    assert!(grown < 16 * MIB, "poolwarden grew by {} KiB", grown / 1024);
    bed.at_rest();
}

#[test]
fn a_client_that_writes_32_mib_of_pipeline_and_reads_late_is_served() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    let pid = bed.pooler().expect("poolwarden").pid();
    let mut reader = bed.client();
    reader.query("select 1").expect("warm");
    let before = child::memory(pid).expect("poolwarden runs");
    let mut writer = reader.twin();
    const BATCHES: usize = 512;
    let text = "z".repeat(64 << 10);
    thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let batch = Say::new().parse("", "select $1::text").run("", &[&text]).sync();
            for _ in 0..BATCHES {
                writer.send(&batch.bytes).expect("sent");
            }
        });
        // Reading begins when nothing more can be written: everything on the way is full, or the kernel's buffers on the way have
        // grown so large that it has all of it, which is theirs to decide.
        until("the writer to be held back", Duration::from_secs(20), || bed.pool("sv_active").eq(&1).then_some(()));
        thread::sleep(Duration::from_millis(300));
        let mut other = bed.client();
        assert_eq!(other.query("select 5").expect("served").value(), "5");
        let messages = reader.readies(BATCHES).expect("all answered");
        let rows = messages.iter().filter(|(tag, body)| *tag == b'D' && body.len() > 64 << 10).count();
        assert_eq!(rows, BATCHES);
        writing.join().expect("written");
    });
    let grown = child::peak_memory(pid).expect("poolwarden runs").saturating_sub(before);
    eprintln!("poolwarden grew by {} KiB", grown / 1024);
    assert!(grown < 16 * MIB, "poolwarden grew by {} KiB", grown / 1024);
}

#[test]
fn a_large_request_streams_to_a_busy_server_with_bounded_memory() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 1, ..Plan::default() });
    let pid = bed.pooler().expect("poolwarden").pid();
    let mut wire = bed.client();
    wire.query("select 1").expect("warm");
    let before = child::memory(pid).expect("poolwarden runs");
    let text = "q".repeat(64 << 20);
    assert_eq!(
        wire.told(&Say::new().query("select pg_sleep(0.3)").parse("", "select length($1)").run("", &[&text]).sync(), 2),
        "T(pg_sleep) D() C(SELECT 1) ZI 1 2 D(67108864) C(SELECT 1) ZI"
    );
    let grown = child::peak_memory(pid).expect("poolwarden runs").saturating_sub(before);
    eprintln!("poolwarden grew by {} KiB", grown / 1024);
    assert!(grown < 16 * MIB, "poolwarden grew by {} KiB", grown / 1024);
}

#[test]
fn clients_that_read_nothing_hold_their_own_connection_alone_with_a_bounded_backlog() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let pid = bed.pooler().expect("poolwarden").pid();
    let mut other = bed.client();
    other.query("select 1").expect("warm");
    let before = child::memory(pid).expect("poolwarden runs");
    let mut deaf: Vec<_> = (0..3).map(|_| bed.client()).collect();
    for wire in &mut deaf {
        wire.send(&Say::new().query("select repeat('x', 1048576) from generate_series(1, 64)").bytes).expect("sent");
    }
    until("the deaf ones to be served", Duration::from_secs(10), || (bed.pool("sv_active") == 3).then_some(()));
    let started = Instant::now();
    for number in 0..500 {
        assert_eq!(other.query(&format!("select {number}")).expect("served").value(), number.to_string());
    }
    eprintln!("500 answers beside three deaf clients in {:?}", started.elapsed());
    assert_eq!(bed.pool("sv_active"), 3, "a deaf client lost its connection");
    let grown = child::peak_memory(pid).expect("poolwarden runs").saturating_sub(before);
    assert!(grown < 16 * MIB, "poolwarden grew by {} KiB", grown / 1024);
    // One reads on, two vanish: all is given back.
    let first = deaf.remove(0).readies(1);
    assert_eq!(first.expect("whole").len(), 64 + 3);
    deaf.into_iter().for_each(poolwarden_testbed::Wire::reset);
    bed.at_rest();
}
