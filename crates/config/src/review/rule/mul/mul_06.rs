//! MUL-06: an application's own pool was cut because a pooler stands behind it.

use crate::finding::Severity;
use crate::review::chain::{App, Bound};
use crate::review::dossier::Dossier;
use crate::review::need::{APP_POOL_SIZE, POOLER};
use crate::review::rule::mul::mul_05::enough;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-06",
    severity: Severity::Error,
    title: "the application's pool was cut because the pooler is the real one",
    condition: "through a pooler, and 4 P <= T, or P <= 4 and R W k P <= lambda x h",
    why: "A client connection of the application is what a request needs to reach the pooler at all. Cut to two or three per \
          process, requests queue in the application and fail there: one load test ended in 92 % errors with pooler and \
          PostgreSQL healthy. Clients are cheap for a pooler; server connections are not, and it bounds those.",
    fix: "give each process as many connections as it works on at once",
    needs: &[POOLER, APP_POOL_SIZE],
    check,
};

/// Threads per connection from which on it is starvation and no rounding.
const STARVED: u64 = 4;
/// The largest pool that somebody must have cut: the smallest default of a library is 5. Of larger ones that traffic fills
/// CAP-11 speaks.
const CUT: u64 = 4;

/// How many units of work share a pool of its own that is far too small for them.
#[derive(Clone, Copy, Debug)]
pub(in crate::review::rule) enum Starved {
    /// So many threads of one process.
    Threads(u64),
    /// So many connections are busy on average, of so many in all.
    Load(f64, u64),
}

pub(in crate::review::rule) fn is_starved(of: &Dossier, app: &App) -> Option<Starved> {
    of.route(app)?;
    let Bound::Of(size) = app.pool_size.as_ref()?.value else { return None };
    if let Some(threads) = app.threads.as_ref().filter(|threads| size.saturating_mul(STARVED) <= threads.value) {
        return Some(Starved::Threads(threads.value));
    }
    let (load, all) = (app.load()?, app.demand(false)?.number()?);
    (load >= all as f64 && size <= CUT).then_some(Starved::Load(load, all))
}

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let (Some(starved), Some(size)) = (is_starved(of, app), &app.pool_size) else { continue };
        let Some((pooler, pool)) = of.route(app) else { continue };
        let most = words::size(size.value);
        let (message, needed) = match starved {
            Starved::Threads(threads) => (
                format!("{}: {threads} threads share {most} connections to the pooler", app.name),
                enough(app, threads),
            ),
            Starved::Load(load, all) => {
                let per_pool = (load / all as f64 * size.value.number().unwrap_or(1) as f64).floor() as u64 + 1;
                let message =
                    format!("{}: {load:.1} connections are busy at the declared peak, and it has {all}", app.name);
                (message, per_pool)
            }
        };
        let finding = out.find(message, &size.place, words::factors(app, false));
        match (starved, &app.threads, &app.peak_rate) {
            (Starved::Threads(_), Some(threads), _) => {
                finding.and(threads, format!("{} threads per process", threads.value))
            }
            (Starved::Load(..), _, Some(rate)) => finding.and(rate, format!("{:.0} requests a second", rate.value)),
            (Starved::Threads(_) | Starved::Load(..), _, _) => finding,
        }
        .and(&pool.name, format!("{} bounds the server connections already", pooler.name))
        .because("requests fail in the application's queue while the pooler and PostgreSQL are healthy")
        .fix(format!("write {}", words::app_size(app, needed)));
        words::resize(finding, app, needed);
    }
}

#[cfg(test)]
mod tests {
    use crate::review::{Input, gather, review};

    /// Codes of what is said of an application with pools of `size` that traffic keeps busy, all of them.
    fn codes(size: u64) -> Vec<&'static str> {
        let text = format!(
            "[servers.main]\nhost = \"db\"\n[pools.app]\nserver = \"main\"\nsize = 40\n[users.app]\npassword_env = \"A\"\n\
             [[topology.app]]\nname = \"web\"\npool = \"app\"\nreplicas = 2\npool_size = {size}\npeak_rate = \"100/s\"\n\
             hold = \"{}ms\"\n",
            size * 20
        );
        let input = Input::File { name: "poolwarden.toml".to_owned(), text };
        let of = gather(&[input], &mut |path| Err(path.to_owned())).dossier;
        let spoken = |code: &&'static str| ["MUL-06", "CAP-11"].contains(code);
        review(&of).findings.into_iter().map(|finding| finding.code).filter(spoken).collect()
    }

    #[test]
    fn a_pool_of_four_was_cut_and_one_of_five_is_too_small() {
        assert_eq!((codes(4), codes(5)), (vec!["MUL-06"], vec!["CAP-11"]));
    }
}
