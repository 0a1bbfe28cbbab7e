//! What is recorded comes back, and what is broken, cut short, foreign or of a newer release is told with its place.
#![allow(clippy::unwrap_used)]

use poolwarden_store::recording::{
    Anchor, Barred, Block, Checkout, Fault, Gap, Name, NameKind, Outcome, PoolState, Recording, Settings, State,
    Unreadable, Writer,
};

/// A small generator of its own (Knuth's constants for 64 bits).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn barred(dice: &mut Dice) -> Barred {
    Barred { limit: dice.below(16) as u8, binding: dice.below(16) as u8 }
}

fn checkouts(count: usize, seed: u64) -> Vec<Checkout> {
    let mut dice = Dice(seed);
    let mut now_us = 1_000_000;
    let mut one = || {
        now_us += dice.below(2_000);
        let outcomes = [
            Outcome::Served,
            Outcome::Served,
            Outcome::Broken,
            Outcome::TimedOut,
            Outcome::Refused,
            Outcome::Abandoned,
            Outcome::Lost,
            Outcome::Shed,
        ];
        let outcome = outcomes[dice.below(8) as usize];
        let is_granted = outcome.is_lent();
        let held_us = if is_granted { dice.below(50_000) } else { 0 };
        Checkout {
            pool: dice.below(3) as u16,
            client: dice.below(10_000) as u32,
            class: dice.below(3) as u8,
            application: dice.below(9) as u16,
            // they end in another order than they came
            arrived_us: now_us - dice.below(900_000),
            waited_us: dice.below(3) * dice.below(9_000),
            held_us,
            idled_us: held_us / (1 + dice.below(9)),
            outcome,
            attempt: (dice.below(4) / 3 * dice.below(9)) as u8,
            conn: if is_granted { dice.below(40) as u16 } else { 0 },
            barred: outcome.is_refused().then(|| barred(&mut dice)),
            connect_us: (dice.below(50) == 0).then(|| dice.below(20_000)),
        }
    };
    (0..count).map(|_| one()).collect()
}

const BEGUN: Anchor = Anchor { wall_ms: 1_700_000_000_000, clock_us: 1_000_000 };

fn blocks() -> Vec<Block> {
    let name = |kind, number, text: &str| Name { kind, number, text: text.to_owned() };
    vec![
        Block::Names(vec![
            name(NameKind::Pool, 0, "main\0app\0web"),
            name(NameKind::Class, 1, "default"),
            name(NameKind::Application, 3, "rails – été"),
            name(NameKind::Limit, 2, "class_share"),
        ]),
        Block::Checkouts(checkouts(500, 1)),
        Block::Gap(Gap { from_us: 3, until_us: u64::MAX, lost: 17 }),
        Block::Checkouts(checkouts(1, 2)),
        Block::Anchor(Anchor { wall_ms: u64::MAX, clock_us: 0 }),
        Block::Settings(Settings {
            from_us: 9,
            version: Some(0),
            hash: "ab".to_owned(),
            text: "[limits]\n".repeat(99),
        }),
        Block::Settings(Settings { from_us: 9, version: None, hash: String::new(), text: String::new() }),
        Block::State(State {
            at_us: 60_000_000,
            pools: vec![
                PoolState { pool: 3, size: 20, open: 12, lent: 7, idle: 4, opening: 1, waiting: 300 },
                PoolState { pool: u16::MAX, size: u32::MAX, waiting: 1, ..PoolState::default() },
            ],
        }),
        Block::State(State { at_us: 0, pools: Vec::new() }),
        Block::Checkouts(checkouts(300, 3)),
        Block::Checkouts(Vec::new()),
    ]
}

fn written(blocks: &[Block]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), BEGUN).unwrap();
    blocks.iter().for_each(|block| writer.block(block).unwrap());
    let length = writer.length();
    let bytes = writer.into_inner();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn read(bytes: &[u8]) -> (Vec<Block>, Vec<Fault>) {
    let (mut blocks, mut faults) = (Vec::new(), Vec::new());
    for block in Recording::open(bytes).unwrap() {
        match block {
            Ok(block) => blocks.push(block),
            Err(fault) => faults.push(fault),
        }
    }
    (blocks, faults)
}

#[test]
fn what_is_recorded_comes_back_and_a_day_of_traffic_is_small() {
    let bytes = written(&blocks());
    assert_eq!(Recording::open(&bytes).unwrap().begun(), BEGUN);
    assert_eq!(read(&bytes), (blocks(), Vec::new()));
    let many = checkouts(100_000, 9);
    let mut writer = Writer::begin(Vec::new(), BEGUN).unwrap();
    writer.checkouts(&many).unwrap();
    let per_checkout = writer.length() as f64 / many.len() as f64;
    println!("{per_checkout:.1} bytes a checkout, packed");
    assert!(per_checkout < 20.0, "{per_checkout}");
    let back: Vec<Checkout> = read(&writer.into_inner())
        .0
        .into_iter()
        .flat_map(|block| match block {
            Block::Checkouts(all) => all,
            Block::Names(_)
            | Block::Gap(_)
            | Block::Anchor(_)
            | Block::Settings(_)
            | Block::State(_)
            | Block::Unknown(_) => Vec::new(),
        })
        .collect();
    assert_eq!(back, many);
}

#[test]
fn times_too_long_to_tell_are_told_as_the_longest() {
    let endless = Checkout { waited_us: u64::MAX, held_us: 1 << 40, connect_us: Some(u64::MAX), ..checkouts(1, 2)[0] };
    let endless = Checkout { conn: 1, outcome: Outcome::Served, barred: None, ..endless };
    let (blocks, faults) = read(&written(&[Block::Checkouts(vec![endless])]));
    let [Block::Checkouts(all)] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!(faults, []);
    assert_eq!(
        (all[0].waited_us, all[0].held_us, all[0].connect_us),
        ((1 << 35) - 1, (1 << 35) - 1, Some((1 << 28) - 1))
    );
}

#[test]
fn one_that_came_hours_before_the_one_it_follows_is_told_exactly() {
    let hour = 3_600_000_000;
    let one = checkouts(1, 2)[0];
    let all: Vec<Checkout> =
        [9, 8, 2, 7, 0].into_iter().map(|hours| Checkout { arrived_us: hours * hour, ..one }).collect();
    let mut writer = Writer::begin(Vec::new(), BEGUN).unwrap();
    writer.checkouts(&all).unwrap();
    let (blocks, faults) = read(&writer.into_inner());
    assert_eq!((blocks.len(), faults), (4, Vec::new()));
    let back = blocks.into_iter().flat_map(|block| if let Block::Checkouts(all) = block { all } else { Vec::new() });
    assert_eq!(back.collect::<Vec<_>>(), all);
}

#[test]
fn a_recording_lasts_from_its_header_to_what_it_tells_last() {
    let span = |blocks: &[Block]| Recording::open(&written(blocks)).unwrap().span();
    let begun = BEGUN.wall_ms;
    assert_eq!(span(&[]), (begun, begun));
    let anchor = |wall_ms, clock_us| Block::Anchor(Anchor { wall_ms, clock_us });
    // the wall clock was put ahead by a minute
    let anchors = [Block::Checkouts(checkouts(300, 3)), anchor(begun + 120_000, 61_000_000)];
    assert_eq!(span(&anchors), (begun, begun + 120_000));
    let one = Checkout { arrived_us: 62_000_000, waited_us: 250_000, ..checkouts(1, 2)[0] };
    let one = Checkout { held_us: 750_000, outcome: Outcome::Served, barred: None, ..one };
    let mut more = anchors.to_vec();
    more.extend([Block::Checkouts(vec![one]), Block::State(State { at_us: 62_000_000, pools: Vec::new() })]);
    assert_eq!(span(&more), (begun, begun + 122_000));
    // a torn tail hides what is in it, and nothing else
    let bytes = written(&more);
    let torn = Recording::open(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(torn.span(), (begun, begun + 122_000));
    let mut broken = bytes.clone();
    broken[40] ^= 1; // within the length of the first block
    assert_eq!(Recording::open(&broken).unwrap().span(), (begun, begun + 122_000));
}

#[test]
fn a_broken_byte_costs_its_block_alone_wherever_it_is() {
    let (all, bytes) = (blocks(), written(&blocks()));
    for at in 32..bytes.len() {
        for bit in [0, 5] {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let (left, faults) = read(&broken);
            assert_eq!((left.len(), faults.len()), (all.len() - 1, 1), "byte {at}: {faults:?}");
            let fault = &faults[0];
            assert!((fault.at..fault.at + fault.length).contains(&at), "byte {at}: {fault}");
            assert!(left.iter().all(|block| all.contains(block)), "byte {at}");
        }
    }
}

#[test]
fn a_recording_cut_short_anywhere_is_readable_up_to_there() {
    let (all, bytes) = (blocks(), written(&blocks()));
    for length in 32..bytes.len() {
        let (left, faults) = read(&bytes[..length]);
        assert_eq!(left, all[..left.len()], "{length}");
        let whole = faults.is_empty();
        assert!(whole || faults.len() == 1 && faults[0].at + faults[0].length == length, "{length}: {faults:?}");
        assert!(left.len() < all.len() && (!whole || bytes[length..].starts_with(&[0xd1])), "{length}");
    }
    for length in 0..32 {
        assert_eq!(Recording::open(&bytes[..length]).unwrap_err(), Unreadable::Short { length });
    }
}

#[test]
fn what_is_no_recording_or_of_a_newer_release_is_told() {
    let bytes = written(&blocks());
    assert_eq!(Recording::open(b"SQLite format 3\0").unwrap_err(), Unreadable::Foreign);
    let as_text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
    assert_eq!(Recording::open(&as_text).unwrap_err(), Unreadable::SentAsText);
    let mut broken = bytes.clone();
    broken[13] ^= 1;
    assert_eq!(Recording::open(&broken).unwrap_err(), Unreadable::Header);
    let mut newer = bytes.clone();
    newer[8] = 2;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&newer[..28]);
    newer[28..32].copy_from_slice(&sum.finalize().to_le_bytes());
    let why = Recording::open(&newer).unwrap_err();
    assert_eq!(why, Unreadable::Newer { version: 2 });
    assert!(why.to_string().starts_with("byte 8: it is of format 2, and this release reads up to 1"));
    // a kind of block that this release does not know is passed over, and told
    let (left, faults) = read(&written(&[Block::Unknown(77), Block::Checkouts(checkouts(2, 5))]));
    assert_eq!((left, faults), (vec![Block::Unknown(77), Block::Checkouts(checkouts(2, 5))], Vec::new()));
}

#[test]
fn any_bytes_are_read_without_panic_and_all_of_them_are_accounted_for() {
    let sound = written(&blocks());
    let mut dice = Dice(77);
    for _ in 0..2_000 {
        let mut bytes = sound.clone();
        for _ in 0..=dice.below(20) {
            let at = 32 + dice.below(bytes.len() as u64 - 32) as usize;
            match dice.below(3) {
                0 => bytes[at] = dice.below(256) as u8,
                1 => drop(bytes.drain(at..(at + dice.below(40) as usize).min(bytes.len()))),
                _ => bytes.splice(at..at, sound[32..32 + dice.below(60) as usize].iter().copied()).for_each(drop),
            }
            if bytes.len() < 40 {
                break;
            }
        }
        let (left, _) = read(&bytes);
        assert!(left.len() <= blocks().len() + 21);
    }
}
