//! Whatever stands in a file, reading it ends, and every finding can be shown.

use poolwarden_config::{Config, SecretRef, render};
use proptest::prelude::*;

fn read(text: &str) -> bool {
    let (config, findings) = Config::parse(text, |wanted: SecretRef| Err(format!("{wanted:?}")));
    assert!(config.is_some() || !findings.is_empty(), "refused without a word");
    for finding in &findings {
        assert!(text.is_char_boundary(finding.span.start) && text.is_char_boundary(finding.span.end));
    }
    config.is_some() || !render("any.toml", text, &findings).is_empty()
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn a_good_file_with_some_bytes_changed_is_read_without_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = include_bytes!("product.toml").to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(read(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn any_value_for_any_setting_is_read_without_panic(
        setting in any::<proptest::sample::Index>(),
        value in prop_oneof![
            "[0-9]{0,25}", "-?[0-9]{1,5}\\.[0-9]{1,5}", "\"[ -!#-~]{0,20}\"", "\\[\"[a-z0-9:./]{0,20}\"\\]",
            "\\{ [a-z]{1,5} = 1 \\}", "nan|inf|-inf|true|1979-05-27|0x[0-9A-F]{1,20}",
        ],
    ) {
        let key = setting.get(poolwarden_config::CATALOGUE).key.replace("[]", "").replace("NAME", "\"*\"");
        let text = format!("servers.main.port = 1\n{key} = {value}\n");
        prop_assert!(read(&text));
    }

    #[test]
    fn any_url_is_read_without_panic(url in "postgres(ql)?://[ -~é]{0,60}") {
        if let Err(why) = Config::from_url(&url) {
            prop_assert!(!why.to_string().is_empty());
        }
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    assert!(read(&format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000))));
    assert!(read(&format!("{}a = 1", "a.".repeat(100_000))));
}
