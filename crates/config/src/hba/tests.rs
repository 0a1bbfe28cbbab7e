//! Rules as text: what is read, and what is said of what is not.

use super::*;
use crate::finding::Severity;

fn only(text: &str) -> HbaRule {
    let (rules, findings) = parse(text);
    assert_eq!(findings, [], "{text}");
    assert_eq!(rules.len(), 1, "{text}");
    rules[0].clone()
}

fn fault(text: &str) -> String {
    let (rules, findings) = parse(text);
    assert_eq!((rules.len(), findings.len()), (0, 1), "{text}: {findings:?}");
    assert_eq!(findings[0].severity, Severity::Error);
    findings[0].message.clone()
}

fn network(text: &str) -> Source {
    Source::Network(Network::parse(text).expect("a network"))
}

#[test]
fn a_rule_is_read_with_all_its_columns() {
    let rule = only("# comment\n\nhostssl a,\"b c\", all  al,\"all\" 10.0.0.0/8 cert map=m # more\n");
    assert_eq!(
        rule,
        HbaRule {
            line: 3,
            door: Door::HostSsl,
            databases: vec![DatabaseName::Name("a".into()), DatabaseName::Name("b c".into()), DatabaseName::All],
            users: vec![UserName::Name("al".into()), UserName::Name("all".into())],
            source: network("10.0.0.0/8"),
            method: HbaMethod::Cert,
            map: Some("m".into()),
        }
    );
}

#[test]
fn addresses_have_all_their_forms() {
    for (text, source) in [
        ("all", Source::All),
        ("samehost", Source::SameHost),
        ("10.1.2.3/32", network("10.1.2.3/32")),
        ("10.1.2.0 255.255.255.0", network("10.1.2.0/24")),
        ("0.0.0.0 0.0.0.0", network("0.0.0.0/0")),
        ("::1/128", network("::1/128")),
        ("fe80:: ffff::", network("fe80::/16")),
    ] {
        assert_eq!(only(&format!("host all all {text} trust")).source, source, "{text}");
    }
    for text in ["10.0.0.1 255.0.255.0", "10.0.0.1 ffff::", "example.org", ".example.org", "10.0.0.0/33", "samenet"] {
        assert!(fault(&format!("host all all {text} trust")).contains("write"), "{text}");
    }
}

#[test]
fn keywords_in_quotes_are_names() {
    let rule = only("local \"all\",sameuser,replication,\"replication\" all peer map=x");
    let name = |text: &str| DatabaseName::Name(text.to_owned());
    let databases = vec![name("all"), DatabaseName::SameUser, DatabaseName::Replication, name("replication")];
    assert_eq!(rule.databases, databases);
    assert_eq!((rule.source, rule.method), (Source::All, HbaMethod::Peer));
}

#[test]
fn what_is_not_understood_is_a_fault_of_its_line() {
    for (text, word) in [
        ("host all all all", "method"),
        ("host all all all ldap", "ldap"),
        ("host all +admins all md5", "+admins"),
        ("host samerole all all md5", "samerole"),
        ("host all all all peer", "local"),
        ("host all all all cert", "hostssl"),
        ("host all all all md5 map=x", "map="),
        ("hostssl all all all cert clientcert=verify-full", "clientcert"),
        ("hostssl all all all cert nonsense", "nonsense"),
        ("include other.conf", "include"),
        ("door all all all md5", "door"),
        ("host all \"open all md5", "quote"),
        ("host a, all all md5,", "comma"),
        ("host a , b all all md5", "comma"),
        ("host all @users all md5", "@users"),
    ] {
        assert!(fault(text).contains(word), "{text}: {}", fault(text));
    }
}

#[test]
fn names_come_from_other_files() {
    let mut resolve = |file: &str| match file {
        "users.txt" => Ok("alice, bob\n# nobody\n\"carol c\"\n".to_owned()),
        "loop.txt" => Ok("@users.txt".to_owned()),
        other => Err(format!("{other}: no such file")),
    };
    let (rules, findings) = parse_with("host all root,@users.txt all md5", &mut resolve);
    assert_eq!(findings, []);
    let names: Vec<UserName> =
        ["root", "alice", "bob", "carol c"].iter().map(|name| UserName::Name((*name).to_owned())).collect();
    assert_eq!(rules[0].users, names);
    for file in ["loop.txt", "none.txt"] {
        let (rules, findings) = parse_with(&format!("host all @{file} all md5"), &mut resolve);
        assert_eq!((rules.len(), findings.len()), (0, 1));
        assert!(findings[0].message.contains(file), "{findings:?}");
    }
}

#[test]
fn a_line_goes_on_behind_a_backslash_and_faults_hide_no_others() {
    let (rules, findings) = parse("host all \\\n all all \\\n md5\nnonsense\nlocal all all trust\nhost x");
    assert_eq!(rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4, 6]);
}
