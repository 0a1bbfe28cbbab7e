//! What goes wrong, and what operators say.

use std::time::Duration;

use poolwarden_switch::Mail;
use poolwarden_switch::pool::{EndCause, Input, LoopId, Time, Verb};
use poolwarden_switch::relay::pgwire::make;

use crate::plan::Trouble;
use crate::world::{HOST, Happening, World};

impl World {
    pub(crate) fn trouble(&mut self, trouble: Trouble) {
        self.tell(|| format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Restart(down) => {
                self.excuses.died = true;
                self.postgres.down_until = self.now + down;
                self.postgres.start_time += 1;
                let pids: Vec<u32> = self.postgres.processes.keys().copied().collect();
                for pid in pids {
                    let cause = if self.random.once_in(2) { EndCause::Eof } else { EndCause::Failed };
                    self.end_process(pid, cause);
                }
            }
            Trouble::Reset(of) => self.reset(of),
            Trouble::Terminate => self.terminate(),
            Trouble::Stall(span) => {
                let (at, until) = (self.random.place(self.loops.len()), self.now + span);
                self.stall(at, until);
            }
            Trouble::Reconnect => self.admin(Verb::Reconnect),
            Trouble::Pause(span) => {
                self.admin(Verb::Pause);
                self.agenda.put(self.now + span, Happening::Resume);
            }
            Trouble::Kill(span) => {
                self.excuses.ended = true;
                let (at, until) = (self.random.place(self.loops.len()), self.now + self.random.micros(300_000));
                self.stall(at, until); // who says KILL says it when something hangs
                self.admin(Verb::Kill);
                self.agenda.put(self.now + span, Happening::Resume);
            }
            Trouble::Resize(size) => {
                for database in self.plan.settings.databases.values_mut() {
                    database.size = size;
                    database.min_size = database.min_size.min(size);
                }
                self.apply();
            }
            Trouble::KillClient => {
                self.excuses.ended = true;
                let serial = self.random.between(1, 40);
                self.every_loop(|| Mail::Kill(serial));
            }
            Trouble::Shed(class, span) => {
                let now = self.now;
                self.shared.drive(now, HOST, Input::Shed(class, now + span), &mut self.desk);
            }
            Trouble::Stop(after) => {
                self.excuses.ended = true;
                self.every_loop(|| Mail::Drain);
                self.agenda.put(self.now + after, Happening::Stop);
            }
        }
    }

    fn every_loop(&mut self, mail: impl Fn() -> Mail<usize>) {
        for to in 0..self.plan.loops {
            self.post(LoopId(to), mail());
        }
    }

    fn apply(&mut self) {
        let (now, settings) = (self.now, Box::new(self.plan.settings.clone()));
        self.shared.drive(now, HOST, Input::Apply(settings), &mut self.desk);
    }

    /// From now on connections live for ever, so that the end finds nothing on its way.
    pub(crate) fn calm(&mut self) {
        for database in self.plan.settings.databases.values_mut() {
            (database.lifetime, database.idle_timeout) = (Duration::ZERO, Duration::ZERO);
        }
        self.apply();
    }

    fn admin(&mut self, verb: Verb) {
        let now = self.now;
        self.shared.drive(now, HOST, Input::Admin(verb, None), &mut self.desk);
    }

    pub(crate) fn resume(&mut self) {
        self.admin(Verb::Resume);
    }

    pub(crate) fn stop(&mut self) {
        self.every_loop(|| Mail::Stop);
        self.admin(Verb::Drain);
    }

    /// The network drops connections; their backends live on until they notice.
    fn reset(&mut self, of: u64) {
        self.excuses.died = true;
        let pids: Vec<u32> = self.postgres.processes.keys().copied().collect();
        for pid in pids {
            if self.random.once_in(of)
                && let Some(process) = self.postgres.processes.get_mut(&pid)
                && !process.lingers
            {
                process.lingers = true;
                let link = process.link;
                self.wires.outside_close(link, EndCause::Failed);
                let at = self.now + self.random.micros(self.plan.lingers);
                self.agenda.put(at, Happening::Exits(pid));
            }
        }
    }

    /// An administrator ends one backend: it says so, if it can, and is gone.
    fn terminate(&mut self) {
        let pids: Vec<u32> = self.postgres.processes.keys().copied().collect();
        if pids.is_empty() {
            return;
        }
        (self.excuses.died, self.excuses.ended) = (true, true);
        let pid = pids[self.random.place(pids.len())];
        let Some(process) = self.postgres.processes.get_mut(&pid) else { return };
        if !process.lingers && process.backend.outbox.is_empty() {
            let mut word = Vec::new();
            let report = make::Report {
                severity: "FATAL",
                sqlstate: "57P01",
                message: "terminating connection due to administrator command",
                detail: None,
                hint: None,
            };
            make::error(&mut word, &report);
            self.wires.outside_send(process.link, &word);
        }
        self.end_process(pid, EndCause::Eof);
    }

    /// Adds a line to the timeline, where one is kept.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        let now: Time = self.now;
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{now:?} {}", line()));
        }
    }
}
