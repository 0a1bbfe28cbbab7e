//! What a command of the catalogue does with what follows its name: refused, shown, or sent up.

use poolwarden_watch::{ProcessState, View};

use super::catalogue::{Does, Entry};
use super::lex::Token;
use super::nearest;
use super::{Answer, Asker, Command, Shutdown, Sight, Voice, error, said, show};

pub(super) fn perform(entry: &'static Entry, rest: &[Token], sight: Sight<'_>, asker: Asker) -> Answer {
    if asker.rights < entry.needs {
        let message = match asker.voice {
            Voice::Own => format!("{} needs the rights of an admin", entry.name),
            Voice::PgBouncer => format!("admin access needed: {}", entry.name),
        };
        let hint = "ask as a user of [console] admins, or as the same system user over the unix socket";
        return error("42501", message, Some(hint.to_owned()));
    }
    let view = sight.view;
    let order = Order { entry, view, voice: asker.voice };
    match (entry.does, rest) {
        (Does::Show(rows), []) => Answer::Rows { rows: rows(view), tag: "SHOW".to_owned() },
        (Does::Holders, []) => {
            let rows = show::holders::rows(sight.holders, asker.rights);
            Answer::Rows { rows, tag: "SHOW".to_owned() }
        }
        (Does::Forecast, []) => Answer::Rows { rows: show::forecast::rows(sight.pools), tag: "SHOW".to_owned() },
        (Does::Plain(command), []) => order.send(command()),
        (Does::MaybeDatabase(command), []) => order.send(command(None)),
        (Does::MaybeDatabase(command), [name]) => order.with_database(name, |name| command(Some(name))),
        (Does::Database(command), [name]) => order.with_database(name, command),
        (Does::Client, [id]) => order.kill(id),
        (Does::Set, [key, sign, value]) if sign.is("=") || sign.is("to") => order.set(key, value),
        (Does::Shed, [class, word, length]) if word.is("for") => order.shed(class, length),
        (Does::Shutdown, mode) => order.shutdown(mode),
        (
            Does::Show(_)
            | Does::Holders
            | Does::Forecast
            | Does::Plain(_)
            | Does::MaybeDatabase(_)
            | Does::Database(_)
            | Does::Client
            | Does::Set
            | Does::Shed,
            _,
        ) => order.usage(rest),
    }
}

struct Order<'a> {
    entry: &'static Entry,
    view: &'a View,
    voice: Voice,
}

impl Order<'_> {
    /// Sends it up, unless it makes no sense now: PgBouncer's scripts rely on being told.
    fn send(&self, command: Command) -> Answer {
        let stopped = matches!(self.view.state, ProcessState::Paused | ProcessState::Suspended);
        let no = match (&command, self.voice) {
            (_, Voice::Own) => None,
            (Command::Pause(_) | Command::Kill(_) | Command::Suspend, _) if stopped => {
                Some("already suspended/paused".to_owned())
            }
            (Command::Suspend, _) if self.view.databases.iter().any(|database| database.paused) => {
                Some("cannot suspend with paused databases".to_owned())
            }
            (Command::Resume(_), _) if self.view.state == ProcessState::Draining => {
                Some("pooler is shutting down".to_owned())
            }
            (Command::Resume(None), _) if !stopped && !self.view.databases.iter().any(|database| database.paused) => {
                Some("pooler is not paused/suspended".to_owned())
            }
            (Command::Resume(Some(name)), _) if !self.is_paused(name) => Some(format!("database {name} is not paused")),
            (
                Command::Pause(_)
                | Command::Kill(_)
                | Command::Suspend
                | Command::Resume(_)
                | Command::Reload
                | Command::Reconnect(_)
                | Command::Disable(_)
                | Command::Enable(_)
                | Command::KillClient(_)
                | Command::WaitClose(_)
                | Command::Set { .. }
                | Command::Shed { .. }
                | Command::Shutdown(_),
                Voice::PgBouncer,
            ) => None,
        };
        match no {
            Some(message) => {
                error("55000", message, Some("SHOW STATE and SHOW DATABASES say what is paused".to_owned()))
            }
            None => Answer::Do(command),
        }
    }

    fn is_paused(&self, name: &str) -> bool {
        self.view.databases.iter().any(|database| database.name == name && database.paused)
    }

    fn with_database(&self, name: &Token, command: impl FnOnce(String) -> Command) -> Answer {
        let Some(name) = name.name() else {
            return error("42601", format!("not a database name: {}", name.text()), None);
        };
        let view = self.view;
        let served = view.databases.iter().any(|database| database.name == name || database.name == "*");
        if !served && !view.pools().any(|(_, pool)| pool.key.database == name) {
            let hint = "SHOW DATABASES lists the names".to_owned();
            let message = match self.voice {
                Voice::Own => format!("no such database: \"{name}\""),
                Voice::PgBouncer => format!("no such database: {name}"),
            };
            return error("3D000", message, Some(hint));
        }
        self.send(command(name))
    }

    fn kill(&self, id: &Token) -> Answer {
        let Ok(id) = id.text().parse() else {
            let hint = "SHOW CLIENTS gives each client's id in its last column".to_owned();
            let message = match self.voice {
                Voice::Own => format!("not a client's id: {}", id.text()),
                Voice::PgBouncer => "invalid client pointer supplied".to_owned(),
            };
            return error("22023", message, Some(hint));
        };
        if !self.view.clients.iter().any(|client| client.id == id) {
            let message = match self.voice {
                Voice::Own => format!("no client has the id {id}"),
                Voice::PgBouncer => "client not found".to_owned(),
            };
            return error("42704", message, Some("it may be gone already; SHOW CLIENTS lists who is there".to_owned()));
        }
        self.send(Command::KillClient(id))
    }

    fn set(&self, key: &Token, value: &Token) -> Answer {
        let Some(key) = key.name() else { return self.usage(&[]) };
        let (value, quoted) = match value {
            Token::Word(word) => (word.clone(), false),
            Token::Quoted(text) | Token::Text(text) => (text.clone(), true),
            Token::Sign(_) => return self.usage(&[]),
        };
        self.send(Command::Set { key, value, quoted })
    }

    fn shed(&self, class: &Token, length: &Token) -> Answer {
        let (Some(class), Token::Text(length)) = (class.name(), length) else { return self.usage(&[]) };
        if !self.view.classes.iter().any(|of| of.name == class) {
            let names: Vec<&str> = self.view.classes.iter().map(|of| of.name.as_str()).collect();
            let hint = match nearest::word(&class, &names) {
                Some(near) => format!("did you mean {near}? SHOW CLASSES lists every class"),
                None => format!("the classes are: {}", names.join(", ")),
            };
            return error("42704", format!("no such class: {class}"), Some(hint));
        }
        self.send(Command::Shed { class, length: length.clone() })
    }

    fn shutdown(&self, mode: &[Token]) -> Answer {
        let how = match mode {
            [] => Shutdown::Now,
            [word] if word.is("wait_for_servers") => Shutdown::WaitForServers,
            [word] if word.is("wait_for_clients") => Shutdown::WaitForClients,
            _ => return self.usage(mode), // anything else is no way to stop
        };
        self.send(Command::Shutdown(how))
    }

    fn usage(&self, rest: &[Token]) -> Answer {
        let entry = self.entry;
        let own = format!("{} is written {}", entry.name, entry.usage());
        let message = match (self.voice, entry.does, rest) {
            (Voice::Own, ..) => return error("42601", own, Some(entry.about.to_owned())),
            (Voice::PgBouncer, Does::Database(_), []) => "a database is required".to_owned(),
            (Voice::PgBouncer, ..) => format!("invalid command '{} {}', use SHOW HELP;", entry.name, said(rest, 16)),
        };
        error("42601", message, Some(own))
    }
}
