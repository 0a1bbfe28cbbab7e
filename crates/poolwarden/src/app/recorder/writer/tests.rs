//! The thread's work without the thread: a clock that is set, a directory that is in the way.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use poolwarden_config::{LogFormat, LogLevel};
use poolwarden_pool::{CheckoutOutcome, ClassId, PoolId};
use poolwarden_store::recording::{Bounds, NameKind, Outcome, Recording, tapes};

use super::*;

const HOST: HostId = HostId(0);

/// A writer, and the milliseconds of both its clocks.
struct Bench {
    writer: Writer<Box<dyn Fn() -> Anchor>>,
    clock_ms: Arc<AtomicU64>,
    wall_ms: Arc<AtomicU64>,
    told: Arc<Told>,
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let clocks = [0, 1_700_000_000_000].map(|ms| Arc::new(AtomicU64::new(ms)));
        let [clock_ms, wall_ms] = clocks.clone();
        let now = move || Anchor {
            wall_ms: clocks[1].load(Ordering::Relaxed),
            clock_us: clocks[0].load(Ordering::Relaxed) * 1_000,
        };
        let shelf = Shelf::new(home.path().join("recordings"), Bounds::default());
        let settings = poolwarden_config::Log { format: LogFormat::Text, level: LogLevel::Error };
        let log = Log::to(settings, std::io::sink()).unwrap();
        let told = Arc::new(Told::default());
        let writer = Writer::new(shelf, Box::new(now) as Box<dyn Fn() -> Anchor>, log, Arc::clone(&told));
        Self { writer, clock_ms, wall_ms, told, home }
    }

    fn hear(&mut self, word: Word) {
        let (emptied, _lists) = sync_channel(1);
        self.writer.hear(word, &emptied);
    }

    fn obey(&mut self, enabled: bool) {
        let classes = vec!["default".to_owned()];
        let orders = Orders { enabled, max_size: 1 << 30, classes, version: Some(3), ..Orders::default() };
        self.hear(Word::Obey(Box::new(orders)));
    }

    /// So many ended, one a millisecond.
    fn ended(&mut self, count: u64, lost: u64) {
        let from = self.clock_ms.load(Ordering::Relaxed);
        let one = |ms: u64| CheckoutRecord {
            pool: PoolId(0),
            class: ClassId(0),
            tenant: 9,
            attempt: 0,
            client: u32::try_from(ms).unwrap(),
            arrived: at(ms),
            until: at(ms),
            outcome: CheckoutOutcome::Abandoned,
        };
        let records = (from..from + count).map(one).collect();
        self.pass(count);
        self.hear(Word::Ended { host: HOST, records, lost, from: at(from), until: at(from + count) });
    }

    fn pass(&self, ms: u64) {
        self.clock_ms.fetch_add(ms, Ordering::Relaxed);
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn blocks(&self) -> Vec<Block> {
        let mut all = Vec::new();
        for tape in tapes(&self.shelf()).unwrap() {
            let bytes = fs::read(tape.path).unwrap();
            all.extend(Recording::open(&bytes).unwrap().map(|block| block.unwrap()));
        }
        all
    }

    fn shelf(&self) -> std::path::PathBuf {
        self.home.path().join("recordings")
    }
}

fn at(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

fn clients(blocks: &[Block]) -> Vec<u32> {
    let of = |block: &Block| if let Block::Checkouts(all) = block { all.clone() } else { Vec::new() };
    blocks.iter().flat_map(of).map(|of| of.client).collect()
}

fn gaps(blocks: &[Block]) -> Vec<Gap> {
    blocks.iter().filter_map(|block| if let Block::Gap(gap) = block { Some(*gap) } else { None }).collect()
}

fn in_the_way(dir: &Path) {
    fs::write(dir, "").unwrap();
}

#[test]
fn a_recording_says_what_is_in_force_and_names_before_it_tells_anything() {
    let mut bench = Bench::new();
    bench.obey(true);
    bench.hear(Word::Pools { host: HOST, pools: vec![(PoolId(0), "main\0app\0web".to_owned())] });
    bench.hear(Word::Tenants(vec![(9, "rails".into())]));
    bench.ended(2, 0);
    bench.writer.write(false);
    let blocks = bench.blocks();
    let [Block::Settings(settings), Block::Names(names), Block::Checkouts(all)] = &blocks[..] else {
        panic!("{blocks:?}")
    };
    assert_eq!(settings.version, Some(3));
    let named: Vec<_> = names.iter().filter(|name| name.kind != NameKind::Limit).map(|name| &*name.text).collect();
    assert_eq!(named, ["main\0app\0web", "default", "rails"]);
    assert_eq!((all[1].client, all[1].application, all[1].outcome), (1, 1, Outcome::Abandoned));
    assert_eq!(bench.told.standing().checkouts, 2);
    let on_disk: u64 = tapes(&bench.shelf()).unwrap().iter().map(|tape| tape.size).sum();
    assert_eq!(bench.told.standing().bytes, on_disk);
}

#[test]
fn the_clocks_are_told_each_minute_and_where_one_of_them_was_set() {
    let mut bench = Bench::new();
    bench.obey(true);
    let anchors = |bench: &mut Bench| {
        bench.writer.write(false);
        bench.blocks().iter().filter(|block| matches!(block, Block::Anchor(_))).count()
    };
    assert_eq!(anchors(&mut bench), 0, "the header is one");
    bench.pass(59_999);
    assert_eq!(anchors(&mut bench), 0);
    bench.pass(1);
    assert_eq!((anchors(&mut bench), anchors(&mut bench)), (1, 1));
    bench.wall_ms.fetch_sub(1_000, Ordering::Relaxed);
    assert_eq!((anchors(&mut bench), anchors(&mut bench)), (2, 2));
}

#[test]
fn what_cannot_be_written_is_kept_in_memory_and_what_has_no_place_there_is_a_gap() {
    let mut bench = Bench::new();
    in_the_way(&bench.shelf());
    bench.obey(true);
    bench.ended(MOST_PENDING as u64 - 10, 0);
    bench.writer.write(true);
    let why = bench.told.standing().trouble.unwrap();
    assert!(why.contains("exists") || why.contains("directory"), "{why}");
    bench.ended(30, 7);
    bench.writer.write(false);
    assert_eq!(
        (bench.told.standing().checkouts, bench.told.standing().lost),
        (0, 20),
        "what the core lost is counted there"
    );
    fs::remove_file(bench.shelf()).unwrap();
    bench.writer.write(false);
    assert!(bench.told.standing().trouble.is_some(), "it is not tried at once");
    bench.writer.write(true);
    assert_eq!(bench.told.standing().trouble, None);
    let blocks = bench.blocks();
    assert_eq!(clients(&blocks), (0..MOST_PENDING as u32).collect::<Vec<_>>());
    let from_us = (MOST_PENDING as u64 - 10) * 1_000;
    assert_eq!(gaps(&blocks), [Gap { from_us, until_us: from_us + 30_000, lost: 27 }]);
    bench.ended(1, 0);
    bench.writer.write(false);
    assert_eq!(gaps(&bench.blocks()).len(), 1, "told once");
}

#[test]
fn the_time_it_is_off_is_a_gap_of_the_next_recording() {
    let mut bench = Bench::new();
    bench.obey(true);
    bench.ended(3, 0);
    bench.obey(false);
    assert!(matches!(bench.blocks().last(), Some(Block::Anchor(_))));
    bench.ended(5, 0); // the core had them already
    bench.writer.write(true);
    bench.pass(1_000);
    bench.obey(true);
    bench.ended(2, 0);
    bench.writer.write(false);
    let blocks = bench.blocks();
    assert_eq!(gaps(&blocks), [Gap { from_us: 3_000, until_us: 1_008_000, lost: 0 }]);
    assert_eq!(clients(&blocks), [0, 1, 2, 1_008, 1_009], "{blocks:?}");
    assert_eq!(tapes(&bench.shelf()).unwrap().len(), 2);
}

#[test]
fn at_its_end_all_is_written_or_said_to_be_lost() {
    let mut bench = Bench::new();
    bench.obey(true);
    bench.ended(4, 0);
    bench.writer.end();
    assert_eq!(clients(&bench.blocks()), [0, 1, 2, 3]);
    assert!(matches!(bench.blocks().last(), Some(Block::Anchor(Anchor { clock_us: 4_000, .. }))));
    let mut bench = Bench::new();
    in_the_way(&bench.shelf());
    bench.obey(true);
    bench.ended(4, 0);
    bench.writer.end();
    assert_eq!((bench.told.standing().checkouts, bench.told.standing().lost), (0, 4));
}
