//! PromQL as far as rules ask: which metrics with which labels, what is compared with or divided by what, in which functions.
//!
//! An expression that is not understood is `None`, never half a tree. Depth and length are bounded.

use std::ops::Range;

/// How deep parentheses, calls and signs may stand in each other.
const MOST_DEPTH: usize = 64;
/// Longer ones are no rules of people.
const MOST_TOKENS: usize = 4_000;

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::review) enum Expr {
    /// A number.
    Number(f64),
    /// A text in quotes.
    Text(String),
    /// A metric with its labels.
    Selector(Selector),
    /// A function or aggregation and its arguments, the parameter of an aggregation among them.
    Call {
        /// `rate`, `sum`, `clamp_min`, …
        name: String,
        /// What it is called with.
        args: Vec<Expr>,
        /// Labels behind `by`, or behind `without`.
        by: Vec<String>,
        /// Whether it is `without`.
        without: bool,
    },
    /// Two sides and what is between them: `+ - * / % ^ == != > < >= <= and or unless atan2`.
    Binary {
        /// What is between.
        op: String,
        /// Left of it.
        left: Box<Expr>,
        /// Right of it.
        right: Box<Expr>,
        /// By which labels both sides are brought together.
        matching: Matching,
    },
    /// `-x`.
    Minus(Box<Expr>),
}

/// By which labels two sides are brought together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::review) enum Matching {
    /// By all that either side has.
    #[default]
    All,
    /// By these alone.
    On(Vec<String>),
    /// By all but these.
    Ignoring(Vec<String>),
}

/// A vector selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::review) struct Selector {
    /// The metric; empty where only labels are given. `{__name__="x"}` has it too.
    pub(in crate::review) metric: String,
    /// Label, operator (`= != =~ !~`), value.
    pub(in crate::review) labels: Vec<(String, String, String)>,
    /// What stands in `[…]` behind it.
    pub(in crate::review) range: Option<String>,
    /// Its bytes in the expression.
    pub(in crate::review) span: Range<usize>,
}

impl Expr {
    /// Reads one.
    pub(in crate::review) fn parse(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 0, depth: 0 };
        let expr = reader.binary(0)?;
        (reader.at == tokens.len()).then_some(expr)
    }

    /// Itself and everything in it.
    pub(in crate::review) fn all(&self) -> Vec<&Self> {
        let (mut all, mut next) = (vec![self], 0);
        while let Some(expr) = all.get(next).copied() {
            next += 1;
            match expr {
                Self::Number(_) | Self::Text(_) | Self::Selector(_) => {}
                Self::Call { args, .. } => all.extend(args),
                Self::Binary { left, right, .. } => all.extend([&**left, &**right]),
                Self::Minus(inner) => all.push(inner),
            }
        }
        all
    }

    /// All metrics asked for.
    pub(in crate::review) fn selectors(&self) -> Vec<&Selector> {
        self.all().into_iter().filter_map(|expr| if let Self::Selector(it) = expr { Some(it) } else { None }).collect()
    }

    /// All two-sided parts with this between them: its left and right.
    pub(in crate::review) fn sides(&self, sign: &str) -> Vec<(&Self, &Self)> {
        let mut out = Vec::new();
        for expr in self.all() {
            if let Self::Binary { op, left, right, .. } = expr
                && op == sign
            {
                out.push((&**left, &**right));
            }
        }
        out
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(f64),
    Text(String),
    Range(String),
    Sign(&'static str),
}

/// Longer signs first.
const SIGNS: [&str; 21] =
    ["==", "!=", ">=", "<=", "=~", "!~", "(", ")", "{", "}", ",", "=", "+", "-", "*", "/", "%", "^", ">", "<", "@"];

fn tokens(text: &str) -> Option<Vec<(Token, Range<usize>)>> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        } else if ['"', '\'', '`'].contains(&first) {
            quoted(rest, first)?
        } else if first == '[' {
            let end = rest.find(']')?;
            (Token::Range(rest[1..end].trim().to_owned()), end + 1)
        } else if first.is_ascii_digit() || first == '.' {
            number(rest)?
        } else if first.is_alphabetic() || first == '_' || first == ':' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign))?;
            (Token::Sign(sign), sign.len())
        };
        out.push((token, at..at + length));
        at += length;
        if out.len() > MOST_TOKENS {
            return None;
        }
    }
    Some(out)
}

fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let (mut text, mut chars) = (String::new(), rest.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((Token::Text(text), at + 1));
        }
        text.push(if c == '\\' && quote != '`' { chars.next()?.1 } else { c });
    }
    None
}

/// A number, or a duration of `offset` and of newer versions, which counts as its first number.
fn number(rest: &str) -> Option<(Token, usize)> {
    let bytes = rest.as_bytes();
    let mut end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(rest.len());
    if matches!(bytes.get(end - 1), Some(b'e' | b'E')) && matches!(bytes.get(end), Some(b'+' | b'-')) {
        let behind = &rest[end + 1..];
        end += 1 + behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    }
    let word = rest[..end].replace('_', "");
    let leading = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let value = word.parse().or_else(|_| word[..leading].parse()).ok()?;
    Some((Token::Number(value), end))
}

struct Reader<'a> {
    tokens: &'a [(Token, Range<usize>)],
    at: usize,
    depth: usize,
}

/// How tightly each binds, and whether it does so to the right.
fn power(op: &str) -> Option<(u8, bool)> {
    Some(match op {
        "or" => (1, false),
        "and" | "unless" => (2, false),
        "==" | "!=" | ">" | "<" | ">=" | "<=" => (3, false),
        "+" | "-" => (4, false),
        "*" | "/" | "%" | "atan2" => (5, false),
        "^" => (7, true),
        _ => return None,
    })
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        self.at += usize::from(there);
        there
    }

    fn eat_word(&mut self, words: &[&str]) -> Option<String> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let word = word.to_ascii_lowercase();
        words.contains(&word.as_str()).then(|| {
            self.at += 1;
            word
        })
    }

    /// What binds at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Option<Expr> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return None;
        }
        let mut left = self.unary()?;
        while let Some((op, power, to_right)) = self.op().filter(|(_, power, _)| *power >= least) {
            self.at += 1;
            let matching = self.matching()?;
            let right = self.binary(if to_right { power } else { power + 1 })?;
            left = Expr::Binary { op, left: Box::new(left), right: Box::new(right), matching };
        }
        self.depth -= 1;
        Some(left)
    }

    fn op(&self) -> Option<(String, u8, bool)> {
        let op = match self.peek()? {
            Token::Word(word) => word.to_ascii_lowercase(),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::Number(_) | Token::Text(_) | Token::Range(_) => return None,
        };
        power(&op).map(|(power, to_right)| (op, power, to_right))
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    fn matching(&mut self) -> Option<Matching> {
        let mut matching = Matching::All;
        while let Some(word) = self.eat_word(&["bool", "on", "ignoring", "group_left", "group_right"]) {
            let listed = matches!(self.peek(), Some(Token::Sign("(")));
            match word.as_str() {
                "on" => matching = Matching::On(self.names()?),
                "ignoring" => matching = Matching::Ignoring(self.names()?),
                "bool" => {}
                _ if listed => drop(self.names()?), // what group_left and group_right copy
                _ => {}
            }
        }
        Some(matching)
    }

    fn names(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        if !self.eat("(") {
            return None;
        }
        while !self.eat(")") {
            let (Token::Word(name) | Token::Text(name)) = self.peek()? else { return None };
            names.push(name.clone());
            self.at += 1;
            self.eat(",");
        }
        Some(names)
    }

    fn unary(&mut self) -> Option<Expr> {
        if self.eat("-") {
            // binds looser than ^ and tighter than *
            return Some(Expr::Minus(Box::new(self.binary(6)?)));
        }
        if self.eat("+") {
            return self.binary(6);
        }
        let start = self.at;
        let expr = self.primary(start)?;
        self.suffixes(expr, start)
    }

    fn primary(&mut self, start: usize) -> Option<Expr> {
        if self.eat("(") {
            let inner = self.binary(0)?;
            return self.eat(")").then_some(inner);
        }
        if matches!(self.peek()?, Token::Sign("{")) {
            return self.selector(String::new(), start);
        }
        let token = self.peek()?.clone();
        self.at += 1;
        match token {
            Token::Number(number) => Some(Expr::Number(number)),
            Token::Text(text) => Some(Expr::Text(text)),
            Token::Range(_) | Token::Sign(_) => None,
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                let called = matches!(self.peek(), Some(Token::Sign("(")));
                let grouped = matches!(self.peek(), Some(Token::Word(next)) if ["by", "without"].contains(&next.to_ascii_lowercase().as_str()));
                match lower.as_str() {
                    _ if called || grouped => self.call(lower),
                    "inf" => Some(Expr::Number(f64::INFINITY)),
                    "nan" => Some(Expr::Number(f64::NAN)),
                    _ => self.selector(word, start),
                }
            }
        }
    }

    /// `sum by (x) (…)`, `sum(…) by (x)`, `rate(…)`.
    fn call(&mut self, name: String) -> Option<Expr> {
        let (mut by, mut without, mut args) = (Vec::new(), false, Vec::new());
        if let Some(word) = self.eat_word(&["by", "without"]) {
            (by, without) = (self.names()?, word == "without");
        }
        if !self.eat("(") {
            return None;
        }
        while !self.eat(")") {
            args.push(self.binary(0)?);
            if !self.eat(",") && !matches!(self.peek(), Some(Token::Sign(")"))) {
                return None;
            }
        }
        if let Some(word) = self.eat_word(&["by", "without"]) {
            (by, without) = (self.names()?, word == "without");
        }
        Some(Expr::Call { name, args, by, without })
    }

    fn selector(&mut self, mut metric: String, start: usize) -> Option<Expr> {
        let mut labels = Vec::new();
        if self.eat("{") {
            while !self.eat("}") {
                let (Token::Word(label) | Token::Text(label)) = self.peek()?.clone() else { return None };
                self.at += 1;
                let Some(Token::Sign(op @ ("=" | "!=" | "=~" | "!~"))) = self.peek().cloned() else {
                    // `{"metric.name"}` of newer versions
                    metric = label;
                    self.eat(",");
                    continue;
                };
                self.at += 1;
                let Token::Text(value) = self.peek()?.clone() else { return None };
                self.at += 1;
                if label == "__name__" && op == "=" {
                    metric = value;
                } else {
                    labels.push((label, op.to_owned(), value));
                }
                self.eat(",");
            }
        }
        let span = self.tokens.get(start)?.1.start..self.tokens.get(self.at.checked_sub(1)?)?.1.end;
        Some(Expr::Selector(Selector { metric, labels, range: None, span }))
    }

    /// `[5m]`, `[1h:5m]`, `offset 5m`, `@ end()`.
    fn suffixes(&mut self, mut expr: Expr, start: usize) -> Option<Expr> {
        loop {
            if let Some(Token::Range(text)) = self.peek().cloned() {
                self.at += 1;
                if let Expr::Selector(selector) = &mut expr {
                    selector.range = Some(text);
                    selector.span = self.tokens.get(start)?.1.start..self.tokens.get(self.at - 1)?.1.end;
                }
            } else if self.eat_word(&["offset"]).is_some() {
                self.eat("-");
                self.number()?;
            } else if self.eat("@") {
                if self.eat_word(&["start", "end"]).is_some() {
                    self.names()?;
                } else {
                    self.number()?;
                }
            } else {
                return Some(expr);
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let there = matches!(self.peek(), Some(Token::Number(_)));
        self.at += usize::from(there);
        there.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expr {
        Expr::parse(text).expect(text)
    }

    #[test]
    fn what_is_divided_by_what_is_told_with_metrics_and_labels() {
        let text = "sum by (database) (rate(pgbouncer_stats_wait_seconds_total{job=~\"pgb.*\", env!='dev'}[5m] offset 1h))\n  \
                    / on(database) group_left() clamp_min(sum(pgbouncer_databases_pool_size) without (x), 1) > bool 0.8 # note\n and up == 1";
        let expr = parse(text);
        let metrics: Vec<_> = expr.selectors().iter().map(|it| it.metric.clone()).collect();
        assert_eq!(metrics.len(), 3, "{metrics:?}");
        let waits = *expr.selectors().iter().find(|it| it.range.is_some()).expect("one with a range");
        assert_eq!((waits.range.as_deref(), waits.labels.len()), (Some("5m"), 2));
        assert_eq!(waits.labels[0], ("job".to_owned(), "=~".to_owned(), "pgb.*".to_owned()));
        assert!(
            text[waits.span.clone()].starts_with("pgbouncer_stats_wait") && text[waits.span.clone()].ends_with("[5m]")
        );
        let [(left, right)] = expr.sides("/")[..] else { panic!("{expr:?}") };
        assert!(matches!(left, Expr::Call { name, by, .. } if name == "sum" && by == &["database"]), "{left:?}");
        assert!(matches!(right, Expr::Call { name, args, .. } if name == "clamp_min" && args.len() == 2), "{right:?}");
        assert_eq!((expr.sides(">").len(), expr.sides("and").len(), expr.sides("or").len()), (1, 1, 0));
    }

    #[test]
    fn signs_bind_as_they_do_in_prometheus() {
        let Expr::Binary { op, right, .. } = parse("a or b and c > 1 + 2 * -d ^ 2") else { panic!() };
        assert_eq!((op.as_str(), right.sides("and").len()), ("or", 1));
        let Expr::Binary { op, left, .. } = parse("a - b - c") else { panic!() };
        assert!(op == "-" && matches!(*left, Expr::Binary { .. }));
        assert_eq!(parse("1e-3 + 1_000 + Inf").all().len(), 5);
        assert!(matches!(parse("-a ^ 2"), Expr::Minus(_)));
        let Expr::Selector(named) = parse("{__name__=\"x\", a=\"b\"}") else { panic!() };
        assert_eq!((named.metric.as_str(), named.labels.len()), ("x", 1));
        for text in [
            "max_over_time(rate(x[5m])[1h:])",
            "x @ end() offset -5m",
            "topk(5, x)",
            "count_values(\"v\", x)",
            "absent(up{})",
        ] {
            assert!(Expr::parse(text).is_some(), "{text}");
        }
        for text in ["", "a b", "(a", "a{", "a /", "\"", "a[5m", "sum(a,,b)", "é€", "a{b=c}"] {
            assert_eq!(Expr::parse(text), None, "{text}");
        }
        assert_eq!(Expr::parse(&"(".repeat(100_000)), None);
        assert_eq!(Expr::parse(&"-".repeat(100_000)), None);
    }
}
