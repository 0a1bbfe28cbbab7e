//! PROXY protocol version 2: a balancer we trust says who its client really is.
//!
//! The header is binary and comes before everything else: a signature, a command, a family, a length, addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes before the addresses.
pub(crate) const HEADER: usize = 16;
/// The most that may follow: addresses and a reasonable number of extensions.
pub(crate) const MAX_BODY: usize = 2048;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// How many bytes follow the header.
///
/// # Errors
/// It is no header of version 2, or announces more than is believed.
pub(crate) fn body(header: &[u8; HEADER]) -> Result<usize, String> {
    if header[..12] != SIGNATURE || header[12] >> 4 != 2 {
        return Err("expected a PROXY protocol v2 header from this network".into());
    }
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > MAX_BODY { Err(format!("PROXY protocol header of {length} bytes")) } else { Ok(length) }
}

/// Who the client is; `None` where the balancer speaks for itself (a health check) or about something that is not TCP.
pub(crate) fn source(header: &[u8; HEADER], body: &[u8]) -> Option<SocketAddr> {
    if header[12] & 0x0f != 1 {
        return None;
    }
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    match header[13] {
        0x11 => {
            let address: [u8; 4] = body.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(address).into(), port(8)?))
        }
        0x21 => {
            let address: [u8; 16] = body.get(..16)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(address).into(), port(32)?))
        }
        _ => None,
    }
}

/// Whether `peer` may say that its client is at `source`. A client on this very machine comes by a balancer on it: who says so from
/// elsewhere would get what rules allow to this machine alone.
pub(crate) fn is_believed(peer: SocketAddr, source: SocketAddr) -> bool {
    let here = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    here(peer) || !here(source)
}

/// Whether `address` belongs to one of these networks.
pub(crate) fn is_trusted(networks: &[(IpAddr, u8)], address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    networks.iter().any(|(network, prefix)| {
        let ((network, width), (address, other)) = (bits(*network), bits(address));
        let mask = u128::MAX.checked_shl(128 - u32::from((*prefix).min(width))).unwrap_or(0);
        width == other && network & mask == address & mask
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, length: u16) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..12].copy_from_slice(&SIGNATURE);
        header[12] = command;
        header[13] = family;
        header[14..].copy_from_slice(&length.to_be_bytes());
        header
    }

    #[test]
    fn the_client_of_a_trusted_balancer_is_known() {
        let header = header(0x21, 0x11, 12);
        assert_eq!(body(&header), Ok(12));
        let addresses = [10, 0, 0, 9, 127, 0, 0, 1, 0x30, 0x39, 0x19, 0x20];
        assert_eq!(source(&header, &addresses), Some("10.0.0.9:12345".parse().unwrap()));
        assert_eq!(source(&header, &addresses[..8]), None);
    }

    #[test]
    fn only_this_machine_speaks_for_clients_on_it() {
        let believed = |peer: &str, source: &str| is_believed(peer.parse().unwrap(), source.parse().unwrap());
        assert!(believed("10.0.0.9:1", "10.0.0.7:1") && believed("127.0.0.1:1", "10.0.0.7:1"));
        assert!(believed("127.0.0.1:1", "127.0.0.1:9") && believed("[::1]:1", "127.9.0.1:9"));
        for source in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!believed("10.0.0.9:1", source), "{source}");
        }
    }

    #[test]
    fn a_health_check_has_no_client_and_junk_is_refused() {
        assert_eq!(source(&header(0x20, 0x00, 0), &[]), None);
        assert!(body(&[b'x'; HEADER]).is_err());
        assert!(body(&header(0x21, 0x11, 60_000)).is_err());
        assert!(body(&header(0x11, 0x11, 12)).is_err());
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        let networks = [("10.1.0.0".parse().unwrap(), 16), ("::1".parse().unwrap(), 128)];
        assert!(is_trusted(&networks, "10.1.255.3".parse().unwrap()));
        assert!(is_trusted(&networks, "::ffff:10.1.0.3".parse().unwrap()));
        assert!(!is_trusted(&networks, "10.2.0.1".parse().unwrap()));
        assert!(is_trusted(&networks, "::1".parse().unwrap()));
        assert!(!is_trusted(&networks, "::2".parse().unwrap()));
        assert!(is_trusted(&[("0.0.0.0".parse().unwrap(), 0)], "9.9.9.9".parse().unwrap()));
    }
}
