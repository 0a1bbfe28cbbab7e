//! What a running process hands to the process that reviews it, as JSON: texts as they were when they were put in force, and
//! facts. The answer is the review as `check --format json` writes it.

use anyhow::Context;
use poolwarden_config::review::Facts;
use serde_json::{Value, json};

/// Everything a review of a running process is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// The files by their names; the first one names the others.
    pub(crate) texts: Vec<(String, String)>,
    /// What the process knows of itself, and of the servers it watches.
    pub(crate) facts: Vec<Facts>,
}

/// Backends of each database, by facts of this name: only a review knows whose they are.
pub(crate) const BACKENDS_IN: &str = "pg.backends.in.";

impl Given {
    /// For the other process.
    pub(crate) fn json(&self) -> String {
        let text = |(name, text): &(String, String)| json!({"name": name, "text": text});
        let facts = |of: &Facts| json!({"name": of.name, "facts": of.facts});
        json!({
            "texts": self.texts.iter().map(text).collect::<Vec<_>>(),
            "facts": self.facts.iter().map(facts).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// What [`Given::json`] wrote.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).context("not what a running poolwarden gives")?;
        let string = |of: &Value| of.as_str().map(str::to_owned).context("a text is missing");
        let list = |name: &str| value[name].as_array().with_context(|| format!("{name} is missing"));
        let texts = list("texts")?.iter().map(|of| Ok((string(&of["name"])?, string(&of["text"])?)));
        let facts = list("facts")?.iter().map(|of| {
            let pairs = of["facts"].as_object().context("facts are missing")?;
            let pairs = pairs.iter().map(|(key, value)| Ok((key.clone(), string(value)?)));
            Ok(Facts { name: string(&of["name"])?, facts: pairs.collect::<anyhow::Result<_>>()? })
        });
        Ok(Self { texts: texts.collect::<anyhow::Result<_>>()?, facts: facts.collect::<anyhow::Result<_>>()? })
    }

    /// Backends in databases that nobody who is reviewed pools are others', as `check --live` counts them.
    pub(crate) fn count_others(&mut self, pooled: &dyn Fn(&str) -> Option<bool>) {
        for facts in &mut self.facts {
            let inside = |(key, count): (&String, &String)| {
                Some((key.strip_prefix(BACKENDS_IN)?.to_owned(), count.parse::<u64>().ok()?))
            };
            let counts: Vec<(String, u64)> = facts.facts.iter().filter_map(inside).collect();
            let mut others = Some(0);
            for (database, count) in counts {
                let is_pooled = if database.is_empty() { Some(false) } else { pooled(&database) };
                others = others.zip(is_pooled).map(|(sum, is_pooled)| if is_pooled { sum } else { sum + count });
            }
            facts.facts.retain(|key, _| !key.starts_with(BACKENDS_IN));
            // That there is none now is no limit of theirs.
            if let Some(others) = others.filter(|others| *others > 0) {
                facts.facts.insert("pg.backends.others".to_owned(), others.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        let facts = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Facts { name: "the watch of main".to_owned(), facts }
    }

    #[test]
    fn what_is_given_arrives() {
        let given = Given {
            texts: vec![("a \"b\".toml".to_owned(), "[listen]\nx = \"é\"\n".to_owned())],
            facts: vec![facts(&[("pg.address", "main")])],
        };
        assert_eq!(Given::read(&given.json()).unwrap(), given);
        for wrong in ["", "{}", "{\"texts\":[{}],\"facts\":[]}", "{\"texts\":[],\"facts\":[{\"name\":\"x\"}]}"] {
            assert!(Given::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn backends_in_databases_of_nobody_are_others() {
        let told = facts(&[
            ("pg.backends.in.shop", "12"),
            ("pg.backends.in.metrics", "3"),
            ("pg.backends.in.", "1"),
            ("pg.address", "main"),
        ]);
        let counted = |pooled: &dyn Fn(&str) -> Option<bool>| {
            let mut given = Given { texts: Vec::new(), facts: vec![told.clone()] };
            given.count_others(pooled);
            given.facts.remove(0)
        };
        assert_eq!(
            counted(&|name| Some(name == "shop")),
            facts(&[("pg.address", "main"), ("pg.backends.others", "4")])
        );
        assert_eq!(counted(&|_| None), facts(&[("pg.address", "main")]), "nobody knows who is pooled");
        assert_eq!(counted(&|_| Some(true)).facts.get("pg.backends.others").map(String::as_str), Some("1"));
    }
}
