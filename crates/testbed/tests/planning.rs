//! The story's wrong fix, said before it is made: a plan against a running pool whose user may have less than the pool has.

use std::process::Command;
use std::time::Duration;

use poolwarden_testbed::drawer::order;
use poolwarden_testbed::pooler::binary;
use poolwarden_testbed::{Bed, Plan, Pooler, Say, Target, place, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
/// What the user may have, of a pool of twenty.
const LIMIT: u32 = 3;

fn bed() -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size: 20, user_limit: Some(LIMIT), ..Plan::default() })
}

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

/// `poolwarden plan` as it is typed: its exit code, what it says, its faults.
fn plan(bed: &Bed, arguments: &[&str]) -> (i32, String, String) {
    let at = format!("http://{}", pooler(bed).http());
    let token = pooler(bed).dir().join("data/token");
    let mut command = Command::new(binary());
    command.arg("plan").args(arguments).args(["--at", &at, "--token-file"]).arg(token);
    let out = command.output().expect("poolwarden starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().expect("it ends by itself"), text(&out.stdout), text(&out.stderr))
}

/// The text of the file it runs by.
fn file(bed: &Bed) -> String {
    std::fs::read_to_string(pooler(bed).dir().join("poolwarden.toml")).expect("its file")
}

#[test]
fn the_wrong_knob_is_called_that_before_it_is_turned_and_the_right_one_too() {
    let _machine = place::machine(false);
    let bed = bed();
    let mut clients: Vec<_> = (0..=LIMIT).map(|_| bed.client()).collect();
    for client in &mut clients {
        client.send(&Say::new().query("begin").bytes).expect("sent");
    }
    until("one to wait behind three", PATIENCE, || {
        (bed.pool("cl_waiting") == 1 && bed.pool("sv_active") == 3).then_some(())
    });
    let before = file(&bed);

    let (code, said, faults) = plan(&bed, &["--set", "pools.app.size=50"]);
    assert_eq!(code, 0, "{faults}");
    assert!(said.contains("pools.app.size  20 -> 50\n"), "{said}");
    assert!(said.contains("=> no effect: user binds pool app (app) at 3 (users.app.max_connections)"), "{said}");
    assert!(said.contains("raise users.app.max_connections"), "{said}");

    let (code, said, faults) = plan(&bed, &["--set", "users.app.max_connections=12"]);
    assert_eq!(code, 0, "{faults}");
    assert!(said.contains("=> pool app (app): 12 server connections instead of 3, then user binds"), "{said}");

    // nothing was changed by either: not what runs, not the file, and the one still waits
    assert_eq!((bed.pool("cl_waiting"), bed.pool("sv_active")), (1, 3));
    assert_eq!(file(&bed), before);
    let (_, told) = order(pooler(&bed), "plan", &json!({"text": before}));
    assert_eq!((&told["changes"], &told["effect"]), (&json!([]), &json!("no effect: nothing differs from what runs")));
    assert_eq!((&told["binding_after"]["name"], &told["binding_after"]["connections"]), (&json!("user"), &json!(3)));
}

#[test]
fn a_file_is_planned_as_a_whole_and_a_broken_one_is_refused_with_its_line() {
    let _machine = place::machine(false);
    let bed = bed();
    let proposed = pooler(&bed).dir().join("new.toml");
    let name = proposed.display().to_string();
    let text = file(&bed).replace("size = 20", "size = 20\nmin_size = 2").replace("max_clients = ", "max_clients = 1");
    let address = text.replace("address = [\"127.0.0.1:0\"]", "address = [\"127.0.0.1:0\", \"127.0.0.1:1\"]");
    std::fs::write(&proposed, address).expect("written");
    let (code, said, faults) = plan(&bed, &[&name, "--format", "json"]);
    assert_eq!(code, 0, "{faults}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let changes: Vec<(&str, bool)> = said["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| (change["key"].as_str().expect("a key"), change["live"].as_bool().expect("a truth")))
        .collect();
    assert_eq!(changes, [("limits.max_clients", true), ("listen.address", false), ("pools.app.min_size", true)]);
    let notes = said["notes"].to_string();
    assert!(notes.contains("listen.address waits for a restart: "), "{notes}");

    std::fs::write(&proposed, text.replace("size = 20", "sise = 20")).expect("written");
    let (code, said, faults) = plan(&bed, &[&name]);
    assert_eq!((code, said.as_str()), (1, ""), "{faults}");
    assert!(faults.contains("sise") && faults.contains("did you mean `size`?"), "{faults}");
}

#[test]
fn servers_that_come_and_go_are_planned_by_name_and_nothing_of_it_is_done() {
    let _machine = place::machine(false);
    let bed = bed();
    let mut client = bed.client();
    client.query("begin").expect("begun");
    let proposed = pooler(&bed).dir().join("new.toml");
    let name = proposed.display().to_string();
    let more = "[servers.archive]\nhost = \"127.0.0.1\"\nport = 1\n[pools.old]\nserver = \"archive\"\n\n[auth]\n";
    std::fs::write(&proposed, file(&bed).replace("[auth]\n", more)).expect("written");
    let (code, said, faults) = plan(&bed, &[&name]);
    assert_eq!(code, 0, "{faults}");
    assert!(said.contains("=> server archive comes: pool old begins with its first client"), "{said}");
    assert!(said.contains("servers.archive.port") && !said.contains("restart"), "{said}");

    let renamed =
        file(&bed).replace("[servers.main", "[servers.other").replace("server = \"main\"", "server = \"other\"");
    std::fs::write(&proposed, renamed).expect("written");
    let (code, said, faults) = plan(&bed, &[&name]);
    assert_eq!(code, 0, "{faults}");
    let ends = "=> server main goes, and its pools end: 0 waiting requests are refused, 1 lent connections are closed when they come \
                back, 0 others at once";
    assert!(said.contains(ends), "{said}");
    assert!(said.contains("   server other comes: pool app begins with its first client"), "{said}");
    assert_eq!(client.query("select 1").expect("it runs as it did").value(), "1");
    assert_eq!(bed.pool("sv_active"), 1);
}

/// Six clients share what three may have at once; with more for each they do not wait.
#[test]
fn what_requests_would_wait_is_foretold_from_what_was_recorded() {
    let _machine = place::machine(false);
    let bed = bed();
    let (_, untold) = order(pooler(&bed), "plan", &json!({"set": ["users.app.max_connections=12"]}));
    assert_eq!(
        (&untold["wait_before"], &untold["wait_after"]),
        (&Value::Null, &Value::Null),
        "nothing is recorded yet"
    );
    let mut clients: Vec<_> = (0..6).map(|_| bed.client()).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| (0..250).for_each(|_| drop(client.query("select pg_sleep(0.004)").expect("served"))));
        }
    });
    let told = until("the traffic to be recorded", PATIENCE, || {
        let (_, told) = order(pooler(&bed), "plan", &json!({"set": ["users.app.max_connections=12"]}));
        told["wait_before"].is_object().then_some(told)
    });
    let (before, after) = (&told["wait_before"], &told["wait_after"]);
    let p50 = |of: &Value| of["p50"].as_f64().expect("a number");
    assert!(p50(before) > 2.0 && p50(after) < 1.0, "{told:#}");
    assert_eq!((&before["pool"], &before["user"]), (&json!("app"), &json!("app")));
    let (_, said, _) = plan(&bed, &["--set", "users.app.max_connections=12"]);
    assert!(said.contains("predicted for the traffic of the last minutes, pool app (app): wait p99 "), "{said}");
}
