//! Random files to reload, half of them broken: for poolwarden's TOML and for PgBouncer's ini.
//!
//! What is broken is broken beyond doubt, by its kind; the kinds are told with the text.

/// A small generator of its own (Knuth's constants for 64 bits), so that a run can be made again.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From `least` to `most`, both included.
    pub fn pick(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}

/// A file to reload.
#[derive(Debug)]
pub struct File {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How it is broken; `None`: it is not.
    pub broken: Option<&'static str>,
}

/// A poolwarden.toml: `base` with other settings, and broken in one half.
#[must_use]
pub fn toml(base: &str, dice: &mut Dice) -> File {
    let good = good_toml(base, dice);
    if dice.pick(0, 1) == 0 {
        return File { bytes: good.into_bytes(), broken: None };
    }
    let lines: Vec<&str> = good.lines().collect();
    // behind some line of a table, so that the fault stands anywhere in the file
    let at = usize::try_from(dice.pick(2, lines.len() as u64 - 1)).expect("short");
    let with = |line: &str| [&lines[..at], &[line], &lines[at..]].concat().join("\n").into_bytes();
    let swapped = |from: &str, to: &str| {
        assert!(good.contains(from), "the file has no {from}");
        good.replacen(from, to, 1).into_bytes()
    };
    let (kind, bytes) = match dice.pick(0, 9) {
        0 => ("unknown key", with("no_such_key_anywhere = 1")),
        1 => ("open string", with("half = \"never ended")),
        2 => ("no value", with("nothing =")),
        3 => ("number without unit", swapped("max_wait = \"", "max_wait = 5 # \"")),
        4 => ("wrong type", swapped("size = ", "size = true # ")),
        5 => ("server that is not there", swapped("server = \"main\"", "server = \"mian\"")),
        6 => ("secret that is not there", swapped(".password\"", ".passwort\"")),
        7 => ("table twice", [good.as_bytes(), b"\n[limits]\nmax_clients = 9\n"].concat()),
        8 => ("bytes that are no text", [good.as_bytes(), b"\n# \xff\xfe\n"].concat()),
        _ => {
            // inside a text: what is left has a quote that is never closed
            let cut = good.match_indices("\"127.0.0.1").map(|(at, _)| at).last().expect("an address");
            ("cut short", good.as_bytes()[..cut + 4].to_vec())
        }
    };
    File { bytes, broken: Some(kind) }
}

fn good_toml(base: &str, dice: &mut Dice) -> String {
    let mut text = base.to_owned();
    let mut put = |from: &str, to: String| {
        assert!(text.contains(from), "the base has no {from}");
        text = text.replacen(from, &to, 1);
    };
    let size = dice.pick(4, 30);
    put("size = 10", format!("size = {size}"));
    put("max_wait = \"60s\"", format!("max_wait = \"{}s\"", dice.pick(30, 90)));
    put("max_clients = 5000", format!("max_clients = {}", dice.pick(500, 5_000)));
    put("max_connections = 20", format!("max_connections = {}", dice.pick(30, 60)));
    if dice.pick(0, 1) == 1 {
        put("[auth]\n", format!("min_size = {}\nreserve = {}\n\n[auth]\n", dice.pick(0, 4), dice.pick(0, 3)));
    }
    if dice.pick(0, 1) == 1 {
        put("[users.app]\n", format!("[users.app]\nmax_connections = {}\n", dice.pick(4, 40)));
    }
    for name in 0..dice.pick(0, 3) {
        text.push_str(&format!("\n[pools.other{name}]\nserver = \"main\"\nsize = {}\n", dice.pick(1, 9)));
    }
    if dice.pick(0, 2) == 0 {
        text.push_str(&format!(
            "\n[classes.nightly]\nweight = {}\nmax_wait = \"{}s\"\n",
            dice.pick(1, 9),
            dice.pick(1, 99)
        ));
    }
    if dice.pick(0, 2) == 0 {
        text.push_str(&format!("\n[users.guest{}]\nscram_file = \"app.password\"\n", dice.pick(0, 9)));
    }
    text
}

/// A pgbouncer.ini, likewise. Its settings stand in the order of `base`, some of them changed.
#[must_use]
pub fn ini(base: &str, dice: &mut Dice) -> File {
    let mut good = base.to_owned();
    for (key, least, most) in [
        ("default_pool_size", 4, 30),
        ("max_client_conn", 500, 5_000),
        ("query_wait_timeout", 30, 90),
        ("server_login_retry", 2, 9),
    ] {
        let lines: Vec<String> =
            good.lines()
                .map(|line| {
                    if line.starts_with(key) { format!("{key} = {}", dice.pick(least, most)) } else { line.to_owned() }
                })
                .collect();
        good = lines.join("\n") + "\n";
    }
    if dice.pick(0, 1) == 0 {
        return File { bytes: good.into_bytes(), broken: None };
    }
    let lines: Vec<&str> = good.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("[pgbouncer]")).expect("its section") as u64 + 1;
    let at = usize::try_from(dice.pick(first, lines.len() as u64)).expect("short");
    let with = |line: &str| ([&lines[..at], &[line], &lines[at..]].concat().join("\n") + "\n").into_bytes();
    let (kind, bytes) = match dice.pick(0, 4) {
        0 => ("unknown key", with("no_such_key_anywhere = 1")),
        1 => ("wrong type", with("default_pool_size = many")),
        2 => ("no value", with("nothing")),
        3 => ("wrong word", with("pool_mode = sometimes")),
        _ => ("include that is not there", with("%include nowhere.ini")),
    };
    File { bytes, broken: Some(kind) }
}
