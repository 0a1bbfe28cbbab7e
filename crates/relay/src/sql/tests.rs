//! What texts are suspected of, and what they are not.

use super::*;

const ESCAPES: Dialect = Dialect { escapes: true, pairs: Pairs::None };

fn seen(text: &str) -> String {
    let Some(touch) = read(text.as_bytes(), Dialect::default()) else { return String::new() };
    let mut told: Vec<String> = touch
        .sets
        .iter()
        .map(|name| match name {
            Name::Is(name) => format!("set {name}"),
            Name::Parameter(number) => format!("set ${number}"),
        })
        .collect();
    told.extend(touch.resets.iter().map(|name| format!("reset {name}")));
    told.extend(touch.resets_all.then(|| "reset all".to_owned()));
    told.extend(touch.anything.then(|| "anything".to_owned()));
    told.extend(touch.makes.iter().map(|pin| format!("makes {}", pin.name())));
    if touch.ends == Pins::all() {
        told.push("ends all".to_owned());
    } else {
        told.extend(touch.ends.iter().map(|pin| format!("ends {}", pin.name())));
    }
    told.extend(touch.uses.iter().map(|one| {
        let named = &text[one.at.0..one.at.1];
        format!("{} {} as {named}", if one.deallocates { "drops" } else { "runs" }, String::from_utf8_lossy(&one.name))
    }));
    told.join(", ")
}

fn all_are_seen(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(seen(text), *expected, "{text}");
    }
}

#[test]
fn settings_that_are_set_or_taken_back_are_seen() {
    let cases = [
        ("set search_path = a, b", "set search_path"),
        ("SET SESSION search_path TO 'x'", "set search_path"),
        ("set app.tenant = '7'", "set app.tenant"),
        ("set \"app.Tenant\" = '7'", "set app.tenant"),
        ("SET session.tenant_id = '7'", "set session.tenant_id"),
        ("set session session.tenant to 7", "set session.tenant"),
        ("set session local.x = 1", "set local.x"),
        ("set local.x to 1", "set local.x"),
        ("set transaction.x = 1; set constraints . y = 2", "set transaction.x, set constraints.y"),
        ("set time.x = 1; set role.x = 1; set names.x = 1", "set time.x, set role.x, set names.x"),
        ("set schema.x = 1; set xml.x = default", "set schema.x, reset xml.x"),
        ("reset session.x; reset time.x; reset transaction.x", "reset session.x, reset time.x, reset transaction.x"),
        ("set time zone 'UTC'", "set timezone"),
        ("set time zone local", "reset timezone"),
        ("set names 'latin1'", "set client_encoding"),
        ("set schema 'x'", "set search_path"),
        ("set role anna", "set role"),
        ("set session role anna", "set role"),
        ("set session authorization anna", "set session_authorization"),
        ("set session authorization default", "reset session_authorization"),
        ("set datestyle to default", "reset datestyle"),
        ("set role = default", "reset role"),
        (
            "set session characteristics as transaction read only",
            "set default_transaction_isolation, set default_transaction_read_only, set default_transaction_deferrable",
        ),
        ("reset search_path", "reset search_path"),
        ("reset app.tenant;", "reset app.tenant"),
        ("reset all", "reset all"),
        ("reset session authorization", "reset session_authorization"),
        ("reset time zone", "reset timezone"),
        ("discard all", "reset role, reset session_authorization, reset all, ends all"),
        ("discard temp", "ends temp_table"),
    ];
    all_are_seen(&cases);
}

#[test]
fn functions_that_touch_the_session_are_seen_whatever_stands_around_them() {
    let cases = [
        ("select set_config('App.Tenant', $1, false)", "set app.tenant"),
        ("select pg_catalog . \"set_config\" ( 'a.b'::text , 'x', 'f')", "set a.b"),
        ("select set_config($2::text, $1, $3)", "set $2"),
        ("select set_config('a' || 'b', 'x', false)", "makes setting"),
        ("select set_config(setting_name => 'a', new_value => 'x', is_local => false)", "makes setting"),
        ("select set_config('a.b', coalesce(set_config('c.d', 'x', false), ''), false)", "set a.b, set c.d"),
        ("select U&\"set\\005fconfig\"('a', 'b', false)", "makes setting"),
        ("select set_config('a.b', 'x', $1 is true)", "set a.b"),
        ("select set_config('a.b', 'x', not true)", "set a.b"),
        ("select set_config('a.b', 'x', false is true is true)", "set a.b"),
        ("select set_config('a.b', 'x', true::bool is false)", "set a.b"),
        ("select set_config('a.b', 'x', 'f' 'true')", "set a.b"),
        (r"select set_config(E'r\x6fle', 'x', false)", "makes setting"),
        (r"select set_config(U&'r\006fle', 'x', false)", "makes setting"),
        ("select set_config(U&'r!006fle' uescape '!', 'x', false)", "makes setting"),
        ("select set_config(E'a.b', 'x', false)", "set a.b"),
        ("select U&\"set!005fconfig\" uescape '!' ('a', 'b', false)", "makes setting"),
        (r#"set U&"search\005fpath" = x"#, "makes setting"),
        (r#"set a.U&"\0062" = x"#, "makes setting"),
        (r#"reset U&"search\005fpath""#, "makes setting"),
        ("set search_path = PG_TEMP, public", "set search_path, anything"),
        ("set local search_path to 'pg_temp'", "anything"),
        ("select set_config('search_path', 'a, pg_temp', true)", "anything"),
        ("UPDATE pg_settings SET setting = '1' WHERE name = 'statement_timeout'", "anything"),
        ("update only Pg_Catalog . \"pg_settings\" set setting = '1'", "anything"),
        ("  update/* */PG_SETTINGS as s set setting = '1'", "anything"),
        ("with a as (select 1) update pg_settings set setting = '1'", "anything"),
        ("explain analyze update pg_settings set setting = '1'", "anything"),
        ("select pg_advisory_lock(1)", "makes advisory_lock"),
        ("select pg_try_advisory_lock_shared (1, 2)", "makes advisory_lock"),
        ("select pg_advisory_unlock_all()", "ends advisory_lock"),
    ];
    all_are_seen(&cases);
}

#[test]
fn what_makes_or_ends_state_is_seen() {
    let cases = [
        ("create temp table t (a int)", "makes temp_table"),
        ("create or replace local temporary view v as select 1", "makes temp_table"),
        ("create table pg_temp.t (a int)", "makes temp_table"),
        ("select 1 into temp t", "makes temp_table"),
        ("with a as (select 1) select * into local temporary t from a", "makes temp_table"),
        ("drop table t", "ends temp_table"),
        ("declare c scroll cursor with hold for select 1", "makes hold_cursor"),
        ("close c", "ends hold_cursor"),
        ("listen x", "makes listen"),
        ("unlisten *", "ends listen"),
        ("load 'auto_explain'", "makes load"),
        ("prepare p as select set_config('a.b', $1, false)", "set a.b, makes prepare"),
        ("deallocate \"P\"\"1\"", "ends prepare, drops P\"1 as \"P\"\"1\""),
        ("DEALLOCATE PREPARE Pdo_1", "ends prepare, drops pdo_1 as Pdo_1"),
        ("deallocate all", "ends prepare"),
        ("explain (analyze, costs off) execute p(1)", "ends prepare, runs p as p"),
        ("create table t as execute p(1)", "ends prepare, runs p as p"),
        ("create temp table t (a) as execute U&\"p\"", "anything, makes temp_table, ends prepare"),
        ("execute U&\"p\"(1)", "anything, ends prepare"),
        ("do $$ begin execute 'set a.b = 1'; end $$", "anything, ends prepare"),
        ("begin; set search_path = x; commit", "set search_path"),
        ("select 1 /* ; */ ; -- nothing\n set a.b = 1", "set a.b"),
        ("do $$ begin perform set_config('a.b', 'x', false); end $$", "set a.b"),
        ("do 'begin set search_path = x; end'", "set search_path"),
        ("/* tag */ set a.b = 1", "set a.b"),
        ("/* a /* b */ c */ set a.b = 1", "set a.b"),
        ("values (1); listen \"X\"", "makes listen"),
    ];
    all_are_seen(&cases);
}

#[test]
fn what_does_not_touch_it_is_not() {
    let texts = [
        "",
        ";",
        "select 1",
        "begin",
        "set local search_path = x",
        "set local session.x = 1",
        "set transaction isolation level serializable",
        "set constraints all deferred",
        "prepare transaction 'x'",
        "select set_config('a.b', 'x', true)",
        "select set_config('a.b', $1, 'on')",
        "select set_config('a.b', $1, TRUE::bool)",
        "select set_config('a.b', (select 'x, y'), 't'::boolean)",
        r"select U&'\0441' from t where a = lower(U&'\0441')",
        r#"select U&"\0441" from t where a = lower($1)"#,
        "update pgbench_accounts set a = 1 where b = 2",
        "update accounts set pg_settings = 1",
        "update t set a = (select setting from pg_setting)",
        "with a as (select setting from pg_settings) select * from a",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)",
        "select 'set_config(''a'', ''b'', false)'",
        "select $x$ ; set a = 1 $x$, $$;listen x$$",
        "select E'\\'; set a = 1; --'",
        "update t set a = 1 where set_config = 2",
        "insert into temp_readings (a) values (1)",
        "select temp from weather where account_type = 1 and a in (1, 2)",
        "create table t (a int)",
        "create function f() returns void language sql as 'select set_config(''a'', ''b'', false)'",
        "alter role anna set search_path = x",
        "alter database d reset all",
        "declare c cursor for select 1",
        "explain select 1",
        "select \"set_config\"",
        "comment on table t is 'listen'",
        "copy t from stdin",
    ];
    for text in texts {
        assert_eq!(seen(text), "", "{text}");
    }
}

#[test]
fn a_backslash_escapes_where_strings_do_not_conform() {
    let text = br"select 'a\'; set app.tenant = 1; --'";
    assert!(read(text, Dialect::default()).is_some(), "the string ends at the second quote, and a SET follows");
    assert!(read(text, ESCAPES).is_none(), "all of it is one string");
}

#[test]
fn a_character_that_ends_with_a_backslash_escapes_nothing() {
    let text = b"select E'\x95\\'; set app.tenant = '1'";
    for (encoding, hides) in
        [("SJIS", false), ("Shift_JIS_2004", false), ("gb18030", false), ("UTF8", true), ("", true)]
    {
        let dialect = Dialect { pairs: Pairs::of(encoding), ..Dialect::default() };
        assert_eq!(read(text, dialect).is_none(), hides, "{encoding}");
        let plain = b"select '\x95\\'; set app.tenant = '1'";
        assert_eq!(read(plain, Dialect { escapes: true, ..dialect }).is_none(), hides, "{encoding}");
    }
    let katakana = Dialect { pairs: Pairs::of("sjis"), ..Dialect::default() };
    assert!(read(b"select '\xb1'; listen x", katakana).is_some(), "half a pair it is not");
}

#[test]
fn statements_are_numbered_as_they_complete() {
    let touch = read(b"select 1;; deallocate a; begin; execute b(1)", Dialect::default()).unwrap();
    let numbers: Vec<(u32, usize)> = touch.uses.iter().map(|one| (one.number, one.start)).collect();
    assert_eq!(numbers, [(1, 11), (3, 32)]);
    assert_eq!(touch.statements, 4);
}

#[test]
fn nothing_makes_the_scanner_fail_or_run_for_ever() {
    let broken = [
        "'",
        "\"",
        "$",
        "$$",
        "$a",
        "$a$ x",
        "/*",
        "/*/*",
        "--",
        "e'\\",
        "set",
        "set a.",
        "set_config(",
        "do",
        "u&\"",
        "declare",
        "select set_config('a'",
        "explain (",
        "deallocate prepare",
        "set session",
        "reset",
        "prepare",
        "select a into",
        "\u{e9}(",
    ];
    for text in broken {
        for prefix in ["", "select 1;", "set ", "do '"] {
            read(format!("{prefix}{text}").as_bytes(), ESCAPES);
        }
    }
    // a scan that were not linear would take minutes for these
    for piece in ["(", "/*", "do $$", "set_config(", "$a$", "'", "explain ", "begin "] {
        let long = piece.repeat(20_000);
        read(long.as_bytes(), Dialect::default());
    }
}

#[test]
fn the_glance_misses_nothing_whatever_stands_around() {
    let touching = [
        "select set_config('a.b', '1', false)",
        "select pg_advisory_lock(1)",
        "select 1 into TeMp t",
        "select 1; listen x",
    ];
    for text in touching {
        for before in 0..40 {
            for after in 0..3 {
                let text = format!("select {}, {} {}", "1".repeat(before + 1), &text[7..], "9".repeat(after * 17));
                assert!(!is_plain(text.as_bytes()), "{text}");
            }
        }
    }
    let plain = [
        "select abalance from pgbench_accounts where aid = 42424;",
        "INSERT INTO t (a, b) VALUES ($1, $2)",
        "BEGIN",
        "commit",
        "\n  select count(*) from company_timestamps where a = 'x' ; ",
        "update t set a_b = lower($1) where id = $2",
    ];
    for text in plain {
        assert!(is_plain(text.as_bytes()), "{text}");
    }
}
