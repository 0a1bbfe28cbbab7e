//! The service manager's socket (sd_notify): one datagram per change of state, nothing where there is no such socket.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, `READY=1` or `STOPPING=1`.
///
/// # Errors
/// When the socket that NOTIFY_SOCKET names takes nothing.
pub(super) fn tell(state: &str) -> std::io::Result<()> {
    std::env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| send(&socket, state))
}

/// A name that begins with @ is abstract: it stands in no directory.
fn send(socket: &OsStr, state: &str) -> std::io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_arrives_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("poolwarden-test-{}", std::process::id());
        let sockets = [
            (path.clone().into_os_string(), SocketAddr::from_pathname(&path).unwrap()),
            (format!("@{name}").into(), SocketAddr::from_abstract_name(&name).unwrap()),
        ];
        for (named, address) in sockets {
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            send(&named, "READY=1").unwrap();
            let mut bytes = [0; 32];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1");
        }
        assert!(send(dir.path().join("nobody").as_os_str(), "READY=1").is_err());
    }
}
