//! The loads, the settings each is recorded under, and those it is foretold for.

/// Settings of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) size: u32,
    pub(crate) max_wait_ms: u32,
}

impl Setting {
    /// For `simulate --set`.
    pub(crate) fn sets(&self) -> Vec<String> {
        let Self { size, max_wait_ms } = self;
        vec![
            format!("pools.app.size={size}"),
            format!("pools.app.min_size={size}"),
            format!("pools.app.max_wait=\"{max_wait_ms}ms\""),
        ]
    }
}

/// One load.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    /// Lines of `[[load]]`.
    lines: &'static str,
    seconds: u32,
    pub(crate) recorded: Setting,
    pub(crate) others: Vec<Setting>,
}

impl Load {
    /// Enough clients that nobody waits for one of them.
    pub(crate) fn scenario(&self) -> String {
        format!(
            "[scenario]\nname = \"{}\"\nseed = 11\nduration = \"{}s\"\n\n[[load]]\nname = \"web\"\nclients = 1500\n{}\n",
            self.name, self.seconds, self.lines
        )
    }
}

fn others(all: &[(u32, u32)]) -> Vec<Setting> {
    all.iter().map(|(size, max_wait_ms)| Setting { size: *size, max_wait_ms: *max_wait_ms }).collect()
}

/// Six loads, five other settings each; two of them with work that slows other work.
pub(crate) fn all() -> Vec<Load> {
    let at = |size, max_wait_ms| Setting { size, max_wait_ms };
    vec![
        Load {
            name: "cpu",
            lines: "rate = \"900/s\"\nhold = { kind = \"cpu\", p50 = \"600us\", p99 = \"3ms\" }",
            seconds: 56,
            recorded: at(8, 2000),
            others: others(&[(2, 500), (3, 2000), (4, 2000), (12, 2000), (16, 2000)]),
        },
        Load {
            name: "lock",
            lines: "rate = \"650/s\"\nhold = { kind = \"lock\", constant = \"400us\" }",
            seconds: 78,
            recorded: at(8, 2000),
            others: others(&[(1, 300), (2, 2000), (4, 2000), (12, 2000), (16, 2000)]),
        },
        Load {
            name: "steady",
            lines: "rate = \"1200/s\"\nhold = { p50 = \"12ms\", p99 = \"80ms\" }",
            seconds: 43,
            recorded: at(30, 2000),
            others: others(&[(15, 500), (22, 2000), (24, 2000), (45, 2000), (60, 2000)]),
        },
        Load {
            name: "bursts",
            lines: "rate = \"900/s\"\nshape = { kind = \"comb\", peak = 3, every = \"4s\", width = \"400ms\" }\n\
                    hold = { constant = \"14ms\" }",
            seconds: 48,
            recorded: at(24, 2000),
            others: others(&[(12, 400), (18, 2000), (18, 100), (36, 2000), (48, 2000)]),
        },
        Load {
            name: "flash",
            lines: "rate = \"1500/s\"\n\
                    shape = { kind = \"flash\", peak = 3, rise = \"500ms\", hold = \"5s\", decay = \"4s\" }\n\
                    hold = { p50 = \"6ms\", p99 = \"20ms\" }",
            seconds: 24,
            recorded: at(45, 1000),
            others: others(&[(15, 300), (22, 1000), (26, 1000), (30, 1000), (60, 200)]),
        },
        Load {
            name: "waves",
            lines: "rate = \"2200/s\"\nshape = { kind = \"sine\", period = \"8s\", depth = 0.6 }\n\
                    hold = { p50 = \"7ms\", p99 = \"25ms\" }",
            seconds: 24,
            recorded: at(32, 2000),
            others: others(&[(16, 500), (24, 300), (28, 2000), (48, 2000), (64, 2000)]),
        },
    ]
}
