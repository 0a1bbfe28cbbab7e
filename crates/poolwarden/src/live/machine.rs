//! The machine this runs on: asked where the process that is reviewed runs on it too.

use std::fs;

use super::Draft;

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
    fn memory_is_read_in_bytes() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total("nothing"), None);
    }
}
