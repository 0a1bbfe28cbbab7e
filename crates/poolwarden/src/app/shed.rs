//! A class shed by hand: what is meant, the word to every server, and the line in the log that says who wanted it.

use std::time::Duration;

use poolwarden_config::{Config, nearest, parse_duration, show_duration};
use poolwarden_console::http::{Shed, ShedOrder};
use poolwarden_console::rfc3339;
use poolwarden_pool::ClassId;
use poolwarden_watch::{Field, FieldValue, Level, LogLine};

use super::log::unix_ms;
use super::plan;
use super::running::Running;

/// Longer than anybody looks after it; a class that is never to be served is another setting.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Refuses the requests of a class at once, for as long as the order says; no time at all ends it.
///
/// The error says why nothing was done, and what to do instead.
pub(super) fn shed(running: &Running, order: ShedOrder) -> Result<Shed, (String, String)> {
    let starting = || ("poolwarden is starting".to_owned(), "try again in a moment".to_owned());
    let proxy = running.proxy().ok_or_else(starting)?;
    let (config, length) = (running.config(), length(&order.length)?);
    let class = class(&config, &order.class)?;
    let until = proxy.now() + length;
    plan::host_ids(&config).for_each(|host| proxy.shed(host, class, until));
    let until_ms = (!length.is_zero()).then(|| unix_ms() + u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    running.log.write(line(&order, until_ms.map(rfc3339)));
    Ok(Shed { class: order.class, until_ms })
}

fn length(text: &str) -> Result<Duration, (String, String)> {
    let length = parse_duration(text).map_err(|why| (why, "write a time with its unit: 10m".to_owned()))?;
    if length > LONGEST {
        let message = format!("{text} is longer than a class may be shed");
        return Err((message, format!("write {} or less", show_duration(LONGEST))));
    }
    Ok(length)
}

fn class(config: &Config, name: &str) -> Result<ClassId, (String, String)> {
    let known = || config.classes.keys().map(String::as_str);
    if let Some(id) = config.class_ids().get(name).filter(|_| config.classes.contains_key(name)) {
        return Ok(*id);
    }
    let fix = match nearest(name, known()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the classes are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Err((format!("no such class: {name}"), fix))
}

fn line(order: &ShedOrder, until: Option<String>) -> LogLine {
    let text = |name, value: &str| Field { name, value: FieldValue::Text(value.to_owned()) };
    let mut fields = vec![text("class", &order.class), text("by", &order.by)];
    let message = match until {
        Some(until) => {
            fields.push(text("until", &until));
            format!("class {} is shed until {until}, by {}: its requests are refused at once", order.class, order.by)
        }
        None => format!("class {} is shed no longer, by {}", order.class, order.by),
    };
    LogLine { level: Level::Warn, event: "shed", message, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_a_unit_and_is_a_day_at_most() {
        assert_eq!(length("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(length("0s"), Ok(Duration::ZERO));
        assert_eq!(length("24h"), Ok(LONGEST));
        assert!(length("25h").unwrap_err().1.ends_with("1d or less"), "{:?}", length("25h"));
        assert!(length("10").unwrap_err().1.contains("10m"));
    }

    #[test]
    fn a_class_that_is_not_there_is_answered_with_the_nearest_or_with_all() {
        let config = Config::from_url("postgres://app@db/app").unwrap();
        assert_eq!(class(&config, "batch"), Ok(config.class_ids()["batch"]));
        assert_eq!(class(&config, "bacth").unwrap_err().1, "did you mean batch?");
        assert_eq!(class(&config, "reporting").unwrap_err().1, "the classes are: batch, critical, default");
    }

    #[test]
    fn the_log_says_who_sheds_what_until_when() {
        let order = ShedOrder { class: "batch".into(), length: "10m".into(), by: "http from 127.0.0.1:5".into() };
        let begun = line(&order, Some("2024-08-15T08:10:00Z".to_owned()));
        assert!(begun.message.starts_with("class batch is shed until 2024-08-15T08:10:00Z, by http from 127.0.0.1:5"));
        assert_eq!(begun.fields.iter().map(|field| field.name).collect::<Vec<_>>(), ["class", "by", "until"]);
        assert_eq!(line(&order, None).message, "class batch is shed no longer, by http from 127.0.0.1:5");
    }
}
