//! Alerting rules of Prometheus: `groups` of a rule file, or `spec.groups` of a PrometheusRule, alone or in a list of `items`.
//! And how often it asks whom: `scrape_configs` of its own file.

use std::rc::Rc;
use std::time::Duration;

use super::Unread;
use super::draft::Draft;
use super::setting::duration;
use super::yaml::{MOST_COPIED, Node, documents};
use crate::review::chain::{Alert, Scrape};
use crate::review::place::Known;

/// Whose defaults: that a rule fires at once, and that targets are asked each minute.
const WHOSE: &str = "Prometheus's";
/// Most rules of one file, lists of aliases among them.
const MOST_RULES: usize = 20_000;

/// Most jobs of one file, targets of one job that are looked at, and bytes of one job's names: aliases cost nothing to write.
const MOST_JOBS: usize = 2_000;
const MOST_TARGETS: usize = 200;
const MOST_BYTES_OF_JOB: usize = 16 << 10;
/// How often targets are asked where nobody says it.
const EACH_MINUTE: Duration = Duration::from_secs(60);

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let (mut visited, mut copied, mut rules) = (0, 0, Vec::new());
    let before = out.dossier.scrapes.len();
    for document in documents(text)? {
        scrapes(&document, file, out)?;
        for group in parts(&document).into_iter().flat_map(|part| groups(part)) {
            let of_group = group.get("rules").map_or(&[][..], |rules| rules.items());
            visited += 1 + of_group.len();
            if visited > MOST_RULES {
                return Err(format!("more than {MOST_RULES} rules: give the part that is about connections").into());
            }
            rules.extend(of_group.iter().map(Rc::clone));
        }
    }
    for rule in &rules {
        let Some(alert) = alert(rule, file) else { continue };
        copied += alert.name.value.len() + alert.expr.value.len();
        if copied > MOST_COPIED {
            return Err("its aliases make too much of it: give the part that is about connections".into());
        }
        out.dossier.alerts.push(alert);
    }
    if !rules.is_empty() || out.dossier.scrapes.len() > before {
        Ok(())
    } else {
        Err("no rules in it: groups: [{name: …, rules: [{alert: …, expr: …}]}]".into())
    }
}

/// What Prometheus asks: each job with its own interval, or that of all.
fn scrapes(document: &Node, file: usize, out: &mut Draft) -> Result<(), String> {
    let jobs = document.get("scrape_configs").map_or(&[][..], |jobs| jobs.items());
    let interval = |of: &Node| {
        let node = of.get("scrape_interval")?;
        Some(Known::written(duration(node.text()?)?, file, node.span.clone()))
    };
    let of_all = document.get("global").and_then(|global| interval(global));
    let of_all = of_all.unwrap_or(Known::default_of(EACH_MINUTE, WHOSE));
    for (count, job) in jobs.iter().enumerate() {
        let Some(name) = job.get("job_name").and_then(|node| Some((node.text()?.to_owned(), node.span.clone()))) else {
            continue;
        };
        let lists = job.get("static_configs").map_or(&[][..], |configs| configs.items());
        let lists = lists.iter().take(MOST_TARGETS);
        let targets = lists.filter_map(|config| config.get("targets")).flat_map(|targets| targets.items());
        let targets: Vec<String> =
            targets.take(MOST_TARGETS).filter_map(|node| node.text().map(str::to_owned)).collect();
        if count >= MOST_JOBS || name.0.len() + targets.iter().map(String::len).sum::<usize>() > MOST_BYTES_OF_JOB {
            return Err("too much of it: give the job that asks the pooler".to_owned());
        }
        let interval = interval(job).unwrap_or_else(|| of_all.clone());
        out.dossier.scrapes.push(Scrape { job: Known::written(name.0, file, name.1), targets, interval });
    }
    Ok(())
}

/// The document itself, or the items of a list of Kubernetes.
fn parts(document: &Rc<Node>) -> Vec<&Rc<Node>> {
    let items = document.get("items").map_or(&[][..], |items| items.items());
    std::iter::once(document).chain(items).take(MOST_RULES).collect()
}

fn groups(part: &Node) -> &[Rc<Node>] {
    let groups = part.get("groups").or_else(|| part.get("spec")?.get("groups"));
    groups.map_or(&[][..], |groups| groups.items())
}

/// A rule that alerts; one that records has no `alert`.
fn alert(rule: &Node, file: usize) -> Option<Alert> {
    let known = |key: &str| {
        let node = rule.get(key)?;
        Some(Known::written(node.text()?.to_owned(), file, node.span.clone()))
    };
    let hold = known("for").and_then(|known| Some(Known { value: duration(&known.value)?, place: known.place }));
    Some(Alert {
        name: known("alert")?,
        expr: known("expr")?,
        hold: hold.unwrap_or(Known::default_of(Duration::ZERO, WHOSE)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::review::place::Place;

    fn alerts(text: &str) -> Vec<Alert> {
        let mut out = Draft::default();
        let file = out.file("rules.yml", text);
        read(file, text, &mut out).expect(text);
        out.dossier.alerts
    }

    #[test]
    fn rules_of_a_file_are_read_with_their_places() {
        let text = "groups:\n- name: pgb # ä\n  rules:\n  - record: x\n    expr: y\n  - alert: Waits\n    expr: |\n      sum(a)\n        / b > 0\n    for: 1h5m\n    labels: {severity: page}\n  - alert: \"Now\"\n    expr: up == 0\n";
        let [waits, now] = &alerts(text)[..] else { panic!() };
        let raw = |place: &Place| match place {
            Place::Text { span, .. } => &text[span.clone()],
            Place::Default(whose) => whose,
            Place::Told { .. } => "told",
        };
        assert_eq!((waits.name.value.as_str(), waits.expr.value.as_str()), ("Waits", "sum(a)\n  / b > 0\n"));
        assert_eq!((waits.hold.value, raw(&waits.hold.place)), (Duration::from_secs(3900), "1h5m"));
        assert!(raw(&waits.expr.place).ends_with("/ b > 0"), "{:?}", raw(&waits.expr.place));
        assert_eq!((now.hold.value, raw(&now.hold.place), raw(&now.name.place)), (Duration::ZERO, WHOSE, "\"Now\""));
        assert_eq!(raw(&now.expr.place), "up == 0");
    }

    #[test]
    fn jobs_are_asked_as_often_as_they_say_else_as_all_are() {
        let of = |text: &str| {
            let mut out = Draft::default();
            let file = out.file("prometheus.yml", text);
            read(file, text, &mut out).expect(text);
            let raw = |place: &Place| match place {
                Place::Text { span, .. } => text[span.clone()].to_owned(),
                Place::Default(whose) => (*whose).to_owned(),
                Place::Told { .. } => "told".to_owned(),
            };
            let one = |scrape: &Scrape| {
                (
                    scrape.job.value.clone(),
                    scrape.targets.clone(),
                    scrape.interval.value.as_secs(),
                    raw(&scrape.interval.place),
                )
            };
            out.dossier.scrapes.iter().map(one).collect::<Vec<_>>()
        };
        let text = "global:\n  scrape_interval: 30s\nscrape_configs:\n- job_name: pgb\n  scrape_interval: 1m30s\n  \
                    static_configs:\n  - targets: ['a:9127', \"b:9127\"]\n- job_name: node\n";
        let targets = vec!["a:9127".to_owned(), "b:9127".to_owned()];
        let pgb = ("pgb".to_owned(), targets, 90, "1m30s".to_owned());
        assert_eq!(of(text), [pgb, ("node".to_owned(), Vec::new(), 30, "30s".to_owned())]);
        assert_eq!(of("scrape_configs:\n- job_name: x\n"), [("x".to_owned(), Vec::new(), 60, WHOSE.to_owned())]);
        let many = |count| format!("scrape_configs: [{}]\n", "{job_name: x},".repeat(count));
        assert_eq!(of(&many(2_000)).len(), 2_000);
        assert!(read(0, &many(2_001), &mut Draft::default()).is_err());
        let wide = |bytes: usize| format!("scrape_configs: [{{job_name: {}}}]\n", "x".repeat(bytes));
        assert_eq!(of(&wide(16_384)).len(), 1);
        assert!(read(0, &wide(16_385), &mut Draft::default()).is_err());
        let targets = "'a:1',".repeat(201);
        let text = format!("scrape_configs: [{{job_name: x, static_configs: [{{targets: [{targets}]}}]}}]\n");
        assert_eq!(of(&text)[0].1.len(), 200);
    }

    #[test]
    fn rules_of_kubernetes_are_read_alone_and_in_lists() {
        let one = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n  groups:\n  - rules:\n    - {alert: A, expr: up}\n";
        assert_eq!(alerts(one).len(), 1);
        let list = "kind: List\nitems:\n- spec: &s\n    groups: [{rules: [{alert: A, expr: up}]}]\n- spec: *s\n---\ngroups: [{rules: [{alert: B, expr: x}]}]\n";
        assert_eq!(alerts(list).len(), 3);
        for text in ["a: 1\n", "", "groups: 5\n", "groups: [{rules: }]\n"] {
            assert!(read(0, text, &mut Draft::default()).is_err(), "{text}");
        }
    }
}
