//! Users of this machine, by number.

use std::io;

/// The name of the system user with this number, from /etc/passwd: users known elsewhere (LDAP, say) are not found.
pub(crate) fn name(uid: u32) -> io::Result<Option<String>> {
    Ok(find(&std::fs::read_to_string("/etc/passwd")?, uid))
}

fn find(text: &str, uid: u32) -> Option<String> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, _password, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    text.lines().find_map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let text = "root:x:0:0:root:/root:/bin/sh\n# nonsense\npostgres:x:104:110::/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(text, 104).as_deref(), Some("postgres"));
        assert_eq!(find(text, 0).as_deref(), Some("root"));
        assert_eq!(find(text, 110), None, "that is a group");
    }
}
