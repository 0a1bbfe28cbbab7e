//! `check --format sarif` against the schema of SARIF 2.1.0.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

use std::fs;
use std::process::Command;

use serde_json::{Map, Value};

const SCHEMA: &str = include_str!("sarif/sarif-schema-2.1.0.json");

/// What is wrong with `value`; nothing where it fits. Knows what the schema uses of JSON Schema draft 7, and panics at the rest.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    const KNOWN: [&str; 20] = [
        "$id",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "default",
        "definitions",
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];
    let schema = schema.as_object().unwrap();
    if let Some(key) = schema.keys().find(|key| !KNOWN.contains(&key.as_str()) && *key != "uniqueItems") {
        panic!("{at}: the test does not know {key}");
    }
    if let Some(target) = schema.get("$ref") {
        let target = document.pointer(target.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
        return misfit(document, target, value, at);
    }
    let fits = |of: &&Value| misfit(document, of, value, at).is_none();
    if schema.get("anyOf").is_some_and(|of| !of.as_array().unwrap().iter().any(|of| fits(&of))) {
        return Some(format!("{at}: none of anyOf"));
    }
    if schema.get("oneOf").is_some_and(|of| of.as_array().unwrap().iter().filter(fits).count() != 1) {
        return Some(format!("{at}: not one of oneOf"));
    }
    if schema.get("enum").is_some_and(|all| !all.as_array().unwrap().contains(value)) {
        return Some(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if schema.get("type").is_some_and(|kinds| !is_one(kinds, value)) {
        return Some(format!("{at}: {value} is no {}", schema["type"]));
    }
    match value {
        Value::Object(fields) => object(document, schema, fields, at),
        Value::Array(items) => array(document, schema, items, at),
        Value::String(text) => string(schema, text, at),
        Value::Number(number) => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let number = number.as_f64().unwrap();
            let below = bound("minimum").is_some_and(|least| number < least);
            let above = bound("maximum").is_some_and(|most| number > most);
            (below || above).then(|| format!("{at}: {number} is out of range"))
        }
        Value::Null | Value::Bool(_) => None,
    }
}

fn is_one(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no such type: {other}"),
    };
    kinds.as_array().map_or_else(|| is(kinds), |all| all.iter().any(is))
}

fn object(document: &Value, schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str) -> Option<String> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    if let Some(absent) = required.map(|name| name.as_str().unwrap()).find(|name| !fields.contains_key(*name)) {
        return Some(format!("{at}: {absent} is missing"));
    }
    fields.iter().find_map(|(name, of)| {
        let at = format!("{at}.{name}");
        let known = schema.get("properties").and_then(|all| all.get(name));
        match known.or_else(|| schema.get("additionalProperties")) {
            None | Some(Value::Bool(true)) => None,
            Some(Value::Bool(false)) => Some(format!("{at}: the schema does not know it")),
            Some(schema) => misfit(document, schema, of, &at),
        }
    })
}

fn array(document: &Value, schema: &Map<String, Value>, items: &[Value], at: &str) -> Option<String> {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
    if (items.len() as u64) < least {
        return Some(format!("{at}: fewer than {least}"));
    }
    let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
    let twice = items.iter().enumerate().find(|(n, item)| unique && items[..*n].contains(item));
    if let Some((n, _)) = twice {
        return Some(format!("{at}[{n}]: it is there twice"));
    }
    let of = schema.get("items")?;
    items.iter().enumerate().find_map(|(n, item)| misfit(document, of, item, &format!("{at}[{n}]")))
}

fn string(schema: &Map<String, Value>, text: &str, at: &str) -> Option<String> {
    assert!(!schema.contains_key("pattern"), "{at}: the test does not know patterns");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c); // RFC 3986
    match schema.get("format").and_then(Value::as_str) {
        None => None,
        Some("uri") if text.contains("://") && text.chars().all(allowed) => None,
        Some("uri-reference") if text.chars().all(allowed) => None,
        Some("uri" | "uri-reference") => Some(format!("{at}: {text} is no URI")),
        Some(other) => panic!("{at}: the test does not know the format {other}"),
    }
}

fn checked(args: &[&str]) -> (Value, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let ini = "[databases]\napp = host=db dbname=app\n[pgbouncer]\ndefault_pool_size = 1500\nquery_wait_timeout = 0\n";
    fs::write(dir.path().join("my pgbouncer.ini"), ini).unwrap();
    let toml = "[servers.main]\nhost = \"db2\"\nmax_connections = 80\n[pools.app]\nserver = \"main\"\nsize = 500\n\
                max_connections = 50\n[auth]\nmethod = \"trust\"\n[[review.allow]]\ncode = \"TMO-01\"\nreason = \"ticket 7\"\n";
    fs::write(dir.path().join("poolwarden.toml"), toml).unwrap();
    let topology = "[topology.postgres]\nmax_connections = 100\n";
    fs::write(dir.path().join("topology.toml"), topology).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwarden"));
    let output = command.args(["check", "--format", "sarif"]).args(args).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|why| {
        panic!("{why}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    (value, output.status.code())
}

#[test]
fn what_is_written_is_sarif() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let all = ["my pgbouncer.ini", "poolwarden.toml", "topology.toml"];
    let (whole, code) = checked(&all);
    assert_eq!(misfit(&schema, &schema, &whole, "sarif"), None);
    assert_eq!(code, Some(1));
    let results = whole["runs"][0]["results"].as_array().unwrap();
    let of = |code: &str| {
        results.iter().find(|result| result["ruleId"] == code).unwrap_or_else(|| panic!("{code}: {whole:#}"))
    };
    let place = &of("CAP-01")["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "my%20pgbouncer.ini");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&4.into(), &21.into()));
    assert!(!of("CAP-01")["relatedLocations"].as_array().unwrap().is_empty());
    assert_eq!(of("CAP-01")["partialFingerprints"]["poolwarden/v1"].as_str().unwrap().len(), 16);
    assert_eq!(of("TMO-01")["suppressions"][0]["justification"], "ticket 7");
    assert!(of("CAP-04")["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"].is_string());
    let index = usize::try_from(of("CAP-01")["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(whole["runs"][0]["tool"]["driver"]["rules"][index]["id"], "CAP-01");
}

#[test]
fn what_could_not_be_read_or_required_is_a_notification_and_sarif() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (whole, code) = checked(&["no such.ini", "poolwarden.toml", "--require", "live,recording"]);
    assert_eq!(misfit(&schema, &schema, &whole, "sarif"), None);
    assert_eq!(code, Some(2));
    let invocation = &whole["runs"][0]["invocations"][0];
    assert_eq!((&invocation["executionSuccessful"], &invocation["exitCode"]), (&false.into(), &2.into()));
    let said = invocation["toolExecutionNotifications"].to_string();
    assert!(said.contains("no%20such.ini") && said.contains("--require live"), "{said}");
}

#[test]
fn what_is_said_of_every_example_of_the_rules_is_sarif() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/review");
    let mut count = 0;
    for rule in fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path().join("fires")) {
        let Ok(entries) = fs::read_dir(&rule) else { continue }; // no rule's
        let names = entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != "expected.txt");
        let mut command = Command::new(env!("CARGO_BIN_EXE_poolwarden"));
        let output = command.args(["check", "--format", "sarif"]).args(names).current_dir(&rule).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{}: {why}: {errors}", rule.display()));
        assert_eq!(misfit(&schema, &schema, &value, "sarif"), None, "{}", rule.display());
        count += 1;
    }
    assert!(count > 40, "{count} examples");
}

#[test]
fn a_wrong_file_does_not_fit() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let (right, _) = checked(&["my pgbouncer.ini", "poolwarden.toml"]);
    let breaks: [fn(&mut Value); 6] = [
        |of| of["version"] = "2.0".into(),
        |of| of["runs"][0]["news"] = 1.into(),
        |of| of["runs"][0]["results"][0]["level"] = "loud".into(),
        |of| of["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0.into(),
        |of| of["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] = "a b".into(),
        |of| drop(of["runs"][0]["results"][0].as_object_mut().unwrap().remove("message")),
    ];
    for (n, wrong) in breaks.iter().enumerate() {
        let mut value = right.clone();
        wrong(&mut value);
        assert!(misfit(&schema, &schema, &value, "sarif").is_some(), "{n}");
    }
}
