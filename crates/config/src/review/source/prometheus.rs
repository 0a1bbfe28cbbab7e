//! Alerting rules of Prometheus: `groups` of a rule file, or `spec.groups` of a PrometheusRule, alone or in a list of `items`.

use std::rc::Rc;

use super::Unread;
use super::draft::Draft;
use super::setting::duration;
use super::yaml::{MOST_COPIED, Node, documents};
use crate::review::chain::Alert;
use crate::review::place::Known;

/// Whose default it is that a rule fires at once.
const WHOSE: &str = "Prometheus's";
/// Most rules of one file, lists of aliases among them.
const MOST_RULES: usize = 20_000;

/// Reads one file.
pub(super) fn read(file: usize, text: &str, out: &mut Draft) -> Result<(), Unread> {
    let (mut visited, mut copied, mut rules) = (0, 0, Vec::new());
    for document in documents(text)? {
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
    if !rules.is_empty() {
        Ok(())
    } else {
        Err("no rules in it: groups: [{name: …, rules: [{alert: …, expr: …}]}]".into())
    }
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
        hold: hold.unwrap_or(Known::default_of(std::time::Duration::ZERO, WHOSE)),
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
