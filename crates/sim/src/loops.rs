//! The loops' turns: each reads the clock a little late, its mail when it gets to it, its connections in pieces of any size.

use poolwarden_switch::pool::Time;
use poolwarden_switch::{Detail, Switch};

use crate::edge::Edge;
use crate::wire::LinkId;
use crate::world::{Happening, World};

impl World {
    /// Lets a loop's switch do something at this loop's own reading of the clock, which is a little behind.
    pub(crate) fn turn<R>(&mut self, at: usize, act: impl FnOnce(&mut Switch<LinkId>, Time, &mut Edge<'_>) -> R) -> R {
        let lag = self.random.micros(self.plan.lag / 10);
        let knows_ends = self.random.once_in(2);
        let one = &mut self.loops[at];
        one.now = one.now.max(Time::from_nanos(self.now.as_nanos().saturating_sub(lag.as_nanos() as u64)));
        let mut edge = Edge {
            me: at,
            places: &mut one.places,
            wires: &mut self.wires,
            wakes: &mut self.wakes,
            breaches: &mut self.breaches,
            knows_ends,
            sends_late: self.plan.sends_late,
            blocked: Vec::new(),
        };
        let done = act(&mut one.switch, one.now, &mut edge);
        for peer in edge.blocked {
            if one.places.get(&peer).is_some_and(|link| self.wires.is_blocked(*link)) {
                one.switch.blocked(peer);
            }
        }
        if let Some(next) = one.switch.poll_timeout().filter(|next| *next < one.timer) {
            one.timer = next;
            let late = self.random.micros(self.plan.lag);
            self.agenda.put(next.max(self.now) + late, Happening::Timer(at));
        }
        done
    }

    /// Whether a loop turns now; if not, `again` happens when it does.
    pub(crate) fn turns(&mut self, at: usize, again: Happening) -> bool {
        let until = self.loops[at].stalled_until;
        if until > self.now {
            self.agenda.put(until, again);
        }
        until <= self.now
    }

    pub(crate) fn stall(&mut self, at: usize, until: Time) {
        self.loops[at].stalled_until = until;
    }

    pub(crate) fn open_mail(&mut self, at: usize) {
        if self.turns(at, Happening::Mail(at)) {
            self.loops[at].mail_due = false;
            self.turn(at, |switch, now, edge| switch.mail(now, edge));
        }
    }

    pub(crate) fn ring(&mut self, at: usize) {
        if self.turns(at, Happening::Timer(at)) {
            self.loops[at].timer = Time::NEVER;
            self.turn(at, |switch, now, edge| switch.timeout(now, edge));
            self.excuses.stalled |= self.loops[at].switch.report(self.now, Detail::Totals).stalled > 0;
        }
    }

    /// A loop looks at a connection: what can be sent is sent, what may be read is read, in pieces of any size.
    pub(crate) fn look_inside(&mut self, link: LinkId) {
        let Some((at, peer)) = self.wires.at(link).place else {
            self.wires.at(link).inside_due = false;
            return;
        };
        if !self.turns(at, Happening::Inside(link)) {
            return;
        }
        self.wires.at(link).inside_due = false;
        if self.wires.is_blocked(link) && self.wires.flush(link) {
            self.turn(at, |switch, now, edge| switch.drained(now, peer, edge));
        }
        if self.wires.at(link).place != Some((at, peer)) {
            return;
        }
        let readable = self.wires.inside_has(link);
        let appetite = self.loops[at].switch.appetite(peer);
        if appetite == 0 {
            if readable.end.is_some() {
                self.turn(at, |switch, now, edge| switch.hung_up(now, peer, edge));
            }
            return;
        }
        if readable.bytes > 0 {
            let most = appetite.min(readable.bytes);
            let most = if self.random.once_in(3) { 1 + self.random.place(most) } else { most };
            let bytes = self.wires.inside_take(link, most);
            let outside = self.wires.at(link).outside;
            self.tell(|| {
                format!(
                    "  loop {at}: {} of {} bytes from {outside:?}, {peer:?}: {}",
                    bytes.len(),
                    readable.bytes,
                    bytes.escape_ascii()
                )
            });
            self.turn(at, |switch, now, edge| switch.received(now, peer, &bytes, edge));
            if readable.bytes > most || readable.end.is_some() {
                self.wires.inside.push(link);
            }
        } else if let Some(cause) = readable.end {
            let outside = self.wires.at(link).outside;
            self.tell(|| format!("  loop {at}: end of {outside:?}, {peer:?}: {cause:?}"));
            self.turn(at, |switch, now, edge| switch.closed(now, peer, cause, edge));
        }
    }
}
