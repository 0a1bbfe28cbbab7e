//! Replay parity: what was recorded, replayed on a fresh core, gives the same actions and events in the same order.

use poolwarden_switch::Tapped;
use poolwarden_switch::pool::Host;

use crate::world::{HOST, World};

impl World {
    /// Replays what was recorded on a core of the same settings and seed; returns how many actions and events were equal.
    ///
    /// # Errors
    /// The first that was not, or that nothing was recorded.
    pub fn replay(&self) -> Result<usize, String> {
        let came = self.shared.tapped(HOST);
        let log = self.shared.inspect(HOST, |host| host.log().cloned()).flatten().ok_or("nothing was recorded")?;
        if log.full() {
            return Err("the log is full".into());
        }
        let mut host = Host::new(self.settings.clone(), self.seed);
        let mut again = Vec::with_capacity(came.len());
        for (at, input) in log.entries() {
            host.handle(*at, input.clone());
            while let Some(action) = host.poll_action() {
                again.push(Tapped::Action(action));
            }
            while let Some(event) = host.poll_event() {
                again.push(Tapped::Event(event));
            }
        }
        let differs = came.iter().zip(&again).position(|(came, again)| came != again);
        match differs {
            Some(at) => Err(format!("number {at} was {:?}, and is {:?} when replayed", came[at], again[at])),
            None if came.len() != again.len() => Err(format!("{} came, {} when replayed", came.len(), again.len())),
            None => Ok(came.len()),
        }
    }
}
