//! Calls of the functions that touch the session.

use super::token::{Kind, Token};
use super::{Name, Reader};
use crate::session::Pin;

/// So many tokens of a call's arguments are looked at before their turn; who writes more of them is not understood.
const MOST_LOOKED: u32 = 256;

impl<'a> Reader<'a> {
    /// A call of this function, whose parenthesis comes next.
    pub(super) fn call(&mut self, function: Token<'a>) {
        let name = function.lower();
        if name == "set_config" {
            return self.set_config();
        }
        let Some(tail) = name.strip_prefix("pg_advisory_").or_else(|| name.strip_prefix("pg_try_advisory_")) else {
            return;
        };
        if tail.starts_with("lock") {
            self.touch.makes.add(Pin::AdvisoryLock);
        } else if tail.starts_with("unlock") {
            self.touch.ends.add(Pin::AdvisoryLock);
        }
    }

    /// `set_config(name, value, is_local)`: what it sets, unless it says that it is for the transaction.
    /// The tokens are looked at ahead of their turn, because a call may stand among the arguments.
    fn set_config(&mut self) {
        let mut ahead = self.tokens.clone();
        ahead.next(); // (
        let (mut name, mut local) = (Argument::default(), Argument::default());
        let (mut depth, mut commas) = (0_u32, 0_u32);
        for looked in 0.. {
            if looked == MOST_LOOKED {
                return self.touch.makes.add(Pin::Setting);
            }
            let token = ahead.next();
            match token.kind {
                Kind::End => break,
                Kind::Symbol(b')') if depth == 0 => break,
                Kind::Symbol(b',') if depth == 0 => commas += 1,
                Kind::Symbol(b'(') => depth += 1,
                Kind::Symbol(b')') => depth -= 1,
                Kind::Word | Kind::Quoted | Kind::Text | Kind::Parameter(_) | Kind::Symbol(_) | Kind::Unicode => {}
            }
            self.touch.anything |= token.says_temp();
            match commas {
                0 => name.add(token),
                2 if token.kind != Kind::Symbol(b',') => local.add(token),
                _ => {}
            }
        }
        if commas == 2 && local.constant().is_some_and(Token::is_true) {
            return;
        }
        match name.constant().and_then(name_of) {
            Some(name) => self.sets(name),
            None => self.touch.makes.add(Pin::Setting),
        }
    }
}

/// The name of a setting that a constant says; `None` where escapes may hide it.
fn name_of(constant: Token<'_>) -> Option<Name> {
    match constant.kind {
        Kind::Text if constant.inner().contains(&b'\\') => None,
        Kind::Text => Some(Name::Is(constant.lower().into())),
        Kind::Parameter(number) => Some(Name::Parameter(number)),
        Kind::Word | Kind::Quoted | Kind::Unicode | Kind::Symbol(_) | Kind::End => None,
    }
}

/// An argument, as far as it may be a constant: one token, and a cast to a type of one word (`'a'::text`).
#[derive(Default)]
struct Argument<'a> {
    tokens: [Option<Token<'a>>; 4],
    count: usize,
}

impl<'a> Argument<'a> {
    fn add(&mut self, token: Token<'a>) {
        if let Some(place) = self.tokens.get_mut(self.count) {
            *place = Some(token);
        }
        self.count += 1;
    }

    /// The one token that says its value.
    fn constant(&self) -> Option<Token<'a>> {
        let kinds = self.tokens.map(|token| token.map(|token| token.kind));
        match (self.count, kinds) {
            (1, _) | (4, [_, Some(Kind::Symbol(b':')), Some(Kind::Symbol(b':')), Some(Kind::Word)]) => self.tokens[0],
            _ => None,
        }
    }
}
