//! The pooler's own watcher shown simulated traffic, second by second: what it foresees, and what a scenario may say for that.

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_sim::queueing::play_watched;
use poolwarden_sim::scenario::{self, FaultKind, Scenario};
use poolwarden_watch::{Alerts, CauseCode, Notice, Urgency, Watch};

fn read(text: &str) -> Scenario {
    scenario::read(text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// What was told, and in which second; and the second in which somebody first had to wait.
fn told(text: &str) -> (Vec<(u64, Notice)>, u64) {
    let scenario = read(text);
    let (config, findings) = Config::parse(&scenario.pooler, |_| Err("no secrets".to_owned()));
    let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    let (mut watch, mut alerts, mut notices) = (Watch::default(), Alerts::default(), Vec::new());
    let mut look = |view: &poolwarden_watch::View| {
        watch.observe(view);
        let told = alerts.take(view, &watch.why(view, None));
        notices.extend(told.into_iter().map(|notice| (view.uptime_ms() / 1_000, notice)));
    };
    let played = play_watched(&scenario, &config, &mut look).unwrap_or_else(|why| panic!("{why}"));
    let waited = played.course.pools[0].moments.iter().position(|moment| moment.waiting > 3.0);
    (notices, waited.map_or(u64::MAX, |place| (played.course.step * place as u32).as_secs()))
}

fn early(notices: &[(u64, Notice)], cause: CauseCode) -> Option<u64> {
    notices.iter().find_map(|(at, notice)| match notice {
        Notice::Opened(alert) | Notice::Changed(alert) => {
            (alert.urgency == Urgency::PageEarly && alert.cause == Some(cause)).then_some(*at)
        }
        Notice::Resolved(_) => None,
    })
}

const HEAD: &str = "[scenario]\nname = \"t\"\nseed = 5\n[pool]\nsize = 12\nbudget = 60\n\
                    [[phase]]\nname = \"calm\"\nfor = \"20m\"\n[[phase]]\nname = \"trouble\"\nfor = \"25m\"\n";

#[test]
fn forgotten_connections_page_long_before_anybody_waits() {
    let leak = "[[load]]\nname = \"web\"\nrate = \"100/s\"\nhold = { p50 = \"25ms\", p99 = \"120ms\" }\n\
                [[load]]\nname = \"etl\"\nclients = 40\nrate = \"0.0001/s\"\nhold = { constant = \"5ms\", idle = \"24h\" }\n\
                in.trouble = { rate = \"0.008/s\" }\n";
    let (notices, waited) = told(&format!("{HEAD}{leak}"));
    let paged = early(&notices, CauseCode::Leak).unwrap_or_else(|| panic!("{notices:#?}"));
    assert!(paged > 1_200 && paged + 120 < waited, "paged at {paged}, they wait at {waited}");
    let (_, first) = &notices[0];
    let Notice::Opened(alert) = first else { panic!("{first:?}") };
    assert!(alert.summary.contains("\"etl\"") && alert.next_step.contains("terminate --stuck app"), "{alert:?}");
}

#[test]
fn holds_that_grow_page_with_the_statement_and_steady_traffic_pages_nobody() {
    let slow = "[[load]]\nname = \"web\"\nrate = \"60/s\"\nhold = { p50 = \"25ms\", p99 = \"120ms\" }\n\
                [[load]]\nname = \"report\"\nrate = \"60/s\"\nhold = { p50 = \"25ms\", p99 = \"120ms\" }\n\
                in.trouble = { hold = { p50 = \"25ms\", p99 = \"120ms\", grows = 8 } }\n";
    let (notices, waited) = told(&format!("{HEAD}{slow}"));
    let paged = early(&notices, CauseCode::SlowQuery).unwrap_or_else(|| panic!("{notices:#?}"));
    assert!(paged > 1_200 && paged + 120 < waited, "paged at {paged}, they wait at {waited}");
    let steady = slow.replace(", grows = 8", "");
    let (notices, _) = told(&format!("{HEAD}{steady}"));
    assert!(notices.is_empty(), "{notices:#?}");
}

#[test]
fn faults_are_repeated_and_name_who_takes_the_slots() {
    let fault = "[[load]]\nname = \"web\"\nrate = \"10/s\"\nhold = { constant = \"5ms\" }\n[[fault]]\nat = \"10s\"\n\
                 kind = \"foreign_slots\"\napplication = \"etl\"\nslots = 2\nfor = \"1h\"\nevery = \"5s\"\ntimes = 3\n";
    let scenario = read(&format!("{HEAD}{fault}"));
    let at: Vec<u64> = scenario.faults.iter().map(|fault| fault.at.as_secs()).collect();
    assert_eq!(at, [10, 15, 20]);
    let hour = Duration::from_secs(3_600);
    assert!(scenario.faults.iter().all(|of| of.kind == FaultKind::ForeignSlots(2, hour, "etl".to_owned())));
    let refused = scenario::read(&format!("{HEAD}{}", fault.replace("every = \"5s\"\n", ""))).unwrap_err();
    assert!(refused[0].message.contains("every"), "{refused:?}");
}
