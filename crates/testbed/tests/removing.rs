//! Pools and users removed and renamed while clients of others work: what is open ends well, and who is concerned is told.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use poolwarden_testbed::workers::{TRANSACTION, Workers};
use poolwarden_testbed::{Bed, Fault, Login, Plan, Pooler, Say, Target, Wire, bed, place, reloads, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// A second database with a pool of its own, and a user who is no worker.
const SIDE: &str = "[pools.side]\nserver = \"main\"\ndatabase = \"app\"\nsize = 2\n\n";
const GUEST: &str = "\n[users.guest]\nscram_file = \"guest.password\"\n";

/// A pooler with the pool `app`, at which clients work, and whatever else its file says.
struct Scene {
    bed: Bed,
    /// Its file without anything else.
    base: String,
    workers: Workers,
}

impl Scene {
    fn new() -> Scene {
        let plan = Plan { size: 4, budget: Some(20), ..reloads::plan() }.file("guest.password", "guests-secret");
        let bed = Bed::start_as(Target::Poolwarden, plan);
        for role in ["guest", "visitor"] {
            bed.postgres.sql(&format!("create role {role} login password 'guests-secret'"));
        }
        let base = fs::read_to_string(pooler(&bed).dir().join("poolwarden.toml")).expect("its file");
        let workers = Workers::start(&bed, 6, TRANSACTION);
        Scene { bed, base, workers }
    }

    /// A reload with this before `[auth]` and that at the end.
    #[track_caller]
    fn reload(&self, pools: &str, users: &str) {
        pooler(&self.bed).rewrite_text(&(self.base.replacen("[auth]\n", &format!("{pools}[auth]\n"), 1) + users));
        self.bed.console().query("RELOAD").expect("reloaded");
    }

    fn client(&self, database: &str) -> Result<Wire, Fault> {
        Wire::connect(&self.bed.address(), &Login { database: database.to_owned(), ..bed::login() })
    }

    fn guest(&self, name: &str) -> Result<Wire, Fault> {
        let login = Login { user: name.to_owned(), password: "guests-secret".to_owned(), ..bed::login() };
        Wire::connect(&self.bed.address(), &login)
    }

    /// The rows of SHOW POOLS about this database, and this user.
    fn pools(&self, database: &str, user: &str) -> Vec<BTreeMap<String, String>> {
        let rows = self.bed.show("POOLS").into_iter();
        rows.filter(|row| row["database"] == database && row["user"] == user).collect()
    }

    /// Waits until somebody waits there.
    #[track_caller]
    fn waits(&self, database: &str) {
        until("it to wait", PATIENCE, || {
            self.pools(database, "app").iter().any(|row| row["cl_waiting"] == "1").then_some(())
        });
    }

    /// The server connections that poolwarden lists of this database, and this user.
    fn servers(&self, database: &str, user: &str) -> usize {
        self.bed.show("SERVERS").iter().filter(|row| row["database"] == database && row["user"] == user).count()
    }

    /// Those who worked go on, and none of them has seen anything.
    #[track_caller]
    fn end(self) {
        self.workers.flow(50);
        let (_, errors) = self.workers.end();
        assert_eq!(errors, Vec::<String>::new());
    }
}

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

#[track_caller]
fn refused(answer: Result<impl std::fmt::Debug, Fault>, code: &str) {
    match answer {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, code, "{}", notice.message),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn one(wire: &mut Wire) {
    assert_eq!(wire.query("select 1").expect("served").value(), "1");
}

#[test]
fn a_pool_that_is_removed_lets_transactions_end_and_then_tells_their_clients() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    scene.reload(SIDE, "");
    let client = || scene.client("side").expect("its pool is there");
    let (mut first, mut second, mut waiting, mut idle) = (client(), client(), client(), client());
    one(&mut idle);
    first.query("begin").expect("lent");
    second.query("begin").expect("the last connection");
    waiting.send(&Say::new().query("select 1").bytes).expect("sent");
    scene.waits("side");
    scene.reload("", "");
    refused(waiting.answer(), "3D000");
    refused(idle.query("select 1"), "3D000");
    refused(scene.client("side"), "3D000");
    for open in [&mut first, &mut second] {
        assert_eq!(scene.bed.show("DATABASES").iter().filter(|row| row["name"] == "side").count(), 0);
        one(open);
        open.query("commit").expect("it ends well");
        refused(open.query("select 1"), "3D000");
    }
    until("its server connections to end", PATIENCE, || (scene.servers("side", "app") == 0).then_some(()));
    // who stayed is served as soon as there is a pool of that name again
    scene.reload(SIDE, "");
    for wire in [&mut first, &mut waiting, &mut idle] {
        one(wire);
    }
    scene.end();
}

#[test]
fn a_renamed_pool_serves_under_its_new_name_and_the_old_one_is_told_after_its_transaction() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    scene.reload(SIDE, "");
    let (mut open, mut idle) = (scene.client("side").expect("in"), scene.client("side").expect("in"));
    one(&mut idle);
    open.query("begin").expect("lent");
    scene.reload(&SIDE.replace("side", "annex"), "");
    one(&mut scene.client("annex").expect("the new name"));
    refused(scene.client("side"), "3D000");
    refused(idle.query("select 1"), "3D000");
    one(&mut open);
    open.query("commit").expect("it ends well");
    refused(open.query("select 1"), "3D000");
    until("its server connections to end", PATIENCE, || (scene.servers("side", "app") == 0).then_some(()));
    drop((open, idle));
    until("nothing to be left of the old name", PATIENCE, || scene.pools("side", "app").is_empty().then_some(()));
    scene.end();
}

#[test]
fn a_user_that_is_renamed_or_removed_ends_its_transactions_and_comes_in_no_more() {
    let _machine = place::machine(false);
    let scene = Scene::new();
    scene.reload("", GUEST);
    let (mut open, mut idle) = (scene.guest("guest").expect("in"), scene.guest("guest").expect("in"));
    one(&mut idle);
    open.query("begin").expect("lent");
    scene.reload("", &GUEST.replace("users.guest", "users.visitor"));
    one(&mut scene.guest("visitor").expect("the new name"));
    refused(scene.guest("guest"), "28P01");
    one(&mut open);
    open.query("commit").expect("it ends well");
    // there is no password any more to open a server connection with
    refused(idle.query("select 1"), "58000");
    refused(open.query("select 1"), "58000");
    until("its server connections to end", PATIENCE, || (scene.servers("app", "guest") == 0).then_some(()));
    scene.reload("", "");
    refused(scene.guest("visitor"), "28P01");
    scene.reload("", GUEST);
    one(&mut open);
    one(&mut idle);
    scene.end();
}
