//! Texts as snapshots over made-up situations; the JSON against the contract's names.

use serde_json::Value;

use super::*;
use crate::made_up::why::{holders, situations};

const SHOWN: Layout = Layout { width: 100, texts: Texts::Shown };

#[test]
fn each_situation_reads_well_at_night() {
    for (name, why) in situations() {
        insta::assert_snapshot!(name, text(&why, SHOWN));
    }
}

#[test]
fn where_more_connections_mend_nothing_no_size_is_recommended() {
    for (name, why) in situations() {
        let text = text(&why, SHOWN);
        let first = why.pools.iter().flat_map(|pool| &pool.causes).find(|cause| cause.share > 0.0);
        let Some(reason) = first.and_then(|cause| vain(cause.code.name())) else { continue };
        assert!(text.contains(&format!("raise?  {reason}")) && !text.contains("is enough"), "{name}: {text}");
    }
    assert_eq!(vain("lock_convoy"), Some("no: more connections would wait for the same lock"));
    assert_eq!((vain("user_limit"), vain("luck")), (None, None));
}

#[test]
fn on_a_narrow_terminal_every_line_fits() {
    for width in [60, 80, 120] {
        for (name, why) in situations() {
            let text = text(&why, Layout { width, texts: Texts::Shown });
            for line in text.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= width, "{name} at {width}: {line}");
            }
        }
    }
}

#[test]
fn the_next_step_stands_first_and_ten_lines_say_the_rest() {
    for (name, why) in situations() {
        let text = text(&why, Layout { width: 120, texts: Texts::Shown });
        for pool in text.split("\n\n").filter(|block| block.contains("NEXT")) {
            let next = pool.lines().position(|line| line.trim_start().starts_with("NEXT")).unwrap();
            assert!(next <= 1, "{name}: {pool}");
            assert!(pool.lines().count() <= 20, "{name}: {pool}");
        }
    }
}

#[test]
fn control_characters_of_clients_never_reach_the_terminal() {
    for (name, why) in situations() {
        let text = text(&why, SHOWN);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{name}: {text:?}");
    }
    let mut list = holders();
    list[0].lease.application = "a\u{1b}[31m\nb".to_owned();
    list[0].lease.query = "select\t1\n".to_owned();
    assert!(holders_text(&list, SHOWN).chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn statements_are_hidden_from_who_has_no_token() {
    for (name, why) in situations() {
        let hidden = Layout { texts: Texts::Hidden, ..SHOWN };
        assert!(!text(&why, hidden).contains("select"), "{name}");
        assert!(!json(&why, Texts::Hidden).to_string().contains("select"), "{name}");
    }
    assert!(!holders_json(0, &holders(), Texts::Hidden).to_string().contains("select"));
    assert!(holders_json(0, &holders(), Texts::Shown).to_string().contains("select * from orders"));
}

#[test]
fn holders_are_one_line_each_with_their_statement_below() {
    insta::assert_snapshot!("holders", holders_text(&holders(), SHOWN));
    insta::assert_snapshot!(
        "holders_hidden_narrow",
        holders_text(&holders(), Layout { width: 80, texts: Texts::Hidden })
    );
    assert_eq!(holders_text(&[], SHOWN), "no server connection is lent\n");
}

fn names(value: &Value) -> String {
    let object = value.as_object().unwrap();
    object.keys().cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_json_has_the_names_of_the_contract() {
    let (_, why) = situations().into_iter().find(|(name, _)| *name == "the_user_limit_of_the_story").unwrap();
    let value = json(&why, Texts::Shown);
    assert_eq!((&value["schema"], &value["at"]), (&1.into(), &"2024-08-15T08:00:00Z".into()));
    let pool = &value["pools"][0];
    let promised = [
        (pool, "pool user server state lent waiting binding_limit gains causes holders forecast next_step"),
        (&pool["binding_limit"], "name setting size used"),
        (&pool["gains"][0], "limit gain next_limit"),
        (&pool["causes"][0], "code verdict share evidence"),
        (&pool["holders"][0], "application client age_ms state idle_in_transaction_ms query pid"),
        (&pool["causes"][0]["evidence"][0], "text numbers"),
    ];
    for (object, keys) in promised {
        for key in keys.split(' ') {
            assert!(object.as_object().unwrap().contains_key(key), "{key} is missing in {}", names(object));
        }
    }
    assert_eq!(pool["binding_limit"]["name"], "user");
    assert_eq!((&pool["gains"][0]["gain"], &pool["gains"][0]["next_limit"]), (&17.into(), &"pool_size".into()));
    assert_eq!((&pool["gains"][1]["limit"], &pool["gains"][1]["gain"]), (&"pool_size".into(), &0.into()));
    assert_eq!(pool["causes"][0]["share"], 0.97);
    assert_eq!(pool["causes"][2]["evidence"][0]["numbers"]["size"], 20);
    assert_eq!(pool["holders"][0]["age_ms"], 41_000);
    assert_eq!((&pool["forecast"]["headroom"], &pool["forecast"]["exhausted_in_s"]), (&9.5.into(), &Value::Null));
    let (_, rising) = situations().into_iter().find(|(name, _)| *name == "it_comes_to_its_end").unwrap();
    let forecast = &json(&rising, Texts::Shown)["pools"][0]["forecast"];
    for key in ["headroom", "exhausted_in_s", "cause", "interval_s", "limit", "evidence", "next_step", "none"] {
        assert!(forecast.as_object().unwrap().contains_key(key), "{key} is missing in {}", names(forecast));
    }
    assert_eq!((&forecast["cause"], &forecast["exhausted_in_s"]), (&"demand_growth".into(), &742.0.into()));
    assert_eq!(forecast["interval_s"], serde_json::json!([601.0, 980.0]));
    assert_eq!(pool["rates"]["hold_ms"], 21.1);
    assert_eq!(pool["demand"], serde_json::json!([2, 5, 20]));
    assert_eq!(pool["changes"][0]["at"], "2024-08-15T07:51:48Z");
}

#[test]
fn what_json_cannot_say_is_null() {
    let (_, mut why) = situations().into_iter().find(|(name, _)| *name == "the_pool_is_too_small").unwrap();
    why.pools[0].gains[0].per_second = f64::INFINITY;
    why.pools[0].rates.wait_us = Some(f64::NAN);
    let value = json(&why, Texts::Shown);
    let gain = &value["pools"][0]["gains"][0];
    assert_eq!((&gain["gain"], &gain["per_second"]), (&Value::Null, &Value::Null));
    assert_eq!(value["pools"][0]["rates"]["wait_ms"], Value::Null);
}
