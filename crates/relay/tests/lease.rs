//! What a client hears through the relay is what it would hear from PostgreSQL alone, whatever server connections it is lent.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod support;

use poolwarden_relay::Terms;
use support::script::Script;
use support::wire::{same, same_under};

fn s() -> Script {
    Script::new()
}

#[test]
fn an_error_in_a_pipeline_skips_to_its_sync_and_no_further() {
    same(&[s().once("select 1").once("error").once("select 2").sync().once("select 3").sync()]);
    same(&[s().query("select 1").query("error").query("select 2")]);
    same(&[s().once("error").sync().once("error").sync().query("error; select 1").query("select 2; select 3")]);
}

#[test]
fn a_simple_query_in_the_middle_of_a_batch_is_answered_or_skipped_as_there() {
    same(&[s().once("select 1").query("select 2").once("select 3").sync()]);
    same(&[s().once("error").query("select 2").once("select 3").sync().query("select 4")]);
    same(&[s().once("select 1").query("error").once("select 3").sync()]);
    same(&[s().once("begin").query("select 2").once("commit").sync()]);
}

#[test]
fn a_simple_query_without_the_sync_of_the_batch_before_it_gives_the_connection_back() {
    // three-way deadlock: the first client would keep the only connection although it has nothing open
    let first = s().once("select 1").query("select 2").wait();
    same(&[first.clone(), s().query("select 3"), first]);
}

#[test]
fn a_flush_without_sync_keeps_the_connection_and_the_portal() {
    same(&[
        s().parse("a", "rows 5 10")
            .describe(b'S', "a")
            .flush()
            .wait()
            .bind("", "a")
            .execute("", 2)
            .flush()
            .wait()
            .execute("", 0)
            .sync(),
        s().query("select 1"),
    ]);
}

#[test]
fn portals_are_suspended_and_end_with_their_transaction() {
    same(&[
        s().query("begin")
            .wait()
            .parse("a", "rows 5 10")
            .bind("p", "a")
            .execute("p", 2)
            .sync()
            .wait()
            .execute("p", 2)
            .sync()
            .wait()
            .close(b'P', "p")
            .sync()
            .execute("p", 1)
            .sync()
            .wait()
            .query("rollback")
            .bind("p", "a")
            .execute("p", 1)
            .sync()
            .execute("p", 1)
            .sync(),
        s().parse("a", "select other").run("a").sync(),
    ]);
    same(&[s().parse("same", "rows 3 1").bind("same", "same").close(b'P', "same").sync().run("same").sync()]);
}

#[test]
fn describe_is_answered_before_anything_ran() {
    same(&[s()
        .parse("", "begin")
        .describe(b'S', "")
        .bind("", "")
        .describe(b'P', "")
        .execute("", 0)
        .sync()
        .query("commit")]);
    same(&[s().parse("x", "rows 1 1").describe(b'S', "x").sync().wait().run("x").describe(b'P', "").sync()]);
}

#[test]
fn statements_follow_their_client_over_connections() {
    let one = s().parse("a", "select one").sync().wait().run("a").sync().wait().run("a").sync().wait().run("a").sync();
    let two = s().parse("a", "select two").sync().wait().run("a").sync().wait().run("a").sync().wait().run("a").sync();
    same(&[one.clone(), two.clone(), one, two]);
}

#[test]
fn a_taken_name_is_told_in_the_clients_words() {
    same(&[s().parse("a", "select 1").parse("a", "select 2").run("a").sync().run("a").sync()]);
    same(&[s().parse("a", "select 1").sync().wait().parse("a", "select 2").sync().wait().run("a").sync()]);
    same(&[s()
        .query("begin")
        .parse("a", "select 1")
        .sync()
        .query("error")
        .parse("a", "select 1")
        .sync()
        .query("rollback")]);
}

#[test]
fn a_name_is_free_again_after_its_parse_failed_or_was_skipped() {
    same(&[s().parse("a", "syntax").sync().wait().parse("a", "select 1").run("a").sync().wait().run("a").sync()]);
    same(&[s().once("error").parse("a", "select 1").sync().run("a").sync().parse("a", "select 2").run("a").sync()]);
    same(&[s()
        .parse("a", "select 1")
        .sync()
        .wait()
        .once("error")
        .close(b'S', "a")
        .parse("a", "select 2")
        .sync()
        .wait()
        .run("a")
        .sync()]);
}

#[test]
fn a_closed_name_is_unknown_and_can_be_given_again() {
    same(&[s().parse("a", "select 1").close(b'S', "a").run("a").sync().parse("a", "select 2").run("a").sync()]);
    same(&[s()
        .parse("a", "select 1")
        .sync()
        .wait()
        .close(b'S', "a")
        .sync()
        .wait()
        .run("a")
        .sync()
        .close(b'S', "none")
        .sync()]);
}

#[test]
fn a_statement_is_not_evicted_under_its_bind() {
    for statements in 1..=2 {
        let terms = Terms { statements, ..Terms::default() };
        let mut script = s();
        for name in ["a", "b", "c", "d"] {
            script = script.parse(name, &format!("select {name}"));
        }
        for name in ["a", "b", "c", "d", "a"] {
            script = script.run(name);
        }
        script = script.sync().run("b").run("error").sync().run("a").once("error").run("c").sync();
        script = script.wait().run("c").sync().run("d").sync().run("a").run("b").sync();
        same_under(terms, &[script.clone(), script]);
    }
}

#[test]
fn the_unnamed_statement_lives_on_over_transactions_until_it_is_replaced() {
    same(&[
        s().parse("", "select one")
            .sync()
            .wait()
            .run("")
            .sync()
            .wait()
            .run("")
            .sync()
            .query("select 1")
            .wait()
            .run("")
            .sync(),
        s().parse("", "select two")
            .sync()
            .wait()
            .run("")
            .sync()
            .wait()
            .parse("", "syntax")
            .sync()
            .wait()
            .run("")
            .sync(),
    ]);
    same(&[s().parse("", "select one").sync().close(b'S', "").sync().wait().run("").sync()]);
}

#[test]
fn rows_go_in_by_copy_in_every_order_of_messages() {
    let simple = s().query("copy in").wait().data("a").data("b").done().wait().query("select 1");
    let piped = s().query("copy in").data("a").data("b").done().query("select 1");
    let extended = s().once("copy in").data("a").data("b").done().sync().wait().query("select 1");
    let early = s().once("copy in").sync().wait().data("a").done().sync().query("select 1");
    let flushed = s().once("copy in").flush().sync().data("a").flush().sync().done().sync();
    let failed = s().query("copy in").data("a").fail().once("copy in").data("a").fail().sync().query("select 1");
    let wrong = s().query("copy in").data("bad").data("late").done().query("select 1");
    let wrong_extended = s().once("copy in").data("bad").data("late").done().sync().once("select 1").sync();
    let wrong_early = s().once("copy in").wait().data("bad").sync().wait().data("late").done().query("select 1");
    let ahead = s().query("copy in").data("bad").sync().query("select 1");
    let ahead_extended = s().once("copy in").data("bad").sync().once("select 1").sync();
    let no_copy = s().query("select 1").data("late").sync().query("select 2");
    for script in [ahead, ahead_extended, no_copy] {
        same(&[script.clone(), script]);
    }
    let multi = s().query("copy in; select 2").data("a").done().query("select 1");
    for script in [simple, piped, extended, early, flushed, failed, wrong, wrong_extended, wrong_early, multi] {
        same(&[script.clone(), script]);
    }
}

#[test]
fn late_copy_messages_outside_copy_mean_nothing() {
    same(&[s()
        .query("select 1")
        .data("late")
        .done()
        .wait()
        .data("later")
        .fail()
        .flush()
        .query("select 2")
        .wait()
        .done()]);
}

#[test]
fn copy_in_a_transaction_and_a_pipeline() {
    same(&[
        s().query("begin").query("copy in").data("x").done().query("copy out 3").query("commit"),
        s().once("begin").once("copy in").data("bad").done().sync().once("rollback").sync().once("copy out 2").sync(),
    ]);
}

#[test]
fn function_calls_are_answered() {
    same(&[s()
        .function(7)
        .function(0)
        .query("begin")
        .function(7)
        .query("error")
        .function(7)
        .query("rollback")
        .function(9)]);
}

#[test]
fn asynchronous_messages_come_at_any_time() {
    same(&[
        s().query("notice").query("notify").query("set application_name x; set datestyle German").query("select 1"),
        s().once("notice").once("notify").once("set timezone UTC").sync().once("select 1").sync(),
    ]);
}

#[test]
fn a_fatal_error_is_told_once_and_ends_the_session() {
    same(&[s().query("select 1").query("fatal").query("select 2")]);
    same(&[s().once("select 1").once("fatal").once("select 2").sync(), s().query("select 5").query("select 6")]);
    same(&[s().query("copy in").wait().query("select 1"), s().query("select 5")]);
}

#[test]
fn settings_go_with_their_client() {
    let a = Script::with(&[("application_name", "a"), ("DateStyle", "German")]);
    let b = Script::with(&[("application_name", "it's \\ b")]);
    let show = |script: Script| {
        script
            .query("show application_name")
            .wait()
            .query("show datestyle")
            .once("show timezone")
            .sync()
            .wait()
            .query("show application_name")
    };
    same(&[show(a.clone()), show(b.clone()), show(s()), show(a.query("set timezone Mars").wait()), show(b)]);
}

#[test]
fn a_rolled_back_setting_is_no_setting() {
    let set = s()
        .query("begin")
        .query("set application_name x")
        .wait()
        .query("rollback")
        .wait()
        .query("show application_name");
    let kept = s().query("begin; set application_name y; commit").wait().query("show application_name");
    let local = s().query("begin; set local application_name z").query("show application_name").query("commit").wait();
    same(&[set, kept, local.query("show application_name"), s().query("show application_name")]);
}

#[test]
fn everything_prepared_is_forgotten_by_deallocate_all() {
    same(&[
        s().parse("a", "select 1")
            .sync()
            .wait()
            .query("deallocate all")
            .wait()
            .run("a")
            .sync()
            .parse("a", "select 2")
            .run("a")
            .sync(),
        s().parse("a", "select 1").sync().wait().once("deallocate all").sync().wait().run("a").sync(),
        s().parse("a", "select 3").sync().wait().run("a").sync().wait().run("a").sync(),
    ]);
}

#[test]
fn an_empty_text_is_answered_as_such() {
    same(&[s().query("").once("").sync().query(";").parse("a", "").describe(b'S', "a").run("a").sync()]);
}

#[test]
fn what_was_skipped_leaves_the_unnamed_statement_as_it_was() {
    same(&[s().once("copy out 2").run("a").query("select 1").sync().run("").sync()]);
    same(&[s().parse("", "select old").sync().run("none").parse("", "select new").sync().run("").sync()]);
    same(&[s().parse("", "select old").sync().run("none").close(b'S', "").sync().run("").sync()]);
}
