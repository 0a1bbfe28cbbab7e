//! The OpenAPI document against what is served: its references hold, its operations are whole, and the JSON that is really
//! answered is of its schemas.

use serde_json::Value;

use super::OPENAPI_DOCUMENT;
use super::look::{Beside, CONFIG, HISTORY, HOLDERS, OPENAPI, REVIEW, WHY, config_json, why_json};
use super::operate;
use crate::history;
use crate::made_up::why::{holders, situations};
use crate::standing::Standing;
use crate::why::{Texts, holders_json};

fn document() -> Value {
    serde_json::from_str(OPENAPI_DOCUMENT).unwrap()
}

/// What is wrong with `value` as one of `schema`; nothing when it fits. Knows what the document uses of JSON Schema, and panics at the rest.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let known = [
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "minItems",
        "oneOf",
        "properties",
        "required",
        "type",
    ];
    let schema = schema.as_object().unwrap();
    if let Some(key) = schema.keys().find(|key| !known.contains(&key.as_str())) {
        panic!("{at}: the test does not know {key}");
    }
    if let Some(target) = schema.get("$ref") {
        return misfit(document, resolve(document, target.as_str().unwrap()), value, at);
    }
    if let Some(of) = schema.get("anyOf") {
        let tried: Option<Vec<String>> =
            of.as_array().unwrap().iter().map(|of| misfit(document, of, value, at)).collect();
        return tried.map(|all| all.join("; or "));
    }
    if let Some(all) = schema.get("enum")
        && !all.as_array().unwrap().contains(value)
    {
        return Some(format!("{at}: {value} is none of {all}"));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        return Some(format!("{at}: {value} is not {only}"));
    }
    let kinds = schema.get("type").map(|of| of.as_array().cloned().unwrap_or_else(|| vec![of.clone()]))?;
    if !kinds.iter().any(|kind| is(kind.as_str().unwrap(), value)) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    match value {
        Value::Array(all) => {
            let items = &schema["items"];
            all.iter().enumerate().find_map(|(index, of)| misfit(document, items, of, &format!("{at}[{index}]")))
        }
        Value::Object(fields) => {
            let required = schema.get("required").map(|of| of.as_array().unwrap().clone()).unwrap_or_default();
            if let Some(absent) = required.iter().find(|name| !fields.contains_key(name.as_str().unwrap())) {
                return Some(format!("{at}: {absent} is missing"));
            }
            fields.iter().find_map(|(name, of)| {
                let at = format!("{at}.{name}");
                match schema
                    .get("properties")
                    .and_then(|of| of.get(name))
                    .or_else(|| schema.get("additionalProperties"))
                {
                    Some(Value::Bool(true)) => None,
                    Some(Value::Bool(false)) | None => Some(format!("{at}: the document does not know it")),
                    Some(schema) => misfit(document, schema, of, &at),
                }
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}

fn resolve<'a>(document: &'a Value, target: &str) -> &'a Value {
    let path = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads out of the document"));
    document.pointer(path).unwrap_or_else(|| panic!("{target} is not there"))
}

/// Every object in the document.
fn visit(value: &Value, look: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            look(fields);
            fields.values().for_each(|of| visit(of, look));
        }
        Value::Array(all) => all.iter().for_each(|of| visit(of, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn references_hold_operations_are_whole_and_their_names_are_unique() {
    let document = document();
    visit(&document, &mut |object| {
        if let Some(target) = object.get("$ref") {
            resolve(&document, target.as_str().unwrap());
        }
    });
    let looked_at = ["/metrics", "/healthz", "/readyz", WHY, HOLDERS, CONFIG, REVIEW, HISTORY, OPENAPI];
    let mut served: Vec<&str> = looked_at.into_iter().chain(operate::PATHS).collect();
    served.sort_unstable();
    let mut described: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    described.sort_unstable();
    assert_eq!(described, served, "what is served is described, and nothing else");
    let mut names = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            names.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            assert!(operation["responses"]["200"]["content"].is_object(), "{method} {path}");
            assert_eq!(operation.get("requestBody").is_some(), method == "post", "{method} {path}");
            let open = operation["security"].as_array().unwrap();
            assert_eq!(open.iter().all(|of| of.get("token").is_some()) && !open.is_empty(), method == "post", "{path}");
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn what_is_answered_is_what_the_document_says() {
    let document = document();
    let schema = |path: &str| {
        let operation = &document["paths"][path]["get"];
        operation["responses"]["200"]["content"]["application/json"]["schema"].clone()
    };
    for texts in [Texts::Shown, Texts::Hidden] {
        for (name, why) in situations() {
            let calm = why_json(&why, Beside { review: None, standing: &Standing::default() }, texts);
            assert_eq!(misfit(&document, &schema(WHY), &calm, name), None);
            let (review, standing) = (crate::made_up::review(), crate::made_up::standing());
            let odd = why_json(&why, Beside { review: Some(&review), standing: &standing }, texts);
            assert_eq!(misfit(&document, &schema(WHY), &odd, name), None);
        }
        let config = config_json(&crate::made_up::view());
        assert!(!config["settings"].as_array().unwrap().is_empty());
        assert_eq!(misfit(&document, &schema(CONFIG), &config, "config"), None);
        let review = crate::review::whole(&crate::made_up::review(), crate::made_up::NOW_MS);
        assert_eq!(misfit(&document, &schema(REVIEW), &review, "review"), None);
        for texts in [false, true] {
            let page = history::page(&crate::made_up::history(texts));
            assert_eq!(misfit(&document, &schema(HISTORY), &page, "history"), None);
        }
        assert_eq!(misfit(&document, &schema(HOLDERS), &holders_json(0, &holders(), texts), "holders"), None);
    }
}

#[test]
fn a_wrong_answer_does_not_fit() {
    let document = document();
    let schema = &document["components"]["schemas"]["Why"];
    let (_, why) = situations().swap_remove(3);
    let right = why_json(&why, Beside { review: None, standing: &Standing::default() }, Texts::Shown);
    let breaks: [fn(&mut Value); 5] = [
        |of| of["pools"][0]["state"] = "odd".into(),
        |of| of["pools"][0]["lent"] = "3".into(),
        |of| of["pools"][0]["binding_limit"]["name"] = "luck".into(),
        |of| of["pools"][0]["news"] = 1.into(),
        |of| drop(of["pools"][0].as_object_mut().unwrap().remove("forecast")),
    ];
    for (at, spoil) in breaks.iter().enumerate() {
        let mut wrong = right.clone();
        spoil(&mut wrong);
        assert!(misfit(&document, schema, &wrong, "why").is_some(), "break {at}");
    }
}

#[test]
fn the_closed_lists_are_those_of_the_product() {
    let document = document();
    let listed = |name: &str| -> Vec<String> {
        let all = document["components"]["schemas"][name]["enum"].as_array().unwrap().clone();
        all.iter().map(|of| of.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("Limit"), poolwarden_watch::pool::Limit::ALL.map(|of| of.name().to_owned()));
    assert_eq!(listed("CauseCode"), poolwarden_watch::CauseCode::ALL.map(|of| of.name().to_owned()));
}
