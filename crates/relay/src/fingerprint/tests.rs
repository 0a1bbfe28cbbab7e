//! What reads alike and what does not: a table of texts, and properties of any text.

use proptest::prelude::*;

use super::*;
use crate::sql::Pairs;

fn read(text: &str) -> String {
    String::from_utf8(normalised(text.as_bytes(), Dialect::default())).unwrap()
}

#[test]
fn a_statement_reads_without_its_literals() {
    for (text, expected) in [
        ("", ""),
        ("  -- nothing\n/* at /* all */ */ ;", ""),
        ("SELECT 1", "select ?"),
        (
            "select 'it''s', E'a\\'b', U&'\\0041', B'01', X'ff', N'x', $$a'b$$, $t$ $x$ $t$",
            "select ?, ?, ?, ?, ?, ?, ?, ?",
        ),
        ("select 1, -2, + 3, 4.5, .5, 5., 1e10, 1.5E-3, 0xFF, 1_000, 1e", "select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"),
        ("select NULL, TRUE, false", "select null, true, false"),
        ("select a-1, a - 1, a -1, -a, (-1), - -1, 2 - -1", "select a - ?, a - ?, a - ?, - a, (?), ?, ? - ?"),
        ("SELECT \"Order\".\"Id\" FROM \"Order\"", "select \"Order\".\"Id\" from \"Order\""),
        ("select*from T where A=$1 and b<>$2", "select * from t where a = ? and b <> ?"),
        ("select count( * ),max(x) from s . t", "select count(*), max(x) from s.t"),
        ("select a::text, b :: int[], c[1:2]", "select a::text, b::int[], c[?:?]"),
        (
            "select a<-1, a<=-1, a||'x', a @-1, a->>'b', a ? 'b', a ?| b",
            "select a < ?, a <= ?, a || ?, a @- ?, a ->> ?, a ? ?, a ?| b",
        ),
        ("select a/*x*/+/*y*/b--z\n+1", "select a + b + ?"),
        ("select 1;", "select ?"),
        ("begin; select 1 ;; commit;", "begin; select ?;; commit"),
        (
            "select * from t where a between 1 and -2 limit 10 offset 20",
            "select * from t where a between ? and ? limit ? offset ?",
        ),
        ("update t set a = 1, b = 'x' where (id) = ($1)", "update t set a = ?, b = ? where (id) = (?)"),
        ("select t1.c2 from t1, t2", "select t1.c2 from t1, t2"),
        ("select f(1, 2)", "select f(?, ?)"),
        ("select interval '1 day', date '2024-08-15'", "select interval ?, date ?"),
        ("select 'open", "select ?"),
        ("select \"open 'x'", "select \"open 'x'"),
        ("select $tag$ open", "select ?"),
        ("select 1 /* open", "select ?"),
        ("SÉLECT ünï", "sÉlect ünï"),
    ] {
        assert_eq!(read(text), expected, "{text}");
        assert_eq!(read(expected), expected, "what it reads as reads as itself");
    }
}

#[test]
fn lists_of_any_length_are_one_form() {
    for (texts, expected) in [
        (["x in (1)", "x IN (1,2,3)", "x in ( 'a' , $2,/**/ -5 , 1.5e-3)"], "x in (?)"),
        (["x in (1::int8)", "x in (1::int8,2::int8)", "x in ($1::int8, $2::int8)"], "x in (?::int8)"),
        (["(a,b) in ((1,2))", "(a,b) in ((1,2),(3,4))", "(a, b) IN ((1,2),($1,$2),(5,6))"], "(a, b) in ((?, ?))"),
        (["x = any(array[1])", "x = ANY(ARRAY[1,2])", "x = any(array['a','b','c'])"], "x = any (array[?])"),
        (
            [
                "insert into t (a, b) values (1, 'x')",
                "insert into t(a,b) VALUES (1,'x'),(2,null)",
                "insert into t (a,b) values ($1,$2),($3,true) , (-5,6)",
            ],
            "insert into t(a, b) values (?, ?)",
        ),
        (
            [
                "insert into t values (1, now(), default) on conflict do nothing",
                "insert into t values (1, now(), default), (2, now(), default) on conflict do nothing",
                "insert into t values (1,now(),default),(NULL,now(),default),(3,now(),default) on conflict do nothing",
            ],
            "insert into t values (?, now(), default) on conflict do nothing",
        ),
        (
            [
                "select * from (values (1,2)) v(a,b) where a in (1)",
                "select * from (values (1,2),(3,4)) v(a,b) where a in (1,2)",
                "select * from (values (1,2),(3,4),(5,6)) v(a,b) where a in (1,2,3)",
            ],
            "select * from (values (?, ?)) v(a, b) where a in (?)",
        ),
        (
            ["x in (select a, a from t)", "x in (SELECT a,a from t)", "x IN ( select a , a from t )"],
            "x in (select a, a from t)",
        ),
    ] {
        for text in texts {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read(expected), expected);
    }
    assert_eq!(read("x in (a, 1, b)"), "x in (a, ?, b)");
    assert_eq!(read("values (1), x"), "values (?), x");
    assert_eq!(read("values (1) + (1), (1)"), "values (?) + (?), (?)");
    assert_eq!(read("x in (1, 2"), "x in (?, ?");
}

#[test]
fn names_make_a_difference_and_their_case_does_not_where_they_are_bare() {
    let of = |text: &str| fingerprint(normalised(text.as_bytes(), Dialect::default()).as_slice());
    for (one, other, same) in [
        ("select a from t", "SELECT A\nFROM T", true),
        ("select a from t", "select \"a\" from t", false),
        ("select a from t1", "select a from t2", false),
        ("select \"A\"", "select \"a\"", false),
        ("select null", "select 1", false),
        ("select a - 1", "select a + 1", false),
        ("select 1", "select '1' -- x", true),
        ("select a b", "select ab", false),
        ("select a.b", "select a b", false),
    ] {
        assert_eq!(of(one) == of(other), same, "{one} | {other}");
    }
    assert_eq!(of("; -- nothing"), 0);
    assert_ne!(of("select 1"), 0);
}

#[test]
fn a_dialect_decides_where_a_string_ends() {
    let escapes = Dialect { escapes: true, pairs: Pairs::None };
    assert_eq!(normalised(b"select 'it\\'s secret', x", escapes), b"select ?, x");
    let pairs = Dialect { escapes: false, pairs: Pairs::ShiftJis };
    assert_eq!(normalised(b"select '\x83' secret', x", pairs), b"select ?, x");
}

#[test]
fn a_long_text_is_read_up_to_its_bound_and_shown_up_to_another() {
    let list = |count: usize| format!("select a from t where id in ({})", vec!["12345"; count].join(", "));
    let (long, longer) = (read(&list(10_000)), read(&list(20_000)));
    assert_eq!(long, "select a from t where id in (? ...");
    assert_eq!(long, longer);
    let wide = format!("select {}", (0..1_000).map(|column| format!("é{column}")).collect::<Vec<_>>().join(", "));
    let text = shown(&normalised(wide.as_bytes(), Dialect::default()));
    assert!(text.len() <= MAX_QUERY && text.len() > MAX_QUERY - 8 && text.ends_with("..."), "{text}");
    assert_eq!(&*shown(b"select a\xff\x01\xc2\x85"), "select a\u{fffd} \u{fffd}");
    assert!(shown(&[0xff; 2 * MAX_QUERY]).len() <= MAX_QUERY);
}

#[test]
fn time_is_linear_in_the_text_however_it_is_nested() {
    for text in ["(", "in (", "values (", "array[", "a,", "in ((a,b),", "$a$b", "- ", "values (1),", "/*", "\"", "'a'"]
    {
        let text = text.repeat(MAX_READ / text.len() + 1);
        let normal = normalised(text.as_bytes(), Dialect::default());
        assert!(normal.len() <= 3 * MAX_READ, "{}", normal.len());
    }
}

/// Pieces of which texts are made that come upon every rule.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "select", "in", "(", ")", ",", "values", "array", "[", "]", "null", "true", "-", "+", "*", "/", "?", "?|", ".",
        ":", "::", "$", "$1", "$$a$$", "$t$", "'", "''", "'a'", "\"", "\"A b\"", "e'\\''", "u&\"x\"", "u&'x'", "--",
        "\n", "/*", "*/", " ", "1", "-2.5e-7", "0xff", "t1", "é", ";", "=", "<", "@", "\u{1}", "x", "E", "..", "and",
        "\\",
    ]);
    prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => "\\PC{0,3}"]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop::collection::vec((piece(), any::<bool>()), 0..40).prop_map(|pieces| {
        pieces.into_iter().map(|(piece, apart)| if apart { format!("{piece} ") } else { piece }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let normal = normalised(&bytes, Dialect::default());
        prop_assert_eq!(&normalised(&normal, Dialect::default()), &normal);
        prop_assert!(shown(&normal).len() <= MAX_QUERY);
    }

    #[test]
    fn what_a_text_reads_as_reads_as_itself(text in text()) {
        let normal = normalised(text.as_bytes(), Dialect::default());
        prop_assert_eq!(
            String::from_utf8_lossy(&normalised(&normal, Dialect::default())).into_owned(),
            String::from_utf8_lossy(&normal).into_owned()
        );
    }

    #[test]
    fn literals_white_space_and_case_make_no_difference(number in -9_999_i64..9_999, word in "[a-z ']{0,12}", wide in "[ \n\t]{1,4}") {
        let string = word.replace('\'', "''");
        let one = format!("select a, {number} from t where b = '{string}' and c in ({number}, 7)");
        let other = format!("SELECT a,{wide}1{wide}FROM t{wide}/* {string} */WHERE B='x'{wide}AND c IN (5,{wide}{number},{number})");
        prop_assert_eq!(read(&one), read(&other));
    }

    #[test]
    fn names_make_a_difference(one in "[a-z_][a-z0-9_]{0,8}", other in "[a-z_][a-z0-9_]{0,8}") {
        let of = |name: &str| read(&format!("select q.{name} from q where x = 1"));
        prop_assert_eq!(one == other, of(&one) == of(&other));
    }
}
