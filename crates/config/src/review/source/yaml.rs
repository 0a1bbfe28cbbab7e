//! YAML as a tree whose nodes know their bytes: aliases followed, merges (`<<`) laid out, depth and size bounded.
//!
//! It must not know whose file it is. The parser beneath counts characters, quotes included; here they become bytes. An alias
//! shares the node of its anchor, so no text of a few kilobytes becomes a tree of many: what visits all nodes counts them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::Unread;

/// The longest file that is read: a hundred times what people keep by hand.
pub(super) const MOST_BYTES: usize = 4 << 20;
/// How deep nodes may stand in each other, aliases followed; also what keeps recursion over them small.
const MOST_DEPTH: usize = 48;
/// Entries that merges may lay out, and nodes that a visit may see, all together.
const MOST_NODES: usize = 100_000;

/// Bytes of keys and values that a visit may hand out, all together: an alias costs little where it is written, and what it
/// names is copied each time.
pub(super) const MOST_COPIED: usize = 32 << 20;

/// One node and the bytes it was written with, quotes included.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) content: Content,
    height: usize,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    /// A value; `plain` if no quotes stand around it.
    Scalar {
        /// Without quotes, escapes resolved.
        text: String,
        /// Whether nothing marks it as text.
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Rc<Node>,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// Its text, if it is a value.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Scalar { text, .. } = &self.content { Some(text) } else { None }
    }

    /// Its keys and values, if it is a map; a key that is written twice is there twice.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    /// Its items, if it is a list.
    pub(super) fn items(&self) -> &[Rc<Self>] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    /// The value behind a key; the last one where it is written twice.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        self.entries().iter().rev().find(|entry| entry.key.text() == Some(key)).map(|entry| &entry.value)
    }

    /// Whether nothing is written there: `key:`, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true } if ["", "~", "null", "Null", "NULL"].contains(&text.as_str()))
    }
}

/// A value with the keys that lead to it.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) node: Rc<Node>,
}

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Rc<Node>>, Unread> {
    if text.len() > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes: give the part that is about connections").into());
    }
    let mut tree = Tree { text, bytes: Bytes::of(text), ..Tree::default() };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| broken(&error, text, &tree.bytes))?;
        tree.take(event, span)?;
    }
    Ok(tree.documents)
}

/// What the parser says, at a byte of the text, and what is usually meant there.
fn broken(error: &ScanError, text: &str, bytes: &Bytes) -> Unread {
    let behind = bytes.at(error.marker().index());
    // what is missing is noticed behind it: at the end of a text, or on an empty line
    let at = if text[behind..].trim_start_matches(' ').starts_with(['\n', '\r']) || behind == text.len() {
        text[..behind].trim_end().rfind('\n').map_or(0, |end| end + 1)
    } else {
        behind
    };
    let at = at + text[at..].len() - text[at..].trim_start_matches(' ').len();
    let line = text[..at].matches('\n').count() + 1;
    let fix = match error.info() {
        what if what.contains("mapping values are not allowed") => {
            "write one key in a line, as far from the left as its neighbours, and quotes around a value with a colon in it"
        }
        what if what.contains("expect ':'") => "write a colon and a blank behind the key: key: value",
        what if what.contains("quoted scalar") => "close the quotes that are open there",
        what if what.contains("did not find expected") => {
            "write it as far from the left as its neighbours, and close each [ and {"
        }
        what if what.contains("tab") => "write blanks where the tab is",
        _ => "put this line right",
    };
    let fix = format!("{fix}; line {line} is the first that cannot be read");
    Unread::Broken { at, message: format!("broken YAML: {}", error.info()), fix }
}

/// Every value below a node with its keys; items of lists have their number as key.
pub(super) fn leaves(root: &Rc<Node>) -> Result<Vec<Leaf>, String> {
    let mut out = Vec::new();
    let mut left = Left { nodes: MOST_NODES, bytes: MOST_COPIED };
    visit(root, &mut Vec::new(), &mut left, &mut out)?;
    Ok(out)
}

/// What a visit may still do.
struct Left {
    nodes: usize,
    bytes: usize,
}

impl Left {
    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.nodes = self.nodes.checked_sub(1).ok_or_else(too_many)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(too_many)?;
        Ok(())
    }
}

fn visit(node: &Rc<Node>, path: &mut Vec<String>, left: &mut Left, out: &mut Vec<Leaf>) -> Result<(), String> {
    match &node.content {
        Content::Scalar { text, .. } => {
            left.take(text.len() + path.iter().map(String::len).sum::<usize>())?;
            out.push(Leaf { path: path.clone(), node: Rc::clone(node) });
        }
        Content::List(items) => {
            left.take(0)?;
            for (number, item) in items.iter().enumerate() {
                path.push(number.to_string());
                visit(item, path, left, out)?;
                path.pop();
            }
        }
        Content::Map(entries) => {
            left.take(0)?;
            for Entry { key, value } in entries {
                let Some(key) = key.text() else { continue };
                left.take(key.len())?;
                path.push(key.to_owned());
                visit(value, path, left, out)?;
                path.pop();
            }
        }
    }
    Ok(())
}

fn too_many() -> String {
    format!("more than {MOST_NODES} values when its aliases are followed: give the part that is about connections")
}

/// A list or map that is not at its end yet.
#[derive(Debug)]
struct Open {
    anchor: usize,
    start: usize,
    is_map: bool,
    nodes: Vec<Rc<Node>>,
}

#[derive(Debug, Default)]
struct Tree<'a> {
    text: &'a str,
    bytes: Bytes,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
    documents: Vec<Rc<Node>>,
    merged: usize,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        let bytes = self.bytes.range(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, _) => self.scalar(text, style, anchor, bytes)?,
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                self.add(node.ok_or("an alias names nothing that stands before it in its document")?)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(anchor, bytes.start, false)?,
            Event::MappingStart(anchor, _) => self.begin(anchor, bytes.start, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(bytes.end)?,
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        span: Range<usize>,
    ) -> Result<(), String> {
        let span = exact(self.text, span, style);
        let content = Content::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
        self.place(anchor, Node { span, content, height: 1 })
    }

    fn begin(&mut self, anchor: usize, start: usize, is_map: bool) -> Result<(), String> {
        if self.open.len() >= MOST_DEPTH {
            return Err(too_deep());
        }
        self.open.push(Open { anchor, start, is_map, nodes: Vec::new() });
        Ok(())
    }

    fn end(&mut self, end: usize) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let height = 1 + open.nodes.iter().map(|node| node.height).max().unwrap_or(0);
        if height > MOST_DEPTH {
            return Err(too_deep());
        }
        let last = open.nodes.last().map_or(open.start, |node| node.span.end);
        let content = if open.is_map { self.map(open.nodes)? } else { Content::List(open.nodes) };
        // A block ends where the next one begins; its last value says where it really does. An alias stands elsewhere.
        let end = if last >= open.start && last <= end { last } else { end.max(open.start) };
        self.place(open.anchor, Node { span: open.start..end, content, height })
    }

    fn place(&mut self, anchor: usize, node: Node) -> Result<(), String> {
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(node)
    }

    fn add(&mut self, node: Rc<Node>) -> Result<(), String> {
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.documents.push(node),
        }
        Ok(())
    }

    /// Keys and values by turns become entries; what `<<` names comes first, so that the map's own keys hold over it.
    fn map(&mut self, nodes: Vec<Rc<Node>>) -> Result<Content, String> {
        let (mut own, mut merges) = (Vec::new(), Vec::new());
        let mut nodes = nodes.into_iter();
        while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
            let is_merge = matches!(&key.content, Content::Scalar { text, plain: true } if text == "<<");
            if is_merge { merges.push(value) } else { own.push(Entry { key, value }) }
        }
        if merges.is_empty() {
            return Ok(Content::Map(own));
        }
        let mut keys: BTreeSet<String> = own.iter().filter_map(|entry| entry.key.text().map(str::to_owned)).collect();
        let mut all = Vec::new();
        let sources = merges
            .iter()
            .flat_map(|value| if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() });
        for entry in sources.flat_map(|source| source.entries()) {
            self.merged += 1;
            if self.merged > MOST_NODES {
                return Err(too_many());
            }
            if entry.key.text().is_some_and(|key| keys.insert(key.to_owned())) {
                all.push(entry.clone());
            }
        }
        all.append(&mut own);
        Ok(Content::Map(all))
    }
}

/// The bytes of a value alone: the parser's begin with its anchor and tag, and may end with a comment behind it.
fn exact(text: &str, span: Range<usize>, style: ScalarStyle) -> Range<usize> {
    let mut raw = text.get(span.clone()).unwrap_or_default();
    while raw.starts_with(['&', '!']) {
        raw = raw.find(char::is_whitespace).map_or("", |end| raw[end..].trim_start());
    }
    let start = span.end - raw.len();
    let length = match style {
        ScalarStyle::Plain => raw.trim_end().len(),
        ScalarStyle::SingleQuoted => quoted(raw, b'\''),
        ScalarStyle::DoubleQuoted => quoted(raw, b'"'),
        ScalarStyle::Literal | ScalarStyle::Folded => raw.trim_end().len(),
    };
    start..start + length
}

/// Up to and with the closing quote.
fn quoted(raw: &str, quote: u8) -> usize {
    let bytes = raw.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    raw.trim_end().len()
}

fn too_deep() -> String {
    format!("nested deeper than {MOST_DEPTH} levels")
}

/// From a number of characters to bytes; nothing to look up where both are the same.
#[derive(Debug, Default)]
struct Bytes {
    length: usize,
    starts: Option<Vec<usize>>,
}

impl Bytes {
    fn of(text: &str) -> Self {
        let starts = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { length: text.len(), starts }
    }

    fn at(&self, index: usize) -> usize {
        match &self.starts {
            None => index.min(self.length),
            Some(starts) => starts.get(index).copied().unwrap_or(self.length),
        }
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.at(span.start.index());
        start..self.at(span.end.index()).max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why nothing is made of it.
    fn whole(text: &str) -> String {
        match documents(text) {
            Err(Unread::Whole(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn one(text: &str) -> Rc<Node> {
        documents(text).expect(text).remove(0)
    }

    #[test]
    fn every_value_knows_its_bytes_also_behind_letters_of_several() {
        let text = "# größe\r\nname: \"Ünïcode\" # ä\r\nsize: &n !!int  10   # é\nlist: [ 1, 'zwei' ]\nlong: |\n  ä\n  b\nend: x y\n";
        let root = one(text);
        let raw = |key: &str| &text[root.get(key).expect(key).span.clone()];
        assert_eq!([raw("name"), raw("size"), raw("end")], ["\"Ünïcode\"", "10", "x y"]);
        assert_eq!(root.get("list").map(|list| &text[list.items()[1].span.clone()]), Some("'zwei'"));
        assert_eq!(root.get("long").and_then(|node| node.text()), Some("ä\nb\n"));
        assert!(raw("long").contains('b') && !raw("long").contains("end"), "{:?}", raw("long"));
    }

    #[test]
    fn aliases_are_followed_and_merges_are_laid_out_under_own_keys() {
        let text = "a: &a {x: 1, y: 2}\nb: &b\n  y: 3\nc:\n  <<: [*a, *b]\n  x: 9\nd: *a\n\"<<\": 5\n";
        let root = one(text);
        let at = |map: &str, key: &str| root.get(map).and_then(|map| map.get(key)).map(|node| &text[node.span.clone()]);
        assert_eq!([at("c", "x"), at("c", "y"), at("d", "y")], [Some("9"), Some("2"), Some("2")]);
        assert!(root.get("<<").is_some(), "a quoted key is no merge");
        assert_eq!(root.get("c").map(|map| map.entries().len()), Some(2));
    }

    #[test]
    fn texts_that_would_grow_or_nest_without_end_are_refused() {
        let mut laughs = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            laughs += &format!("a{n}: &a{n} [*a{0}, *a{0}, *a{0}]\n", n - 1);
        }
        let root = one(&laughs);
        assert!(leaves(&root).expect_err("too many").contains("aliases"));
        let long = format!("a: &a\n  {}: 1\nb: [{}]\n", "k".repeat(1000), "*a, ".repeat(40_000));
        assert!(leaves(&one(&long)).expect_err("too many bytes").contains("aliases"));
        let deep: String = (1..200).map(|n| format!("a{n}: &a{n} [*a{}]\n", n - 1)).collect();
        assert!(whole(&format!("a0: &a0 x\n{deep}")).contains("nested"));
        assert!(documents(&"[".repeat(1000)).is_err());
        assert!(whole(&"- ".repeat(100)).contains("nested"));
        let keys: String = (0..1000).map(|n| format!("  k{n}: 1\n")).collect();
        let merges: String = (0..200).map(|n| format!("b{n}:\n  <<: *a\n")).collect();
        assert!(whole(&format!("a: &a\n{keys}{merges}")).contains("values"));
        assert!(documents("a: &a [*a]\n").is_err());
        assert!(whole(&" ".repeat(MOST_BYTES + 1)).contains("bytes"));
    }

    #[test]
    fn broken_text_is_told_with_the_line_to_look_at_and_what_is_meant() {
        let told = |text: &str| match documents(text) {
            Err(Unread::Broken { at, message, fix }) => {
                (text[at..].lines().next().unwrap_or_default().to_owned(), message, fix)
            }
            other => panic!("{text:?}: {other:?}"),
        };
        let (line, message, fix) = told("spring:\n  url: a\n   pool: b: c\n");
        assert_eq!(
            (line.as_str(), message.as_str()),
            (": b: c", "broken YAML: mapping values are not allowed in this context")
        );
        assert!(
            fix.starts_with("write one key in a line") && fix.ends_with("line 3 is the first that cannot be read"),
            "{fix}"
        );
        for (text, first) in [("ä: 1\nb\nc: 2\n", 3), ("a: [\n", 1), ("a: \"b\n", 1), ("a: 1\n\tb: 2\n", 2), ("%\n", 1)]
        {
            let (_, _, fix) = told(text);
            let number: usize = fix.split("; line ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(number.abs_diff(first) <= 1, "{text:?}: {fix}");
        }
    }
}
