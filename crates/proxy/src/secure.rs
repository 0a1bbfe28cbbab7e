//! The login lane's part of TLS: whether it is offered, the handshake with a client, and what is said to one that does without.

use std::net::SocketAddr;
use std::sync::Arc;

use poolwarden_switch::relay::greet::{Found, Method, Rules, TlsOffer, Who};

use crate::auth::Reason;
use crate::inner::{Inner, held};
use crate::stream::Stream;
use crate::tls::{Identity, ListenTls};

/// TLS for this client: as it is configured now, and never over a unix socket.
pub(crate) fn offered(inner: &Inner, stream: &Stream) -> Option<Arc<ListenTls>> {
    held(&inner.state).tls.clone().filter(|_| stream.is_tcp())
}

/// The rules of its greeting.
pub(crate) fn rules(inner: &Inner, listen: Option<&Arc<ListenTls>>) -> Rules {
    let tls = if listen.is_some() { TlsOffer::On } else { TlsOffer::Off };
    Rules { tls, ..Rules::new(inner.seed) }
}

/// Shakes hands; whom its certificate names, where it showed one. A client that fails is said once, with its address, and is gone.
pub(crate) async fn shake_hands(
    inner: &Inner,
    stream: &mut Stream,
    listen: &ListenTls,
    (received, direct): (&[u8], bool),
    remote: Option<SocketAddr>,
) -> Option<Option<Identity>> {
    if let Err(why) = stream.accept_tls(listen, received, direct).await {
        inner.auth.tally.failed(Reason::Protocol);
        inner.notes.add("tls", format!("TLS handshake with a client failed: {why}"), remote);
        return None;
    }
    Some(stream.tls().and_then(|tls| tls.peer()).and_then(Identity::of))
}

/// Where TLS is required and this client does without: it hears what PostgreSQL says where there are only hostssl lines.
pub(crate) fn refused(listen: Option<&ListenTls>, who: &Who, remote: Option<SocketAddr>) -> Option<Found> {
    if who.tls || !listen?.required {
        return None;
    }
    let host = remote.map_or_else(String::new, |remote| remote.ip().to_string());
    let message = format!(
        "no pg_hba.conf entry for host \"{host}\", user \"{}\", database \"{}\", no encryption",
        who.user, who.database
    );
    Some(Found { method: Method::Reject { sqlstate: "28000".into(), message }, secret: None })
}
