//! Clients with scripts made of sensible pieces over a small pool of model servers: each hears, byte for byte, what it would
//! hear alone, and no connection comes back dirty. The model and the pool are the relay's own tests'.

#[path = "../../../crates/relay/tests/support/mod.rs"]
mod support;

use poolwarden_relay::{Keep, Terms};
use support::piece::{DESCRIBED, Ending, NAMES, PORTALS, Piece, QUERIES, SETTINGS, TEXTS, script};
use support::script::Script;
use support::wire::{Cut, Wire};

use crate::input::Input;

/// A script of more pieces says nothing new, only slower.
const MOST_PIECES: usize = 24;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let terms = Terms {
        keep: input.choice(&[Keep::Transaction, Keep::Transaction, Keep::Session]),
        statements: 1 + input.below(3),
        large_text: input.choice(&[1 << 20, 12]),
        cut: input.choice(&[(64, u64::MAX), (1, u64::MAX), (2, 5_000)]),
        ..Terms::default()
    };
    let cut = input.choice(&[Cut::Whole, Cut::EveryByte, Cut::Random]);
    let (seats, order) = (1 + input.below(3), u64::from(input.word()));
    let mut wire = Wire::new(seats, terms, cut, order);
    let vanishes = input.flag().then(|| usize::from(input.byte()));
    for _ in 0..=input.below(3) {
        wire.join(&client(&mut input));
    }
    if let Some(steps) = vanishes {
        wire.steps(steps);
        if !wire.peers[0].ended {
            wire.leave(0);
            wire.peers[0].direct.replies = wire.peers[0].replies.clone(); // it hears no more
        }
        wire.join(&Script::new().once("select 1").sync().wait().parse("a", "select 2").run("a").sync());
    }
    wire.run();
    wire.check();
}

fn client(input: &mut Input<'_>) -> Script {
    let settings = input.choice(&SETTINGS);
    let count = 1 + input.below(MOST_PIECES);
    let pieces: Vec<Piece> = (0..count).map(|_| piece(input)).collect();
    script(settings, &pieces)
}

fn piece(input: &mut Input<'_>) -> Piece {
    let ending = |input: &mut Input<'_>| input.choice(&[Ending::Done, Ending::Fail, Ending::Bad]);
    match input.below(19) {
        0 => Piece::Query(input.choice(&TEXTS)),
        1 => Piece::Query(input.choice(&QUERIES)),
        2 => {
            let (name, text) = input.choice(&DESCRIBED);
            Piece::Parse(name, text)
        }
        3 => Piece::Parse(input.choice(&["x", "y", ""]), input.choice(&TEXTS)),
        4 => Piece::Bind(input.choice(&PORTALS), input.choice(&NAMES)),
        5 => Piece::DescribeStatement(input.choice(&["a", "b", "c", "d", "none"])),
        6 => Piece::DescribePortal(input.choice(&PORTALS)),
        7 => Piece::Execute(input.choice(&PORTALS), u32::from(input.byte() % 4)),
        8 => Piece::CloseStatement(input.choice(&NAMES)),
        9 => Piece::ClosePortal(input.choice(&PORTALS)),
        10 => Piece::Once(input.choice(&TEXTS)),
        11 => Piece::Run(input.choice(&NAMES)),
        12 => Piece::Sync,
        13 => Piece::SyncAndWait,
        14 => Piece::Flush,
        15 => Piece::Function(u32::from(input.byte() % 2)),
        16 => Piece::CopyQuery(ending(input)),
        17 => Piece::CopyBatch(input.flag(), ending(input)),
        _ if input.flag() => Piece::Late,
        _ => Piece::DeallocateAll("deallocate all"),
    }
}
