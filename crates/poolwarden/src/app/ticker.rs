//! Once a second the watcher is shown a picture, so that it knows what was usual when somebody asks why.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::Detail;
use poolwarden_watch::View;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::running::{Running, held};

/// The watcher's windows are seconds long.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stopping` says so; the guard gets each picture. A picture that is late delays nothing but the next one.
pub(super) async fn keep(running: Arc<Running>, guard: mpsc::Sender<Arc<View>>, mut stopping: watch::Receiver<bool>) {
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _said = stopping.wait_for(|stop| *stop) => return,
        }
        let view = running.view(Detail::Servers).await;
        held(&running.watch).observe(&view);
        // a guard that is busy undoing something makes do with the next picture
        let _busy = guard.try_send(Arc::new(view));
    }
}
