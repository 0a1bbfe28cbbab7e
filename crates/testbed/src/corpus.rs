//! Conversations as files: what clients say, message by message, and how far each waits.
//!
//! One file is one conversation. A line is a connection's name (`B:`; A where none stands), a word and its
//! arguments; `corpus/README.md` is the manual. Everything up to the next wait goes out in one piece.
//! Knows the messages and nothing of who answers them: that is the oracle's.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::bed::Mode;
use crate::corpus_word::{Word, words};
use crate::wire::message;

/// One conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The file's name without its ending.
    pub name: String,
    /// What it shows, from its first comment.
    pub about: String,
    /// The items of the checklist it covers.
    pub covers: Vec<String>,
    /// The modes it makes sense in.
    pub modes: Vec<Mode>,
    /// The sizes of the pools it is held through.
    pub pools: Vec<u32>,
    /// The first major version of PostgreSQL it is for.
    pub since: u32,
    /// The last one.
    pub until: u32,
    /// What a superuser runs before it.
    pub setup: Vec<String>,
    /// How much of an error must agree.
    pub depth: Depth,
    /// Where the answers are known to differ, and why.
    pub known: Vec<Known>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// How much of an error must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every field.
    Whole,
    /// Severity and SQLSTATE: for what a pooler has to say in words of its own.
    Code,
}

/// A difference that is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// In this mode.
    pub mode: Mode,
    /// For this reason.
    pub why: String,
    /// Every time; otherwise who is faster decides.
    pub always: bool,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// Whose connection.
    pub who: char,
    /// What.
    pub act: Act,
}

/// What can happen.
#[derive(Debug, Clone)]
pub enum Act {
    /// A connection is made, with a start-up message.
    Connect(Hello),
    /// These bytes go out; so many `ReadyForQuery` are due for them.
    Say(Vec<u8>, usize),
    /// A function is called by its signature, since its number is the server's.
    Call(String, Vec<Option<Vec<u8>>>),
    /// What has been said goes out now.
    Send,
    /// Answers are read.
    Wait(Until),
    /// A superuser runs this, past the pooler.
    Superuser(String),
    /// A connection is made without a word.
    Dial,
    /// The connection's writing end closes.
    HalfClose,
    /// `CopyFail`, Sync and an empty query go out, and everything up to their answers is read, whatever is due.
    Mark,
}

/// How far a wait reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All `ReadyForQuery` due.
    Due,
    /// So many of them.
    Ready(usize),
    /// The first message of this tag.
    Tag(u8),
    /// One byte that is no message: the answer to a request for encryption.
    Byte,
    /// The end of the connection.
    End,
}

/// A start-up message.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The protocol's version, major in the upper half.
    pub version: u32,
    /// Names and values, in order.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// The password given where one is asked for.
    pub password: String,
}

/// Where a file is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// How.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The folder of the conversations that are kept.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// All conversations that are kept, by name.
#[must_use]
#[track_caller]
pub fn all() -> Vec<Conversation> {
    let mut found = Vec::new();
    let groups = std::fs::read_dir(folder()).unwrap_or_else(|e| panic!("read the corpus: {e}"));
    for group in groups.flatten().filter(|entry| entry.path().is_dir()) {
        let files = std::fs::read_dir(group.path()).unwrap_or_else(|e| panic!("read the corpus: {e}"));
        for path in files.flatten().map(|file| file.path()).filter(|path| path.extension() == Some("talk".as_ref())) {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("{}/{}", stem(&group.path()), stem(&path));
            found.push(read(&name, &text).unwrap_or_else(|e| panic!("{name}: {e}")));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The conversation that stands in `text`.
pub fn read(name: &str, text: &str) -> Result<Conversation, Wrong> {
    let mut talk = Conversation {
        name: name.to_string(),
        about: String::new(),
        covers: Vec::new(),
        modes: vec![Mode::Transaction, Mode::Session],
        pools: vec![1, 2],
        since: 0,
        until: u32::MAX,
        setup: Vec::new(),
        depth: Depth::Whole,
        known: Vec::new(),
        steps: Vec::new(),
    };
    for (at, line) in text.lines().enumerate() {
        let line_number = at + 1;
        let wrong = |what: String| Wrong { line: line_number, what };
        if let Some(comment) = line.strip_prefix('#') {
            if talk.about.is_empty() {
                talk.about = comment.trim().to_string();
            }
            continue;
        }
        let words = words(line).map_err(wrong)?;
        if words.is_empty() || talk.header(&words).map_err(wrong)? {
            continue;
        }
        talk.spoken(line_number, line, &words).map_err(wrong)?;
    }
    if talk.steps.is_empty() || talk.about.is_empty() {
        return Err(Wrong {
            line: 1,
            what: "a conversation needs a comment that says what it shows, and steps".into(),
        });
    }
    Ok(talk)
}

impl Conversation {
    /// The names of its connections, in order.
    #[must_use]
    pub fn connections(&self) -> Vec<char> {
        let mut names: Vec<char> = self.steps.iter().map(|step| step.who).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether more goes out or comes back than is worth cutting into single bytes.
    #[must_use]
    pub fn is_large(&self) -> bool {
        let said: usize =
            self.steps.iter().map(|step| if let Act::Say(bytes, _) = &step.act { bytes.len() } else { 0 }).sum();
        said > 20_000 || self.name.starts_with("data/") || self.name == "copy/out-large"
    }

    /// Whether this line says something about the conversation rather than in it.
    fn header(&mut self, words: &[Word]) -> Result<bool, String> {
        let (key, rest) = (words[0].text(), &words[1..]);
        let texts = || rest.iter().map(Word::text).collect::<Vec<_>>();
        let number =
            |word: &Word| word.text().parse::<u32>().map_err(|_| format!("{key}: {} is no number", word.text()));
        let first = || rest.first().ok_or(format!("{key} of what?"));
        match key.as_str() {
            "covers" => self.covers = texts(),
            "modes" => self.modes = rest.iter().map(|word| mode(&word.text())).collect::<Result<_, _>>()?,
            "pools" => self.pools = rest.iter().map(number).collect::<Result<_, _>>()?,
            "since" => self.since = number(first()?)?,
            "until" => self.until = number(first()?)?,
            "setup" => self.setup.extend(texts()),
            "compare" if texts() == ["code"] => self.depth = Depth::Code,
            word @ ("known" | "perhaps") => {
                let [in_mode, why] = rest else { return Err(format!("{word} MODE \"why\"")) };
                self.known.push(Known { mode: mode(&in_mode.text())?, why: why.text(), always: word == "known" });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A line of the conversation itself.
    fn spoken(&mut self, line: usize, source: &str, words: &[Word]) -> Result<(), String> {
        let named = words[0].text();
        let mut rest = words;
        let mut who = 'A';
        if let (Some(name), 2) = (named.strip_suffix(':'), named.len()) {
            who = name.chars().next().unwrap_or('A');
            rest = &words[1..];
        }
        if rest.first().is_some_and(|word| word.text() == "repeat") {
            let count: usize = rest.get(1).and_then(|word| word.text().parse().ok()).ok_or("repeat how often?")?;
            let (_, said) = source.split_once("repeat").ok_or("repeat what?")?;
            let said = said.trim_start().split_once(' ').ok_or("repeat what?")?.1;
            for number in 0..count {
                let words = crate::corpus_word::words(&said.replace("\\#", &number.to_string()))?;
                self.steps.push(Step { line, who, act: act(&words)? });
            }
            return Ok(());
        }
        self.steps.push(Step { line, who, act: act(rest)? });
        Ok(())
    }
}

fn mode(name: &str) -> Result<Mode, String> {
    [Mode::Session, Mode::Transaction, Mode::Statement]
        .into_iter()
        .find(|mode| mode.name() == name)
        .ok_or(format!("{name} is no mode"))
}

/// What a line without its connection says.
fn act(words: &[Word]) -> Result<Act, String> {
    let (word, rest) = words.split_first().ok_or("nothing is said")?;
    let said = match (word.text().as_str(), rest) {
        ("connect", rest) => return Ok(Act::Connect(hello(rest)?)),
        ("send", []) => return Ok(Act::Send),
        ("half-close", []) => return Ok(Act::HalfClose),
        ("dial", []) => return Ok(Act::Dial),
        ("mark", []) => return Ok(Act::Mark),
        ("superuser", [sql]) => return Ok(Act::Superuser(sql.text())),
        ("wait", rest) => return Ok(Act::Wait(until(rest)?)),
        ("call", [function, arguments @ ..]) => {
            return Ok(Act::Call(function.text(), arguments.iter().map(|value| value.value()).collect()));
        }
        ("query", [sql]) => return Ok(Act::Say(message(b'Q', &[&sql.bytes[..], b"\0"].concat()), 1)),
        ("sync", []) => return Ok(Act::Say(message(b'S', b""), 1)),
        ("flush", []) => message(b'H', b""),
        ("done", []) => message(b'c', b""),
        ("terminate", []) => message(b'X', b""),
        ("data", [rows]) => message(b'd', &rows.bytes),
        ("fail", [why]) => message(b'f', &[&why.bytes[..], b"\0"].concat()),
        ("parse", [name, sql, types @ ..]) => parse(name, sql, types)?,
        ("bind", [portal, name, values @ ..]) => bind(portal, name, values)?,
        ("execute", [portal, rest @ ..]) => execute(portal, rest)?,
        ("describe", [kind, name]) => named(b'D', kind, name),
        ("close", [kind, name]) => named(b'C', kind, name),
        ("run", [name, values @ ..]) => [bind(&Word::empty(), name, values)?, execute(&Word::empty(), &[])?].concat(),
        ("once", [sql]) => {
            let empty = Word::empty();
            [parse(&empty, sql, &[])?, bind(&empty, &empty, &[])?, execute(&empty, &[])?].concat()
        }
        ("message", [tag, body]) => message(tag.bytes[0], &body.bytes),
        ("raw", [bytes]) => bytes.bytes.clone(),
        (other, rest) => return Err(format!("\"{other}\" with {} arguments means nothing", rest.len())),
    };
    Ok(Act::Say(said, 0))
}

fn until(words: &[Word]) -> Result<Until, String> {
    let Some(word) = words.first() else { return Ok(Until::Due) };
    let text = word.text();
    match (text.parse(), text.as_bytes()) {
        (Ok(count), _) => Ok(Until::Ready(count)),
        (Err(_), b"end") => Ok(Until::End),
        (Err(_), b"byte") => Ok(Until::Byte),
        (Err(_), [tag]) => Ok(Until::Tag(*tag)),
        (Err(_), _) => Err(format!("wait for \"{text}\"?")),
    }
}

fn count(number: usize) -> [u8; 2] {
    // More than 65,535 cannot be said; a test that wants to is told by PostgreSQL.
    u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes()
}

fn parse(name: &Word, sql: &Word, types: &[Word]) -> Result<Vec<u8>, String> {
    let mut body = [&name.bytes[..], b"\0", &sql.bytes, b"\0", &count(types.len())].concat();
    for kind in types {
        let oid: u32 = kind.text().parse().map_err(|_| format!("{} is no type's number", kind.text()))?;
        body.extend(oid.to_be_bytes());
    }
    Ok(message(b'P', &body))
}

/// `in=0,1` and `out=1` are formats; everything else is a value.
fn bind(portal: &Word, name: &Word, words: &[Word]) -> Result<Vec<u8>, String> {
    let formats = |which: &str| {
        let word = words.iter().find(|word| !word.quoted && word.text().starts_with(which));
        let list = word.map(Word::text).unwrap_or_default();
        let codes = list.strip_prefix(which).unwrap_or_default().split(',').filter(|code| !code.is_empty());
        codes.map(|code| code.parse::<u16>().map_err(|_| format!("{code} is no format"))).collect::<Result<Vec<_>, _>>()
    };
    let is_format = |word: &Word| !word.quoted && (word.text().starts_with("in=") || word.text().starts_with("out="));
    let given: Vec<Option<Vec<u8>>> = words.iter().filter(|word| !is_format(word)).map(Word::value).collect();
    let mut body = [&portal.bytes[..], b"\0", &name.bytes, b"\0"].concat();
    let put = |body: &mut Vec<u8>, codes: Vec<u16>| {
        body.extend(count(codes.len()));
        codes.iter().for_each(|code| body.extend(code.to_be_bytes()));
    };
    put(&mut body, formats("in=")?);
    body.extend(values(&given));
    put(&mut body, formats("out=")?);
    Ok(message(b'B', &body))
}

fn values(given: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = count(given.len()).to_vec();
    for value in given {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(bytes) => {
                body.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                body.extend(bytes);
            }
        }
    }
    body
}

fn execute(portal: &Word, rest: &[Word]) -> Result<Vec<u8>, String> {
    let most: i32 = match rest {
        [] => 0,
        [most] => most.text().parse().map_err(|_| format!("{} rows?", most.text()))?,
        _ => return Err("execute PORTAL [MOST]".to_string()),
    };
    Ok(message(b'E', &[&portal.bytes[..], b"\0", &most.to_be_bytes()].concat()))
}

fn named(tag: u8, kind: &Word, name: &Word) -> Vec<u8> {
    message(tag, &[&kind.bytes[..1], &name.bytes, b"\0"].concat())
}

/// A function call: everything as text.
#[must_use]
pub fn call(function: u32, arguments: &[Option<Vec<u8>>]) -> Vec<u8> {
    let body = [&function.to_be_bytes()[..], &[0, 0], &values(arguments), &[0, 0]].concat();
    message(b'F', &body)
}

/// `version=3.2`, `password=...`, and parameters; `database=-` leaves one of the usual ones out.
fn hello(words: &[Word]) -> Result<Hello, String> {
    let usual = [("user", "app"), ("database", "app"), ("application_name", "oracle")];
    let mut parameters: Vec<(Vec<u8>, Vec<u8>)> = usual.map(|(name, value)| (name.into(), value.into())).to_vec();
    let mut version = 3 << 16;
    let mut password = crate::template::PASSWORD.to_string();
    for word in words {
        let at = word.bytes.iter().position(|byte| *byte == b'=').ok_or("connect NAME=VALUE...")?;
        let (name, value) = (&word.bytes[..at], &word.bytes[at + 1..]);
        match name {
            b"version" => {
                let text = String::from_utf8_lossy(value);
                let parts =
                    text.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
                let (major, minor) = parts.ok_or("version=MAJOR.MINOR")?;
                version = major << 16 | minor;
            }
            b"password" => password = String::from_utf8_lossy(value).into_owned(),
            _ => {
                parameters.retain(|(known, _)| known != name || !usual.iter().any(|(n, _)| n.as_bytes() == name));
                if value != b"-" {
                    parameters.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(Hello { version, parameters, password })
}

impl Default for Hello {
    fn default() -> Hello {
        hello(&[]).expect("the usual parameters are well formed")
    }
}

impl Hello {
    /// As it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        for (name, value) in &self.parameters {
            body.extend([&name[..], b"\0", value, b"\0"].concat());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        [&length.to_be_bytes()[..], &body].concat()
    }

    /// The user it names.
    #[must_use]
    pub fn user(&self) -> String {
        let found = self.parameters.iter().find(|(name, _)| name == b"user");
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    }
}
