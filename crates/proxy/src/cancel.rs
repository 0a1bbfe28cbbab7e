//! Cancel requests at the door: to the loop whose client is meant, or once to the instance that made the key.
//!
//! Who asks is let go when the request was carried out, as PostgreSQL does: what its client asks next is not met by a late one.
//! Everything is bounded: a flood of requests costs a bounded number of sockets, and what does not fit is dropped and counted.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::{Asker, Desk, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;
use crate::engine::ring_all;
use crate::figures::bump;
use crate::inner::{Inner, held};
use crate::link::Place;
use crate::stream::{Socket, Stream};

/// Requests whose senders wait for them to be carried out; what comes beyond is carried out as well, and let go at once.
const MOST_ASKERS: u32 = 4096;
/// Requests on their way to one peer at once, and waiting for that.
const AT_ONCE: usize = 64;
const MOST_WAITING: u32 = 1024;
/// A peer that has not carried a request out within this will not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Another instance, to which cancel requests are forwarded.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Address,
    waiting: Arc<AtomicU32>,
    active: Arc<AtomicU32>,
    turns: tokio::sync::Semaphore,
}

/// What one peer is doing, for SHOW.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFigures {
    /// Its instance id.
    pub id: u8,
    /// Where it is.
    pub address: Address,
    /// Cancel requests being sent to it.
    pub active: u32,
    /// Cancel requests waiting for their turn.
    pub waiting: u32,
}

/// The other instances by id.
pub(crate) type Peers = BTreeMap<u8, Arc<Peer>>;

/// Peers at these addresses; those that were there before go on counting.
pub(crate) fn peers(addresses: &BTreeMap<u8, Address>, before: &Peers) -> Peers {
    let peer = |(id, address): (&u8, &Address)| {
        let same = before.get(id).filter(|peer| peer.address == *address).cloned();
        let peer = same.unwrap_or_else(|| {
            Arc::new(Peer {
                address: address.clone(),
                waiting: Arc::default(),
                active: Arc::default(),
                turns: tokio::sync::Semaphore::new(AT_ONCE),
            })
        });
        (*id, peer)
    };
    addresses.iter().map(peer).collect()
}

pub(crate) fn figures(peers: &Peers) -> Vec<PeerFigures> {
    let figure = |(id, peer): (&u8, &Arc<Peer>)| PeerFigures {
        id: *id,
        address: peer.address.clone(),
        active: peer.active.load(Ordering::Relaxed),
        waiting: peer.waiting.load(Ordering::Relaxed),
    };
    peers.iter().map(figure).collect()
}

/// A cancel request with this key came in on `stream`, which is closed once it was carried out.
pub(crate) async fn take_in(
    inner: &Inner,
    stream: Stream,
    (pid, secret): (u32, &[u8]),
    (remote, local): (Option<SocketAddr>, Option<SocketAddr>),
) {
    let Some((secret, forwarded)) = Secret::read(secret) else {
        return bump(&inner.counters.cancels_refused);
    };
    if !forwarded && inner.instance.is_some_and(|own| own != secret.instance()) {
        let peer = held(&inner.state).peers.get(&secret.instance()).cloned();
        return match peer {
            Some(peer) => forward(inner, &peer, pid, &secret).await,
            None => bump(&inner.counters.cancels_refused),
        };
    }
    let place = Place::take(&inner.counters.askers, MOST_ASKERS);
    let link = place.and_then(|place| stream.into_link(Some(place)).ok());
    let asker = link.map(|link| Asker {
        link,
        serial: inner.shared.serial(),
        connected_at: inner.clock.now().as_nanos(),
        remote,
        local,
    });
    let mut desk = Desk::new(None);
    inner.shared.cancel(pid, secret, asker.map(Box::new), &mut desk);
    ring_all(&*inner.wakers, &mut desk.wakes);
}

/// Hands a request on to the instance that made its key, marked so that nobody hands it on again.
async fn forward(inner: &Inner, peer: &Peer, pid: u32, secret: &Secret) {
    let work = async {
        let waits = Place::take(&peer.waiting, MOST_WAITING).ok_or_else(|| io::Error::other("too many wait"))?;
        let _turn = peer.turns.acquire().await.map_err(io::Error::other)?;
        drop(waits);
        let _active = Place::take(&peer.active, u32::MAX);
        let mut request = Vec::new();
        make::cancel_request(&mut request, pid, &secret.forwarded());
        let mut stream = Stream::new(reach(&peer.address).await?);
        stream.write_all(&request).await?;
        while stream.read(&mut [0; 64]).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => bump(&inner.counters.cancels_handed_on),
        Ok(Err(why)) => {
            bump(&inner.counters.cancels_dropped);
            inner.notes.add("cancel", format!("peer {}: {why}", peer.address), None);
        }
        Err(_) => {
            bump(&inner.counters.cancels_dropped);
            inner.notes.add("cancel", format!("peer {}: no answer within {PATIENCE:?}", peer.address), None);
        }
    }
}

async fn reach(address: &Address) -> io::Result<Socket> {
    Ok(match address {
        Address::Unix(path) => Socket::Unix(UnixStream::connect(path).await?),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Socket::Tcp(stream)
        }
    })
}
