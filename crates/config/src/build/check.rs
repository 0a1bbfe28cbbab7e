//! What only shows when all sections are read: remarks that refuse nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::{AuthMethod, Config};

impl Build<'_> {
    pub(super) fn check(&mut self, config: &Config) {
        self.check_auth(config);
        self.check_reserves(config);
        self.say_what_only_is_read();
    }

    fn check_auth(&mut self, config: &Config) {
        let scope = Scope::top("auth");
        let span = self.span(&scope, "method");
        let open = config.listen.addresses.iter().find(|address| !address.ip().is_loopback());
        match (config.auth.method, open) {
            (AuthMethod::Trust, Some(address)) => {
                let message =
                    format!("auth.method = \"trust\" while listening on {address}: whoever reaches it is let in");
                let texts = (message, "write method = \"scram-sha-256\", or listen on loopback only".to_owned());
                self.finding(Severity::Warning, "open-door", span, texts);
            }
            (AuthMethod::Trust | AuthMethod::Cert | AuthMethod::Peer | AuthMethod::Hba, _) => {}
            (AuthMethod::Password | AuthMethod::Md5 | AuthMethod::ScramSha256, _) => {
                let listed = config.users.values().any(|user| user.secret.is_some()) || !config.auth.listed.is_empty();
                if !listed && config.auth.query.is_none() {
                    let message = "no user has a secret: nobody can log in".to_owned();
                    let texts = (
                        message,
                        "write [users.NAME] with scram_file or password_env, auth.userlist or auth.user".to_owned(),
                    );
                    self.finding(Severity::Warning, "locked-door", span, texts);
                }
            }
        }
    }

    /// One remark per section whose settings nothing acts on yet.
    fn say_what_only_is_read(&mut self) {
        let mut idle: BTreeMap<&'static str, (Range<usize>, Vec<String>)> = BTreeMap::new();
        for (key, written) in self.walked.values.iter().filter(|(_, written)| !written.setting.acts) {
            let section = written.setting.key.split(['.', '[']).next().unwrap_or(written.setting.key);
            let entry = idle.entry(section).or_insert_with(|| (written.span.clone(), Vec::new()));
            entry.1.push(key.clone());
        }
        for (section, (span, keys)) in idle {
            let more = if keys.len() > 1 { format!(" and {} more", keys.len() - 1) } else { String::new() };
            let message =
                format!("[{section}]: {}{more} is read and checked, but nothing in this release acts on it", keys[0]);
            self.finding(Severity::Info, "not-yet", span, (message, String::new()));
        }
    }
}
