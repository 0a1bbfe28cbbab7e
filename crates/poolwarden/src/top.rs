//! The live screen: asks every instance once a second and draws what they say.
//!
//! What is shown is decided by [`state::State`] and drawn by [`draw::draw`], both pure; here are the terminal, the clock's
//! pace, signals and the questions. However it ends, by a key, a signal or a panic, the terminal is as it was.

mod draw;
mod pool;
mod sparkline;
mod state;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::remote::{Remote, Said, escaped};
use state::{Flow, State};

/// Between two questions: as often as the process looks at itself.
const PACE: Duration = Duration::from_secs(1);
/// A key is answered within this even when nothing comes.
const KEY_PATIENCE: Duration = Duration::from_millis(100);
/// Answers that nobody has looked at yet: a screen that is not drawn needs no more.
const MAX_NEWS: usize = 16;

/// What the threads tell.
enum News {
    /// An instance's answer, or why there is none.
    Answer(usize, Result<Value, String>),
    /// A signal asks to leave.
    Leave,
}

/// Shows the screen until somebody leaves it.
pub(crate) fn run(remote: Remote, pool: Option<&str>) -> anyhow::Result<()> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        bail!("top needs a terminal; `poolwarden why` prints the same once, and with --format json for programs");
    }
    let remote = Arc::new(remote);
    let path = pool.map_or_else(|| "/api/v1/why".to_owned(), |pool| format!("/api/v1/why?pool={}", escaped(pool)));
    let mut state = State::new(remote.places());
    first(&remote, &path, &mut state)?;
    let (tell, news) = sync_channel(MAX_NEWS);
    for instance in 0..remote.places().len() {
        let (remote, path, tell) = (Arc::clone(&remote), path.clone(), tell.clone());
        thread::spawn(move || ask(&remote, &path, instance, &tell));
    }
    heed(tell)?;
    let mut terminal = ratatui::try_init().context("the terminal")?;
    let shown = show(&mut terminal, &mut state, &news);
    let restored = ratatui::try_restore().context("the terminal");
    shown.and(restored)
}

/// One answer before the screen is taken: where nobody listens, a line says so.
fn first(remote: &Remote, path: &str, state: &mut State) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for (instance, at) in remote.places().iter().enumerate() {
        let answer = answer(remote, at, path);
        faults.extend(answer.as_ref().err().cloned());
        state.take(instance, answer);
    }
    if faults.len() == remote.places().len() {
        return Err(anyhow!("{}", faults.join("; ")));
    }
    Ok(())
}

fn answer(remote: &Remote, at: &str, path: &str) -> Result<Value, String> {
    let said = remote.get(at, path).and_then(crate::remote::Answer::json).map_err(|why| format!("{why:#}"))?;
    let Said { status, body } = said;
    body.map_err(|fault| match fault["error"].as_str() {
        Some(error) => format!("{at}: {error}; {}", fault["fix"].as_str().unwrap_or_default()),
        None => format!("{at}: answered {status}"),
    })
}

/// Until nobody reads the answers any more.
fn ask(remote: &Remote, path: &str, instance: usize, tell: &SyncSender<News>) {
    let at = &remote.places()[instance];
    loop {
        thread::sleep(PACE);
        if tell.send(News::Answer(instance, answer(remote, at, path))).is_err() {
            return;
        }
    }
}

/// Signals that would end the process end the screen first.
fn heed(tell: SyncSender<News>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async {
        [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
    })?;
    thread::spawn(move || {
        runtime.block_on(async {
            let [terminate, hangup, interrupt] = signals.as_mut_slice() else { return };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        // Nobody hears it when the screen is gone already.
        let _gone = tell.send(News::Leave);
    });
    Ok(())
}

fn show(terminal: &mut DefaultTerminal, state: &mut State, news: &Receiver<News>) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| draw::draw(frame, state)).context("the terminal")?;
        if event::poll(KEY_PATIENCE).context("the terminal")?
            && let Event::Key(key) = event::read().context("the terminal")?
            && key.kind != KeyEventKind::Release
            && state.key(key) == Flow::Leave
        {
            return Ok(());
        }
        for news in news.try_iter() {
            match news {
                News::Answer(instance, answer) => state.take(instance, answer),
                News::Leave => return Ok(()),
            }
        }
    }
}
