//! Texts that nobody wrote by hand: readers of other people's files neither fall, nor show secrets, nor take long.

use super::tests::{Dice, corrupted, read_whole};
use super::{Input, gather};

const RULES: &str = "groups:\n- name: pgb # ä\n  rules:\n  - alert: Waits\n    expr: |\n      sum(a) / clamp_min(b, 1) > 0.8\n    for: 5m\n  - &x {alert: \"B\", expr: 'up == 0'}\n  - *x\n";
const SPRING: &str = "spring:\n  datasource: &d\n    url: \"jdbc:postgresql://db:6432/shop?socketTimeout=30&options=-c%20statement_timeout=5s\"\n    password: hunter2\n    hikari:\n      maximum-pool-size: ${N:20}\n      max-lifetime: 30m\nother:\n  datasource:\n    <<: *d\n---\nspring.config.activate.on-profile: prod\n";
const PROPERTIES: &str = "# é\nspring.datasource.url=jdbc\\:postgresql\\://db/shop?user=a&password=hunter2\nspring.datasource.hikari.maximumPoolSize = 30\n#---\nmaximumPoolSize:\\\n  5\nname=\\u00e9\n";
const RAILS: &str = "default: &default\n  adapter: postgresql\n  pool: <%= ENV.fetch(\"RAILS_MAX_THREADS\") { 5 } %>\n  password: hunter2\nproduction:\n  primary:\n    <<: *default\n    url: 'postgres://u:hunter2@h/db?pool=7'\n  cache:\n    <<: *default\n    variables: {statement_timeout: 5s}\n<% end %>\n";
const PYTHON: &str = "SIZE = int(os.getenv(\"SIZE\", \"20\"))\nARGS = {\"options\": \"-c statement_timeout=5000\", 'password': 'hunter2'}\nengine = create_engine(f\"postgresql+psycopg://u:hunter2@h/db?x=1\", pool_size=SIZE, max_overflow=-1, connect_args=ARGS, **{'é': 1})  # é\n";
const ENV: &str = "export DATABASE_URL=\"postgres://u:hunter2@db:6432/shop?pool_max_conns=30&pool_max_conn_lifetime=1h30m&options=-c%20a%3Db\"\nRAILS_MAX_THREADS=5 # é\nX=postgres://[::1]:5433/x?max=5&password=hunter2\n";
const ALL: [(&str, &str); 6] = [
    ("rules.yml", RULES),
    ("application.yml", SPRING),
    ("application.properties", PROPERTIES),
    ("database.yml", RAILS),
    ("db.py", PYTHON),
    (".env", ENV),
];

#[test]
fn two_thousand_corruptions_of_each_are_read() {
    let dice = &mut Dice(0x2545_f491_4f6c_dd1d);
    for (name, text) in ALL {
        for _ in 0..2000 {
            read_whole(&[(name, &corrupted(text, dice))]);
        }
    }
}

#[test]
fn sound_ones_are_read_and_show_no_secret() {
    for (name, text) in ALL {
        let all = gather(&[Input::File { name: name.to_owned(), text: text.to_owned() }], &mut |_| Err(String::new()));
        assert!(all.unreadable.is_empty(), "{name}: {:?}", all.unreadable);
        assert!(!format!("{all:?}").contains("hunter2"), "{name}: {all:#?}");
        assert_eq!(all.dossier.texts[0].text.len(), text.len(), "{name}");
    }
}

/// A text of one part over and over, `N` its number.
fn long(part: &str) -> String {
    let mut text = String::new();
    let mut n = 0;
    while text.len() < 1 << 19 {
        n += 1;
        text += &part.replace('N', &n.to_string());
    }
    text
}

/// Half a megabyte takes some tens of milliseconds; what is quadratic would take minutes, and the runner ends it.
#[test]
fn long_ones_take_no_longer_than_their_length() {
    for (name, head, part) in [
        ("rules.yml", "groups:\n- rules:\n", "  - {alert: AN, expr: up}\n"),
        ("rules.yml", "groups:\n- rules: [", "{alert: AN, expr: up},"),
        ("application.yml", "spring:\n", "  dN: {url: x}\n"),
        ("application.yml", "a: ", "{a: "),
        ("application.yml", "a: ", "\"x\\\""),
        ("application.yml", "a: &a x\n", "aN: &aN [*a, *a]\n"),
        ("application.yml", "", "? "),
        ("application.yml", "", "- "),
        ("application.properties", "", "dN.datasource.url=jdbc:postgresql://h/N\n"),
        ("application.properties", "", "maximumPoolSize=N\n"),
        ("application.properties", "x=", "y\\\n"),
        ("application.properties", "", "a.b.c."),
        ("database.yml", "production:\n", "  dN: {adapter: postgresql}\n"),
        ("database.yml", "production:\n  pool: ", "<%= "),
        ("database.yml", "production:\n  pool: 5\n", "<%= x %>"),
        ("db.py", "", "e = create_engine('postgresql://h/N', pool_size=N)\n"),
        ("db.py", "create_engine(", "a=N,"),
        ("db.py", "", "create_engine("),
        ("db.py", "", "a = b\n"),
        ("db.py", "x = ", "a = "),
        ("db.py", "", "'"),
        (".env", "", "postgres://hN/db?max=5 "),
        (".env", "A=postgres://h/db?options=", "-c%20a=N%20"),
        (".env", "", "postg"),
        (".env", "", "V_N=5\n"),
    ] {
        let text = format!("{head}{}", long(part));
        let length = text.len();
        let all = gather(&[Input::File { name: name.to_owned(), text }], &mut |_| Err(String::new()));
        assert_eq!(all.dossier.texts[0].text.len(), length);
    }
}
