//! Classes, labels, deadlines and sheds of a world, drawn from chance of their own; and worlds of pipelined transactions.

use std::time::Duration;

use poolwarden_switch::pool::{ClassId, Guard};
use poolwarden_switch::relay::Keep;
use poolwarden_switch::{Pattern, UserTerms};

use crate::plan::{Database, Plan, Trouble};
use crate::random::Random;
use crate::verdict::LONGEST_WAIT;

/// Apart from the chance that everything else is drawn from.
const APART: u64 = 0x636c_6173_7365_7321;
const PIPELINES: u64 = 0x7069_7065_6c69_6e65;

const CLASSES: u64 = 3;

impl Plan {
    /// The same with classes that some rules assign, and what clients say of themselves.
    pub(crate) fn with_classes(mut self, seed: u64) -> Self {
        let mut random = Random::new(seed ^ APART);
        let millis = |random: &mut Random, most: u64| Duration::from_millis(random.between(20, most));
        for (core, rule) in self.settings.classes.iter_mut().zip(&mut self.book.classes.classes) {
            core.weight = small(&mut random, 1, 8);
            core.reserve = small(&mut random, 0, 1);
            core.max_wait = random.once_in(3).then(|| millis(&mut random, 4000).min(LONGEST_WAIT));
            (rule.weight, rule.reserve) = (core.weight, core.reserve);
            if random.once_in(2) {
                rule.applications = vec![Pattern::new(["n1", "n2", "n*"][random.place(3)])];
            }
        }
        let class = |random: &mut Random| random.once_in(3).then(|| ClassId(random.below(CLASSES).to_le_bytes()[0]));
        for user in ["u0", "u1"] {
            let terms =
                UserTerms { class: class(&mut random), trust_labels: random.once_in(2), ..UserTerms::default() };
            self.settings.users.entry(user.into()).or_default().class = terms.class;
            self.book.users.insert(user.into(), terms);
        }
        for (name, database) in &mut self.settings.databases {
            let own = class(&mut random);
            database.classes =
                if random.once_in(2) { (0..3).map(ClassId).collect() } else { own.into_iter().collect() };
            if let Some(terms) = self.book.databases.get_mut(name) {
                terms.class = own;
            }
        }
        if random.once_in(6) {
            (self.settings.guard, self.book.guard) = (Guard::Observe, Guard::Observe);
        }
        for _ in 0..random.below(3) {
            let shed = Trouble::Shed(ClassId(random.below(CLASSES).to_le_bytes()[0]), millis(&mut random, 800));
            self.troubles.push((random.micros(3_000_000), shed));
        }
        self.deadlines = if random.once_in(2) { random.bits().max(1) } else { 0 };
        self
    }

    /// Pools of one connection, short queues, short patience, and clients that send whole transactions at once.
    pub(crate) fn with_pipelines(mut self, seed: u64) -> Self {
        let mut random = Random::new(seed ^ PIPELINES);
        self.pipelines = true;
        self.databases = vec![Database { name: "app", keep: Keep::Transaction }];
        self.clients = small(&mut random, 10, 40);
        self.arrivals = random.micros(200_000);
        self.mischief = 0; // a cancel that meets a BEGIN lets PostgreSQL itself run the rest outside
        self.holds = [200, 5000, 20_000][random.place(3)];
        self.lag = [50, 300, 3000][random.place(3)];
        self.rules.idle_read = [16, 40, 100, 4096][random.place(4)];
        // a loop that stood still reads late what came in time
        self.troubles.retain(|(_, trouble)| !matches!(trouble, Trouble::Stall(_) | Trouble::Kill(_)));
        for database in self.settings.databases.values_mut() {
            database.size = 1;
            database.max_wait = Duration::from_millis([5, 100, 1000, 4000][random.place(4)]);
            database.max_queue = [1, 2, 1000, 1000][random.place(4)];
        }
        self
    }

    /// How long the requests of this client may wait by its own word.
    pub(crate) fn deadline_of(&self, client: u32) -> Option<Duration> {
        let mut random = Random::new(self.deadlines ^ u64::from(client));
        (self.deadlines != 0 && random.once_in(2)).then(|| Duration::from_millis(random.between(1, 2000)))
    }
}

fn small(random: &mut Random, low: u64, high: u64) -> u32 {
    u32::try_from(random.between(low, high)).unwrap_or(1) // at most 40
}
