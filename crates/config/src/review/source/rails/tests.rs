//! Rails' database.yml with its templates, anchors and several databases.

use super::super::{Gathered, Input, gather};
use super::*;
use crate::review::chain::Limit;
use crate::review::place::Place;

const RAILS: &str = r#"# Größe
default: &default
  adapter: postgresql
  encoding: unicode
  pool: <%= ENV.fetch("RAILS_MAX_THREADS") { 5 } %>
  host: <%= ENV.fetch("DB_HOST", "db.internal") %>
  checkout_timeout: 2.5
  username: shop
  password: <%= ENV["SHOP_PASSWORD"] %>
  variables:
    statement_timeout: 5s

development:
  <<: *default
  database: shop_dev
  pool: 99

<% if true %>
production:
  primary: &primary
    <<: *default
    database: shop
  cache:
    <<: *primary
    database: shop_cache
  queue:
    <<: *primary
    database: shop_queue
    pool: 20
    idle_timeout: 0
    prepared_statements: false
    password: hunter2
  search:
    adapter: mysql2
    host: other
<% end %>
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
fn databases_of_production_are_pools_with_their_defaults_and_places() {
    let all = files(&[("config/database.yml", RAILS)]);
    let [web, queue] = all.dossier.apps.as_slice() else { panic!("{:?} {:?}", all.dossier.apps, all.unreadable) };
    let names: Vec<_> = web.pools.iter().map(|pool| raw(&all, pool)).collect();
    assert_eq!(names, ["primary", "cache"]);
    let size = |app: &App| app.pool_size.clone().map(|known| (known.value, raw(&all, &known).to_owned()));
    assert_eq!(size(web), Some((Bound::Of(5), "5".to_owned())));
    assert_eq!(size(queue), Some((Bound::Of(20), "20".to_owned())));
    assert_eq!(web.address, Some(("db.internal".to_owned(), 5432)));
    let acquire = web.acquire_timeout.as_ref().map(|known| (known.value, raw(&all, known)));
    assert_eq!(acquire, Some((Limit::After(Duration::from_millis(2500)), "2.5")));
    assert_eq!(web.idle_timeout.as_ref().map(|known| raw(&all, known)), Some("Rails'"));
    assert_eq!(queue.idle_timeout.as_ref().map(|known| known.value), Some(Limit::Never));
    assert_eq!(web.pool.as_ref().map(|known| raw(&all, known)), Some("shop"));
    assert_eq!(web.written["variables.statement_timeout"].value, "5s");
    assert_eq!(web.written["pool"].value, "<%= ENV.fetch(\"RAILS_MAX_THREADS\") { 5 } %>");
    assert_eq!(queue.written["prepared_statements"].value, "false");
    assert!(!format!("{:?}", all.dossier).contains("hunter2"));
    assert_eq!(all.dossier.texts[0].text.len(), RAILS.len());
}

#[test]
fn the_environment_tells_threads_processes_and_the_size_that_is_asked_of_it() {
    let env = "RAILS_MAX_THREADS=16\nWEB_CONCURRENCY=\"3\"\n";
    for order in [[("database.yml", RAILS), (".env", env)], [(".env", env), ("database.yml", RAILS)]] {
        let all = files(&order);
        let web = &all.dossier.apps[0];
        let number =
            |known: &Option<Known<u64>>| known.as_ref().map(|known| (known.value, raw(&all, known).to_owned()));
        assert_eq!((number(&web.threads), number(&web.processes)), (Some((16, "16".into())), Some((3, "3".into()))));
        assert_eq!(web.pool_size.as_ref().map(|known| known.value), Some(Bound::Of(16)));
        assert_eq!(all.dossier.apps[1].pool_size.as_ref().map(|known| known.value), Some(Bound::Of(20)));
    }
}

#[test]
fn a_database_url_beside_it_is_where_the_primary_database_is() {
    let yml = "production:\n  adapter: postgresql\n  pool: 8\n  idle_timeout: 9\n";
    let env = "DATABASE_URL=postgres://u@db:6432/shop?application_name=web\n";
    for order in [[("database.yml", yml), (".env", env)], [(".env", env), ("database.yml", yml)]] {
        let all = files(&order);
        let [app] = all.dossier.apps.as_slice() else { panic!("{:?}", all.dossier.apps) };
        assert_eq!((app.library, app.address.clone()), (Library::Rails, Some(("db".to_owned(), 6432))));
        assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(8), "8")));
        assert_eq!((app.pool.as_ref().map(|known| raw(&all, known)), app.startup.len()), (Some("shop"), 1));
    }
}

#[test]
fn templates_are_their_defaults_or_unknown() {
    for (code, expected) in [
        ("ENV.fetch(\"A\") { 5 }", Some("5")),
        ("ENV.fetch('A', 5).to_i", Some("5")),
        ("Integer(ENV.fetch(\"A\") { ENV.fetch(\"B\", 7) })", Some("7")),
        ("ENV[\"A\"] || \"db\"", Some("db")),
        ("ENV['A'].presence || 5", Some("5")),
        ("(ENV['A'] || 5).to_i", Some("5")),
        ("10", Some("10")),
        ("ENV[\"A\"]", None),
        ("ENV.fetch(\"A\", 5).to_i + 2", None),
        ("Etc.nprocessors * 2", None),
        ("ENV.fetch(\"A\")", None),
        ("", None),
    ] {
        assert_eq!(default_of(code), expected, "{code}");
    }
    let size = |text: &str| {
        let all = files(&[("database.yml", text)]);
        all.dossier.apps[0].pool_size.as_ref().map(|known| (known.value, raw(&all, known).to_owned()))
    };
    assert_eq!(size("production:\n  adapter: postgresql\n  pool: <%= Etc.nprocessors %>\n"), None);
    assert_eq!(size("production:\n  adapter: postgresql\n"), Some((Bound::Of(5), "Rails'".to_owned())));
    assert_eq!(size("production:\n  adapter: postgresql\n  pool: -1\n"), Some((Bound::Unlimited, "-1".to_owned())));
}

#[test]
fn urls_in_it_tell_where_and_its_own_keys_hold_over_them() {
    let text = "production:\n  url: \"postgres://u:hunter2@h:6432/shop?pool=7&options=-c%20lock_timeout=1s\"\n  database: other\n  idle_timeout: 60\n";
    let all = files(&[("database.yml", text)]);
    let app = &all.dossier.apps[0];
    assert_eq!(app.address, Some(("h".to_owned(), 6432)));
    assert_eq!(app.pool.as_ref().map(|known| raw(&all, known)), Some("other"));
    assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(7), "7")));
    assert_eq!(app.startup.get("lock_timeout").map(|known| raw(&all, known)), Some("1s"));
    assert!(!format!("{:?}", all.dossier).contains("hunter2"));
    for text in ["", "a: b\n", "production:\n  adapter: sqlite3\n", "- 1\n"] {
        assert_eq!(files(&[("database.yml", text)]).unreadable.len(), 1, "{text}");
    }
}
