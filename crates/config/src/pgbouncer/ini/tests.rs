//! The grammar against texts as people write them, and the faults they make.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct Files(BTreeMap<&'static str, &'static str>);

impl World for Files {
    fn read(&mut self, path: &str) -> Result<String, String> {
        self.0.get(path).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    }

    fn addresses(&mut self, _: &str) -> Result<Vec<IpAddr>, String> {
        Ok(Vec::new())
    }

    fn directory(&self) -> String {
        "/".to_owned()
    }
}

fn read(files: &[(&'static str, &'static str)]) -> Ini {
    let mut world = Files(files.iter().copied().collect());
    Ini::read("a.ini", &mut world).expect("a.ini is there")
}

fn told(ini: &Ini) -> Vec<String> {
    let told = |item: &Item| match item {
        Item::Section(word) => format!("[{}]", word.text),
        Item::Pair { key, value } => format!("{}={}", key.text, value.text),
    };
    ini.items.iter().map(told).collect()
}

fn faults(ini: &Ini) -> Vec<(usize, usize, String)> {
    let of =
        |source: &Source| source.findings.iter().map(|f| (f.line, f.column, f.message.clone())).collect::<Vec<_>>();
    ini.sources.iter().flat_map(of).collect()
}

#[test]
fn lines_comments_white_space_and_quotes_are_pgbouncers() {
    let text =
        "; c\n  # c\r\n[databases] a = host=x  \r\n\t\"b \"\"c\"\t=\tport=1 ; no comment\n\n x-y.z*1 =\n*=host=h";
    let ini = read(&[("a.ini", text)]);
    assert_eq!(faults(&ini), []);
    assert_eq!(told(&ini), ["[databases]", "a=host=x", "b \"c=port=1 ; no comment", "x-y.z*1=", "*=host=h"]);
}

#[test]
fn all_faults_are_told_with_their_places() {
    let ini = read(&[("a.ini", "[ok]\n[open\n a b\ndé = 1\n\"x = 1\n%frob\n%include\nk = v\n")]);
    assert_eq!(told(&ini), ["[ok]", "k=v"]);
    let places: Vec<(usize, usize)> = faults(&ini).into_iter().map(|(line, column, _)| (line, column)).collect();
    assert_eq!(places, [(2, 1), (3, 2), (4, 1), (5, 1), (6, 1), (7, 1)]);
}

#[test]
fn a_section_goes_on_into_an_include_and_back_out_of_it() {
    let ini = read(&[
        ("a.ini", "[x]\n  %include \tb.ini  \nlast = 1\n%include missing.ini\n"),
        ("b.ini", "inner = 1\n[y]\nk = [v\n"),
    ]);
    assert_eq!(told(&ini), ["[x]", "inner=1", "[y]", "k=[v", "last=1"]);
    let faults = faults(&ini);
    assert_eq!((faults.len(), faults[0].0), (1, 4));
    assert!(faults[0].2.contains("missing.ini") && faults[0].2.contains("no such file"), "{faults:?}");
}

#[test]
fn a_circle_of_includes_ends() {
    let ini = read(&[("a.ini", "%include a.ini\n%include a.ini\n")]);
    assert!(ini.sources.len() <= MOST_FILES);
    assert!(faults(&ini).iter().any(|(.., message)| message.contains("includes itself")));
}

#[test]
fn no_password_is_shown_and_every_place_stays() {
    for (line, hidden) in [
        ("a = password=geheim host=x\n", "a = password=****** host=x\n"),
        ("a = password='ge''h eim' host=x", "a = password=*********** host=x"),
        ("a = password = ge heim port = 1", "a = password = ******* port = 1"),
        ("a = user=x password='open host=x", "a = user=x password=************"),
        ("a = password=\u{e9}\u{e9}", "a = password=****"),
        ("a = PASSWORD=x password=y", "a = PASSWORD=* password=*"),
        ("; the password of x\n", "; the password of x\n"),
    ] {
        assert_eq!(masked(line), hidden);
    }
}
