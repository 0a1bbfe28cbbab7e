//! `[peers.ID]`: the other instances behind the same address.

use std::collections::BTreeMap;

use super::{Build, Scope};
use crate::finding::Severity;
use crate::model::Peer;
use crate::walk::Named;

impl Build<'_> {
    pub(super) fn peers(&mut self) -> BTreeMap<u8, Peer> {
        let own = self.number(&Scope::top("poolwarden"), "instance_id");
        let names = self.names("peers");
        if let (None, Some(first)) = (own, names.first()) {
            let texts = (
                "peers are named, and this instance has no id: nobody could tell whose cancel keys are whose"
                    .to_owned(),
                "write instance_id = 1 below [poolwarden], another number on each instance".to_owned(),
            );
            self.finding(Severity::Error, "missing", first.span.clone(), texts);
        }
        names.into_iter().filter_map(|named| self.peer(&named, own)).collect()
    }

    fn peer(&mut self, named: &Named, own: Option<u32>) -> Option<(u8, Peer)> {
        let scope = Scope::named("peers", &named.name);
        let Some(id) = named.name.parse::<u8>().ok().filter(|id| *id > 0) else {
            let texts = (
                format!("peers.{}: a peer is named by its instance_id, 1 to 255", named.name),
                "write [peers.2] for the instance whose instance_id is 2".to_owned(),
            );
            self.finding(Severity::Error, "wrong-value", named.span.clone(), texts);
            return None;
        };
        if own == Some(u32::from(id)) {
            return None; // one file may serve all instances: this is ourselves
        }
        let host = self.host(&scope, named);
        let port = self.number(&scope, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or(6432);
        Some((id, Peer { host, port }))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Config, Host};

    fn parse(text: &str) -> Result<Config, String> {
        let text = format!("{text}\n[servers.main]\nhost = \"db\"\n\n[pools.app]\nserver = \"main\"\n");
        let (config, findings) = Config::parse(&text, |_| Err("no secrets here".to_owned()));
        let said = findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("\n");
        config.ok_or(said)
    }

    #[test]
    fn one_file_serves_every_instance() {
        let peers = "[peers.1]\nhost = \"10.0.0.1\"\n[peers.2]\nhost = \"two\"\nport = 7432\n";
        let config = parse(&format!("[poolwarden]\ninstance_id = 1\n{peers}")).unwrap();
        assert_eq!(config.poolwarden.instance_id, Some(1));
        let known: Vec<_> = config.peers.iter().map(|(id, peer)| (*id, peer.host.clone(), peer.port)).collect();
        assert_eq!(known, [(2, Host::Name("two".to_owned()), 7432)]);
    }

    #[test]
    fn peers_need_an_instance_id_and_ids_are_bytes() {
        let said = parse("[peers.2]\nhost = \"two\"\n").unwrap_err();
        assert!(said.contains("this instance has no id"), "{said}");
        let said = parse("[poolwarden]\ninstance_id = 1\n[peers.300]\nhost = \"two\"\n").unwrap_err();
        assert!(said.contains("1 to 255"), "{said}");
    }
}
