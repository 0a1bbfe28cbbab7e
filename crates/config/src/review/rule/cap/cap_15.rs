//! CAP-15: RDS Proxy may take every slot of a server it shares.

use crate::finding::Severity;
use crate::review::chain::{Kind, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::RDS_PROXY;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::sums::Consumer;

pub(super) const RULE: Rule = Rule {
    code: "CAP-15",
    severity: Severity::Warning,
    title: "RDS Proxy may take every slot",
    condition: "MaxConnectionsPercent = 100 and (O > 0 or another pooler or an application without pooler on the server)",
    why: "MaxConnectionsPercent is a share of max_connections, reserves included. At 100 the proxy is allowed what migrations, \
          monitoring and every other client need; it is also its default.",
    fix: "MaxConnectionsPercent = 100 x what the proxy may have / max_connections",
    needs: &[RDS_PROXY],
    check,
};

/// The share at which nothing is left for anybody else.
const ALL: f64 = 100.0;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let Some(percent) = percent(of) else { return };
    let [postgres] = of.postgres.as_slice() else { return };
    let neighbours = neighbours(of, postgres);
    if percent.value < ALL || neighbours.is_empty() {
        return;
    }
    let who = neighbours.join(", ");
    let room = postgres.max_connections.as_ref().and_then(|max| {
        let fixed = of.consumers(0, false);
        let fixed =
            fixed.0.iter().filter(|(who, _)| !is_proxy(*who)).fold(0_u64, |sum, (_, most)| sum.saturating_add(*most));
        Some(postgres.left()?.saturating_sub(fixed).saturating_mul(100) / max.value.max(1))
    });
    out.find(
        format!("RDS Proxy may take {:.0} % of max_connections, which {who} need too", percent.value),
        &percent.place,
        "all",
    )
    .because(format!("when the proxy is full {who} are refused with 53300"))
    .fix(room.map_or_else(
        || "set MaxConnectionsPercent to 100 x (max_connections - reserves - others) / max_connections".to_owned(),
        |room| format!("set MaxConnectionsPercent = {room}"),
    ));
}

fn percent(of: &Dossier) -> Option<Known<f64>> {
    let proxies = of.poolers.iter().filter(|pooler| pooler.kind == Kind::RdsProxy);
    let mut written = proxies.filter_map(|pooler| pooler.written.get("MaxConnectionsPercent"));
    let known =
        written.next().and_then(|known| Some(Known { value: known.value.parse().ok()?, place: known.place.clone() }));
    known.or_else(|| of.fact("rdsproxy.MaxConnectionsPercent"))
}

const fn is_proxy(who: Consumer<'_>) -> bool {
    match who {
        Consumer::Pooler(pooler) => matches!(pooler.kind, Kind::RdsProxy),
        Consumer::App(_) => false,
    }
}

/// Who else needs slots.
fn neighbours(of: &Dossier, postgres: &Postgres) -> Vec<String> {
    let all = of.consumers(0, false);
    let named = all.0.iter().filter(|(who, most)| *most > 0 && !is_proxy(*who)).map(|(who, _)| match who {
        Consumer::Pooler(pooler) => pooler.name.clone(),
        Consumer::App(app) => app.name.clone(),
    });
    let others =
        postgres.others.as_ref().filter(|known| known.value > 0).map(|known| format!("{} others", known.value));
    named.chain(others).collect()
}
