//! How busy the machine is, and what one process has spent.

use std::time::{Duration, Instant};

use rustix::process::Pid;

/// Since a moment: the machine's and one process's time.
pub(crate) struct Began {
    pid: Option<Pid>,
    at: Instant,
    machine: (u64, u64),
    process: Duration,
    ticks: (u64, u64),
}

/// What was spent meanwhile.
pub(crate) struct Spent {
    /// Share of all processors that was not idle.
    pub(crate) busy: f64,
    /// Processors that the process kept busy on average.
    pub(crate) cores: f64,
    /// The same in seconds of one.
    pub(crate) cpu_seconds: f64,
    /// The share of it that the kernel took: sockets and waiting.
    pub(crate) kernel: f64,
}

impl Spent {
    /// Begins to measure.
    pub(crate) fn now(pid: Option<Pid>) -> Began {
        Began {
            pid,
            at: Instant::now(),
            machine: machine(),
            process: pid.map_or(Duration::ZERO, cpu),
            ticks: pid.map_or((0, 0), ticks),
        }
    }
}

impl Began {
    /// What was spent since.
    pub(crate) fn since(&self) -> Spent {
        let (idle, all) = machine();
        let (idle, all) = (idle - self.machine.0, all - self.machine.1);
        let cpu_seconds = (self.pid.map_or(Duration::ZERO, cpu) - self.process).as_secs_f64();
        let busy = 1.0 - idle as f64 / all.max(1) as f64;
        let (user, kernel) = self.pid.map_or((0, 0), ticks);
        let (user, kernel) = ((user - self.ticks.0) as f64, (kernel - self.ticks.1) as f64);
        let kernel = if user + kernel > 0.0 { kernel / (user + kernel) } else { 0.0 };
        Spent { kernel, busy, cores: cpu_seconds / self.at.elapsed().as_secs_f64(), cpu_seconds }
    }
}

/// Ticks idle (waiting for a disk included) and in all, of all processors.
fn machine() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").expect("Linux has it");
    let line = text.lines().next().expect("its first line is of all processors");
    // user nice system idle iowait irq softirq steal; guests are counted in user already
    let ticks: Vec<u64> = line.split_ascii_whitespace().skip(1).take(8).filter_map(|tick| tick.parse().ok()).collect();
    (ticks[3] + ticks[4], ticks.iter().sum())
}

/// Processor time of a process, over all its threads that live: nanoseconds as the scheduler counts them.
pub(crate) fn cpu(pid: Pid) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("the process lives");
    let nanos = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(nanos).sum())
}

/// Ticks of a process in its own code and in the kernel.
fn ticks(pid: Pid) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("the process lives");
    // Behind the name, which ends with the last parenthesis, they are the twelfth and the thirteenth.
    let behind = text.rsplit(") ").next().unwrap_or("");
    let mut numbers = behind.split(' ').skip(11).filter_map(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
