//! Pieces of scripts that make sense by themselves, or nearly: what random clients are made of.

use super::script::Script;

/// A piece of a script that makes sense by itself, or nearly.
#[derive(Clone, Debug)]
pub enum Piece {
    Query(&'static str),
    Parse(&'static str, &'static str),
    Bind(&'static str, &'static str),
    DescribeStatement(&'static str),
    DescribePortal(&'static str),
    Execute(&'static str, u32),
    CloseStatement(&'static str),
    ClosePortal(&'static str),
    Once(&'static str),
    Run(&'static str),
    Sync,
    SyncAndWait,
    Flush,
    Function(u32),
    CopyQuery(Ending),
    CopyBatch(bool, Ending),
    Late,
    /// Everything prepared is dropped, with nothing in flight.
    DeallocateAll(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Done,
    Fail,
    Bad,
}

pub const TEXTS: [&str; 18] = [
    "select 1",
    "select 22",
    "rows 3 10",
    "rows 7 1",
    "begin",
    "commit",
    "rollback",
    "insert",
    "error",
    "syntax",
    "missing",
    "copy out 2",
    "set application_name x",
    "set datestyle German",
    "show application_name",
    "notice",
    "notify",
    "",
];

pub const QUERIES: [&str; 8] = [
    "select 1; select 2",
    "begin; set timezone Mars",
    "error; select 1",
    "set local datestyle SQL",
    "set client_encoding latin1",
    "begin; insert",
    "insert; error; insert",
    "select poolwarden",
];

/// Statements that return rows, or cannot be: a statement without rows may be described in a failed transaction, if it is prepared
/// there, and prepared anew it cannot; nobody does that.
pub const DESCRIBED: [(&str, &str); 4] =
    [("a", "select 1"), ("b", "rows 4 2"), ("c", "show datestyle"), ("d", "syntax")];
pub const NAMES: [&str; 5] = ["", "a", "b", "x", "y"];
pub const PORTALS: [&str; 3] = ["", "p", "q"];

fn copied(script: Script, ending: Ending) -> Script {
    match ending {
        Ending::Done => script.data("one").data("two").done(),
        Ending::Fail => script.data("one").fail(),
        Ending::Bad => script.data("one").data("bad").data("late").done(),
    }
}

pub fn append(script: Script, piece: &Piece) -> Script {
    match *piece {
        Piece::Query(sql) => script.query(sql),
        Piece::Parse(name, sql) => script.parse(name, sql),
        Piece::Bind(portal, name) => script.bind(portal, name),
        Piece::DescribeStatement(name) => script.describe(b'S', name),
        Piece::DescribePortal(name) => script.describe(b'P', name),
        Piece::Execute(portal, limit) => script.execute(portal, limit),
        Piece::CloseStatement(name) => script.close(b'S', name),
        Piece::ClosePortal(name) => script.close(b'P', name),
        Piece::Once(sql) => script.once(sql),
        Piece::Run(name) => script.run(name),
        Piece::Sync => script.sync(),
        Piece::SyncAndWait => script.sync().wait(),
        Piece::Flush => script.flush(),
        Piece::Function(oid) => script.function(oid),
        Piece::CopyQuery(ending) => copied(script.query("copy in"), ending),
        Piece::CopyBatch(early, ending) => {
            // under a name nothing else uses, so that only this piece is in COPY
            let script = script.close(b'S', "copy").parse("copy", "copy in").run("copy");
            copied(if early { script.sync() } else { script }, ending).sync()
        }
        Piece::Late => script.data("late").done(),
        Piece::DeallocateAll(sql) => script.sync().wait().query(sql).wait(),
    }
}

pub const SETTINGS: [&[(&str, &str)]; 3] =
    [&[], &[("application_name", "one")], &[("application_name", "two"), ("datestyle", "German")]];

/// A client of these pieces, which then ends whatever it has left open and looks at its settings.
pub fn script<'a>(settings: &[(&'static str, &'static str)], pieces: impl IntoIterator<Item = &'a Piece>) -> Script {
    let script = pieces.into_iter().fold(Script::with(settings), append);
    script.sync().wait().query("rollback").wait().query("show datestyle")
}
