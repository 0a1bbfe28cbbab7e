//! HikariCP's pools out of properties and Spring's files, as teams write them.

use super::super::{Gathered, Input, gather};
use super::*;
use crate::review::place::Place;

const SPRING: &str = "# Größe\nspring:\n  application:\n    name: shop\n  datasource:\n    url: \"jdbc:postgresql://db.internal:6432/shop?socketTimeout=30&ApplicationName=shop&options=-c%20statement_timeout=5s\"\n    username: app\n    password: hunter2\n    hikari:\n      maximum-pool-size: ${POOL_SIZE:20}\n      connectionTimeout: '2000'\n      max_lifetime: 0\n      idle-timeout: 30s\n      data-source-properties:\n        prepareThreshold: 0\n---\nspring:\n  config:\n    activate:\n      on-profile: prod\n  datasource:\n    hikari:\n      maximum-pool-size: 40\n---\nspring.config.activate.on-profile: test\nspring.datasource.hikari.maximum-pool-size: 2\n";

const PROPERTIES: &str = "# HikariCP\njdbcUrl=jdbc\\:postgresql\\://db/shop?user=app&password=hunter2\nmaximumPoolSize = 30\nminimumIdle:5\ndataSource.socketTimeout 10\nleakDetectionThreshold=\\\n   2000\ndataSource.password=hunter2\n";

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

fn limit(all: &Gathered, known: &Maybe<Limit>) -> (Option<u64>, String) {
    let known = known.as_ref().expect("a known limit");
    (known.value.span().map(|span| u64::try_from(span.as_millis()).expect("small")), raw(all, known).to_owned())
}

#[test]
fn springs_yaml_is_one_pool_with_places_defaults_and_the_profile_that_holds() {
    let all = files(&[("application.yml", SPRING)]);
    let [app] = all.dossier.apps.as_slice() else { panic!("{:?} {:?}", all.dossier.apps, all.unreadable) };
    assert_eq!((app.name.as_str(), app.address.clone()), ("shop", Some(("db.internal".to_owned(), 6432))));
    assert_eq!(app.pools[0].value, "spring.datasource (profile prod)");
    assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(40), "40")));
    assert_eq!(limit(&all, &app.acquire_timeout), (Some(2000), "'2000'".to_owned()));
    assert_eq!(limit(&all, &app.idle_timeout), (Some(30_000), "30s".to_owned()));
    assert_eq!(limit(&all, &app.lifetime), (None, "0".to_owned()));
    assert_eq!(limit(&all, &app.query_timeout), (Some(30_000), "30".to_owned()));
    assert_eq!(
        app.startup.iter().map(|(key, known)| (key.as_str(), raw(&all, known))).collect::<Vec<_>>(),
        [("application_name", "shop"), ("statement_timeout", "5s")]
    );
    assert_eq!(
        [&app.user, &app.pool].map(|known| known.as_ref().map(|known| raw(&all, known))),
        [Some("app"), Some("shop")]
    );
    assert_eq!(app.written["spring.datasource.hikari.connectionTimeout"].value, "2000");
    assert_eq!(app.written["spring.datasource.hikari.data-source-properties.prepareThreshold"].value, "0");
    assert!(!format!("{:?}", all.dossier).contains("hunter2"));
    assert_eq!(all.dossier.texts[0].text.len(), SPRING.len());
}

#[test]
fn a_default_in_a_template_is_the_value_at_its_own_bytes() {
    let text = "spring:\n  datasource:\n    url: ${DB_URL}\n    hikari:\n      maximum-pool-size: ${POOL_SIZE:20}\n      minimum-idle: ${MIN}\n";
    let all = files(&[("application.yml", text)]);
    let app = &all.dossier.apps[0];
    assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(20), "20")));
    assert_eq!((app.address.clone(), limit(&all, &app.acquire_timeout)), (None, (Some(30_000), WHOSE.to_owned())));
    let unknown = files(&[("application.yml", &text.replace("${POOL_SIZE:20}", "${POOL_SIZE}"))]);
    assert!(unknown.dossier.apps[0].pool_size.is_none(), "what nobody can tell is not the default");
}

#[test]
fn plain_properties_with_escapes_and_lines_that_go_on_are_read() {
    let all = files(&[("hikari.properties", PROPERTIES)]);
    let [app] = all.dossier.apps.as_slice() else { panic!("{:?} {:?}", all.dossier.apps, all.unreadable) };
    assert_eq!((app.name.as_str(), app.address.clone()), ("hikari", Some(("db".to_owned(), 5432))));
    assert_eq!(app.pool_size.as_ref().map(|known| (known.value, raw(&all, known))), Some((Bound::Of(30), "30")));
    assert_eq!((app.written["minimumIdle"].value.as_str(), raw(&all, &app.written["minimumIdle"])), ("5", "5"));
    assert_eq!(app.written["leakDetectionThreshold"].value, "2000");
    assert_eq!(limit(&all, &app.query_timeout), (Some(10_000), "10".to_owned()));
    assert!(!format!("{:?}", all.dossier).contains("hunter2"), "{:?}", all.dossier);
}

#[test]
fn several_sources_are_several_pools_and_other_databases_are_none() {
    let text = "spring.datasource.primary.jdbc-url=jdbc:postgresql://db/shop\nspring.datasource.primary.hikari.maximum-pool-size=12\n\
                spring.datasource.reports.jdbc-url=jdbc:postgresql://db/reports\nspring.datasource.reports.configuration.maximum-pool-size=12\n\
                spring.datasource.old.url=jdbc:mysql://db/old\nspring.datasource.old.hikari.maximum-pool-size=5\n\
                app.datasource.jobs.url=jdbc:postgresql://other/jobs\nspring.rabbitmq.username=x\nspring.redis.url=redis://r\n";
    let all = files(&[("application.properties", text)]);
    let pools: Vec<_> = all
        .dossier
        .apps
        .iter()
        .map(|app| (app.pools.len(), app.pool_size.as_ref().and_then(|known| known.value.number())))
        .collect();
    assert_eq!(pools, [(1, Some(10)), (2, Some(12))]);
    for (name, text) in [("application.yml", "server:\n  port: 80\n"), ("x.properties", ""), ("x.properties", "a=b\n")]
    {
        assert_eq!(files(&[(name, text)]).unreadable.len(), 1, "{text}");
    }
}
