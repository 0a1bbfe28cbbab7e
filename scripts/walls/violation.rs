//! One use of everything the pure packages forbid: `scripts/prove-walls.sh` lints it and counts.
use std::collections::{HashMap, HashSet};
pub fn f(mut m: HashMap<u8, u8>, mut s: HashSet<u8>) {
    std::time::Instant::now();
    std::time::SystemTime::now();
    std::thread::spawn(|| ());
    std::thread::sleep(std::time::Duration::ZERO);
    std::thread::scope(|_| ());
    std::env::var("x");
    std::env::var_os("x");
    std::env::vars();
    std::env::vars_os();
    std::env::args();
    std::env::current_dir();
    std::fs::read("x");
    std::fs::read_to_string("x");
    std::fs::write("x", "");
    std::fs::read_dir("x");
    std::fs::metadata("x");
    std::fs::remove_file("x");
    std::fs::create_dir_all("x");
    std::fs::rename("x", "y");
    m.iter();
    m.iter_mut();
    m.keys();
    m.values();
    m.values_mut();
    m.clone().into_keys();
    m.clone().into_values();
    m.drain();
    m.retain(|_, _| true);
    s.iter();
    s.drain();
    s.retain(|_| true);
    for _ in &m {}
}
pub fn g(
    _: std::fs::File,
    _: std::fs::OpenOptions,
    _: std::net::TcpStream,
    _: std::net::TcpListener,
    _: std::net::UdpSocket,
    _: std::os::unix::net::UnixStream,
    _: std::os::unix::net::UnixListener,
    _: std::time::Instant,
    _: std::time::SystemTime,
) {
}
