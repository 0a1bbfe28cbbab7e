//! A question beside the load: one session, one query, its first column; used before and after the run.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use poolwarden_relay::pgwire::make;
use rustix::event::epoll::{self, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::login::Keys;
use super::session::{Heard, Session};
use super::socket::{Read, Socket};
use super::target::Target;

/// Longest such a question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `sql` in a session of its own.
pub(super) fn ask(target: &Target, sql: &str) -> anyhow::Result<Vec<String>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
    let mut out = Vec::new();
    let params = [
        ("user", target.user.as_str()),
        ("database", target.database.as_str()),
        ("application_name", "poolwarden drill"),
    ];
    let mut session = Session::start(&params, &mut out);
    session.rows = Some(Vec::new());
    let mut socket = Socket::connect(target, &epoll, 0, out).context("cannot connect")?;
    let (mut keys, mut buffer) = (Keys::default(), vec![0; 64 << 10]);
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {PATIENCE:?} to: {sql}");
        }
        let timeout = Timespec::try_from(left).context("a wait too long")?;
        poll(&mut [PollFd::from_borrowed_fd(epoll.as_fd(), PollFlags::IN)], Some(&timeout)).context("poll")?;
        let mut events = Vec::with_capacity(1);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&none)).context("epoll")?;
        let mut flags = events.iter().map(|event: &epoll::Event| event.flags); // copied: the kernel packs them
        if flags.any(|flags| flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP)) {
            socket.writable().context("cannot connect")?;
        }
        loop {
            let heard = match socket.read(&mut buffer) {
                Read::Nothing => break,
                Read::Closed => Some(session.closed()),
                Read::Bytes(length) => {
                    let mut reply = Vec::new();
                    let who = (target.user.as_str(), target.password.as_ref());
                    let heard = session.hear(&buffer[..length], who, &mut keys, &mut reply);
                    socket.send(&reply).context("the session ended")?;
                    heard
                }
            };
            match heard {
                None => {}
                Some(Heard::In) => {
                    let mut query = Vec::new();
                    make::query(&mut query, sql);
                    session.asked(1);
                    socket.send(&query).context("the session ended")?;
                }
                Some(Heard::Answer(None, _)) => return Ok(session.rows.take().unwrap_or_default()),
                Some(Heard::Answer(Some(said), _) | Heard::Over(Some(said))) => {
                    return Err(anyhow!("{said} (asked: {sql})"));
                }
                Some(Heard::Over(None)) => bail!("the server closed the connection (asked: {sql})"),
            }
        }
    }
}
