//! Connection URLs of all drivers, and `.env` files.

use super::super::{Gathered, Input, gather};
use super::*;
use crate::review::place::Place;

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
fn parameters_of_each_library_are_understood_with_their_places_and_defaults() {
    for (query, size, acquire, life) in [
        ("connection_limit=5&pgbouncer=true", Some((Some(5), "5")), Some((Some(10), "Prisma's")), None),
        ("connection_limit=5&pool_timeout=0", Some((Some(5), "5")), Some((None, "0")), None),
        ("pool_max_conns=30&pool_max_conn_lifetime=1h30m", Some((Some(30), "30")), None, Some((Some(5400), "1h30m"))),
        ("pool_min_conns=3", None, None, Some((Some(3600), "pgx's"))),
        ("max=20", Some((Some(20), "20")), Some((None, "node-postgres's")), Some((None, "node-postgres's"))),
        (
            "connectionTimeoutMillis=2500",
            Some((Some(10), "node-postgres's")),
            Some((Some(2), "2500")),
            Some((None, "node-postgres's")),
        ),
        ("sslmode=require", None, None, None),
    ] {
        let text = format!(
            "# comment postgres://no/no\nexport DATABASE_URL=\"postgres://app:hunter2@db:6432/shop?{query}\"\n"
        );
        let all = files(&[(".env", &text)]);
        let [app] = all.dossier.apps.as_slice() else { panic!("{:?}", all.unreadable) };
        assert_eq!(app.pool_size.as_ref().map(|known| (known.value.number(), raw(&all, known))), size, "{query}");
        let limit = |known: &Option<Known<Limit>>| {
            known.clone().map(|known| (known.value.span().map(|span| span.as_secs()), raw(&all, &known).to_owned()))
        };
        let expected = |pair: Option<(Option<u64>, &str)>| pair.map(|(seconds, raw)| (seconds, raw.to_owned()));
        assert_eq!((limit(&app.acquire_timeout), limit(&app.lifetime)), (expected(acquire), expected(life)), "{query}");
        assert_eq!((app.address.clone(), app.pools[0].value.as_str()), (Some(("db".to_owned(), 6432)), "DATABASE_URL"));
        assert_eq!(app.pool.as_ref().map(|known| raw(&all, known)), Some("shop"));
        assert!(!format!("{:?}", all.dossier).contains("hunter2"));
    }
}

#[test]
fn start_up_parameters_are_told_with_their_own_bytes() {
    let text = "A=postgres://h/db?options=-c%20statement_timeout%3D5s%20-c%20lock_timeout=1s&application_name=web&keepalives_idle=30\n\
                B=jdbc:postgresql://h2/db?ApplicationName=jobs&socketTimeout=30&prepareThreshold=0&statement_timeout=5\n";
    let all = files(&[("x.env", text)]);
    let [a, b] = all.dossier.apps.as_slice() else { panic!("{:?}", all.dossier.apps) };
    let sent: Vec<_> =
        a.startup.iter().map(|(name, known)| (name.as_str(), known.value.as_str(), raw(&all, known))).collect();
    assert_eq!(
        sent,
        [("application_name", "web", "web"), ("lock_timeout", "1s", "1s"), ("statement_timeout", "5s", "5s")]
    );
    assert_eq!((a.written["keepalives_idle"].value.as_str(), a.query_timeout.is_none()), ("30", true));
    assert_eq!(b.startup.keys().collect::<Vec<_>>(), ["application_name"], "JDBC does not send what it does not know");
    assert_eq!(
        b.query_timeout.as_ref().map(|known| (known.value, raw(&all, known))),
        Some((Limit::After(Duration::from_secs(30)), "30"))
    );
}

#[test]
fn pools_to_the_same_server_are_counted_and_what_is_no_pool_is_not() {
    let text = "DATABASE_URL=postgres://u@h/a?max=5\nCACHE_URL=postgres://u@h/b?max=5\nQUEUE_URL=postgres://u@h/c?max=7\n\
                DIRECT_URL=postgres://u@h/a\nSAME=postgres://u@h/a?max=5\nOTHER=postgres://${HOST}/${NAME}\n";
    let all = files(&[(".env.production", text)]);
    let pools: Vec<Vec<_>> =
        all.dossier.apps.iter().map(|app| app.pools.iter().map(|pool| pool.value.as_str()).collect()).collect();
    assert_eq!(pools, [vec!["DATABASE_URL", "CACHE_URL"], vec!["QUEUE_URL"], vec!["OTHER"]]);
    assert_eq!((&all.dossier.apps[2].address, all.dossier.apps[2].pool.is_none()), (&None, true));
    assert_eq!(files(&[("empty.env", "")]).unreadable.len(), 1);
}

#[test]
fn secrets_are_starred_byte_for_byte() {
    let text = "X=postgres://u:hunter2%40é@h/db?password=hunter2&sslpassword=hunter2\nMY_SECRET_KEY='hunter2'\nAPI_TOKEN=hunter2 # x\n";
    let all = files(&[(".env", text)]);
    assert_eq!(all.dossier.texts[0].text.len(), text.len());
    assert!(!format!("{:?}", all.dossier).contains("hunter2"), "{:?}", all.dossier.texts);
}
