//! Engines out of Python sources.

use super::super::{Gathered, Input, gather};
use super::*;
use crate::review::place::Place;

const PYTHON: &str = r#"
# Größe: create_engine("postgresql://no/no")
import os
from sqlalchemy import create_engine, pool

POOL_SIZE = int(os.getenv("POOL_SIZE", "20"))
URL = "postgresql+psycopg://app:hunter2@db:6432/shop?connect_timeout=5"
PASSWORD = 'hunter2'
ARGS = {
    "options": "-c statement_timeout=5000 -c lock_timeout=1s",
    "keepalives": 1,  # é
    "keepalives_idle": 30,
}

engine = sa.create_engine(
    URL,
    pool_size=POOL_SIZE,
    max_overflow = 0,
    pool_timeout=2.5, pool_recycle=1_800,
    pool_pre_ping=True,
    connect_args=ARGS,
)
jobs = create_async_engine(f"postgresql+asyncpg://app:{PASSWORD}@db:6432/shop", max_overflow=-1, pool_timeout=None,
    connect_args={"server_settings": {"application_name": "jobs"}, "command_timeout": 60})
lite = create_engine("sqlite:///x.db")

def create_engine(url): pass
"#;

fn files(files: &[(&str, &str)]) -> Gathered {
    let input = |(name, text): &(&str, &str)| Input::File { name: (*name).to_owned(), text: (*text).to_owned() };
    gather(&files.iter().map(input).collect::<Vec<_>>(), &mut |path| Err(format!("no {path}")))
}

fn raw<'a, T>(all: &'a Gathered, known: &Known<T>) -> &'a str {
    match &known.place {
        Place::Text { file, span } => &all.dossier.texts[*file].text[span.clone()],
        Place::Default(whose) => whose,
        Place::Told { .. } => "told",
    }
}

#[test]
fn engines_are_read_with_constants_dictionaries_and_places() {
    let all = files(&[("db.py", PYTHON)]);
    let [web, jobs] = all.dossier.apps.as_slice() else { panic!("{:?} {:?}", all.dossier.apps, all.unreadable) };
    assert_eq!(web.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(20), "\"20\"")));
    let limit = |known: &Maybe<Limit>| {
        known.as_ref().map(|known| (known.value.span().map(|span| span.as_millis()), raw(&all, known).to_owned()))
    };
    assert_eq!(limit(&web.acquire_timeout), Some((Some(2500), "2.5".to_owned())));
    assert_eq!(limit(&web.lifetime), Some((Some(1_800_000), "1_800".to_owned())));
    assert_eq!((web.address.clone(), web.pools[0].value.as_str()), (Some(("db".to_owned(), 6432)), "engine"));
    let sent: Vec<_> = web.startup.iter().map(|(name, known)| (name.as_str(), raw(&all, known))).collect();
    assert_eq!(sent, [("lock_timeout", "1s"), ("statement_timeout", "5000")]);
    for (key, value) in [
        ("connect_args.keepalives_idle", "30"),
        ("pool_pre_ping", "True"),
        ("connect_timeout", "5"),
        ("max_overflow", "0"),
    ] {
        assert_eq!(raw(&all, &web.written[key]), value, "{key}");
    }
    assert_eq!(jobs.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Unlimited, "-1")));
    assert_eq!(
        (limit(&jobs.acquire_timeout), limit(&jobs.query_timeout)),
        (Some((None, "None".to_owned())), Some((Some(60_000), "60".to_owned())))
    );
    assert_eq!(limit(&jobs.lifetime), Some((None, WHOSE.to_owned())));
    assert_eq!(jobs.startup["application_name"].value, "jobs");
    assert!(!format!("{:?}", all.dossier).contains("hunter2"), "{}", all.dossier.texts[0].text);
    assert_eq!(all.dossier.texts[0].text.len(), PYTHON.len());
}

#[test]
fn sizes_are_pool_and_overflow_together() {
    for (arguments, expected) in [
        ("", Some((Bound::Of(15), "SQLAlchemy's"))),
        (", pool_size=20", Some((Bound::Of(30), "20"))),
        (", max_overflow=2", Some((Bound::Of(7), "2"))),
        (", pool_size=0", Some((Bound::Unlimited, "0"))),
        (", poolclass=pool.StaticPool", Some((Bound::Of(1), "pool.StaticPool"))),
        (", poolclass=NullPool", None),
        (", pool_size=settings.SIZE", None),
        (", pool_size=os.cpu_count() * 2", None),
        (", **{'pool_size': 3}", Some((Bound::Of(13), "3"))),
        (", **options", None),
        (", **options, pool_size=3, max_overflow=1", Some((Bound::Of(4), "3"))),
    ] {
        let text = format!("e = create_engine(os.environ[\"DATABASE_URL\"]{arguments})\n");
        let all = files(&[("db.py", &text)]);
        let app = &all.dossier.apps[0];
        assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), expected, "{arguments}");
        assert_eq!(
            (app.address.is_none(), app.acquire_timeout.is_some()),
            (true, !arguments.contains("NullPool") && !arguments.contains("**o"))
        );
    }
}

#[test]
fn flasks_options_are_an_engine_too_and_other_files_are_none() {
    let text = "SQLALCHEMY_DATABASE_URI = 'postgresql://u@h/db'\nSQLALCHEMY_ENGINE_OPTIONS = dict(pool_size=7, max_overflow=1)\n";
    let all = files(&[("config.py", text)]);
    let app = &all.dossier.apps[0];
    assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(8), "7")));
    assert_eq!(
        (app.address.clone(), app.pools[0].value.as_str()),
        (Some(("h".to_owned(), 5432)), "SQLALCHEMY_ENGINE_OPTIONS")
    );
    for text in [
        "",
        "print(1)\n",
        "create_engine(",
        "create_engine('mysql://x/y')\n",
        "\"\"\"create_engine('postgresql://a/b')",
    ] {
        assert_eq!(files(&[("x.py", text)]).unreadable.len(), 1, "{text}");
    }
}
