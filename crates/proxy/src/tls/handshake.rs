//! Handshakes on the runtime: a socket and a configuration become a TLS state, or a sentence of why not.

use std::io;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{ALPN, ListenTls, Outbound, Tls};

/// Shakes hands with a client; `received` is what of it has come already. Without an SSLRequest before it, ALPN must have
/// chosen PostgreSQL, so that nobody can be talked into speaking another protocol here.
pub(crate) async fn accept<S>(socket: &mut S, listen: &ListenTls, received: &[u8], direct: bool) -> io::Result<Tls>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedServerConnection::new(listen.config.clone()).map_err(io::Error::other)?;
    let tls = shake(socket, Tls::server(connection), received).await?;
    if direct && tls.alpn() != Some(ALPN) {
        return Err(refused("direct TLS without ALPN \"postgresql\""));
    }
    Ok(tls)
}

/// Shakes hands with a server.
pub(crate) async fn connect<S>(socket: &mut S, outbound: &Outbound, direct: bool) -> io::Result<Tls>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = UnbufferedClientConnection::new(outbound.config.clone(), outbound.name.clone());
    let tls = shake(socket, Tls::client(connection.map_err(io::Error::other)?), &[]).await?;
    if direct && tls.alpn() != Some(ALPN) {
        return Err(refused("the server answered direct TLS without ALPN \"postgresql\""));
    }
    Ok(tls)
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

async fn shake<S>(socket: &mut S, mut tls: Tls, received: &[u8]) -> io::Result<Tls>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut taken = tls.receive(received);
    let mut buffer = vec![0; 4096];
    loop {
        let owed = std::mem::take(&mut tls.owed);
        let sent = if owed.is_empty() { Ok(()) } else { socket.write_all(&owed).await };
        // What is wrong with the handshake says more than that the peer has hung up on it.
        taken.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        sent?;
        if !tls.is_handshaking() {
            return Ok(tls);
        }
        let count = socket.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended in mid-handshake"));
        }
        taken = tls.receive(&buffer[..count]);
    }
}
