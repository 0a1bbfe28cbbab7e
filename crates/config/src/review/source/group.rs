//! Several pools of one application to the same PostgreSQL with the same settings are one application with several pools per
//! process; others stand alone.

use super::draft::Draft;
use crate::review::chain::App;
use crate::review::place::Known;

/// Takes the pools of one file in.
pub(super) fn take(apps: Vec<App>, out: &mut Draft) {
    let mut grouped: Vec<App> = Vec::new();
    for app in apps {
        match grouped.iter_mut().find(|other| is_alike(other, &app)) {
            Some(other) => other.pools.extend(app.pools),
            None => grouped.push(app),
        }
    }
    out.dossier.apps.append(&mut grouped);
}

/// Same server, login, sizes and limits; the database may be another.
fn is_alike(one: &App, two: &App) -> bool {
    fn same<T: PartialEq>(one: &Option<Known<T>>, two: &Option<Known<T>>) -> bool {
        one.as_ref().map(|known| &known.value) == two.as_ref().map(|known| &known.value)
    }
    one.name == two.name
        && one.address == two.address
        && same(&one.user, &two.user)
        && same(&one.pool_size, &two.pool_size)
        && same(&one.max_idle, &two.max_idle)
        && same(&one.acquire_timeout, &two.acquire_timeout)
        && same(&one.query_timeout, &two.query_timeout)
        && same(&one.lifetime, &two.lifetime)
        && same(&one.idle_timeout, &two.idle_timeout)
        && same(&one.keepalive, &two.keepalive)
        && one.startup.len() == two.startup.len()
        && one.startup.iter().zip(&two.startup).all(|(one, two)| one.0 == two.0 && one.1.value == two.1.value)
}
