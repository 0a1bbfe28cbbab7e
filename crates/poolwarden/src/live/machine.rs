//! The machine this runs on: asked where the process that is reviewed runs on it too.

use std::fs;
use std::net::IpAddr;

use super::Draft;

/// Whether `host:port`, or a socket's path, is on this machine.
pub(super) fn is_here(at: &str) -> bool {
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host).trim_matches(['[', ']']);
    at.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What bounds a process here. What cannot be read is not told.
pub(super) fn told(draft: &mut Draft) {
    if let Ok(cores) = std::thread::available_parallelism() {
        draft.put("host.cores", cores.to_string());
    }
    if let Ok(text) = fs::read_to_string("/proc/sys/net/core/somaxconn") {
        draft.put("host.somaxconn", text.trim());
    }
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    if let Some(bytes) = memory {
        draft.put("host.memory", bytes.to_string());
    }
    if let Ok(text) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") {
        let mut ends = text.split_whitespace().filter_map(|end| end.parse::<u64>().ok());
        if let (Some(first), Some(last)) = (ends.next(), ends.next()) {
            draft.put("host.ephemeral_ports", (last.saturating_sub(first) + 1).to_string());
        }
    }
}

/// How many descriptors the process of a PID file may open, as the kernel has it.
pub(super) fn descriptors(pidfile: &str) -> Option<u64> {
    let pid: u32 = fs::read_to_string(pidfile).ok()?.trim().parse().ok()?;
    open_files(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

/// The soft limit in /proc/PID/limits.
fn open_files(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes of memory in /proc/meminfo, which counts kibibytes.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_memory_are_read_as_the_kernel_writes_them() {
        let limits =
            "Max processes 1 1 processes\nMax open files            1024                 524288               files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files unlimited unlimited files\n"), None);
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn only_on_this_machine_is_it_this_machine() {
        let here = ["127.0.0.1:9432", "[::1]:9432", "localhost:1", "/run/.s.PGSQL.6432"];
        assert!(here.into_iter().all(is_here));
        assert!(!is_here("10.0.0.2:9432"));
    }
}
