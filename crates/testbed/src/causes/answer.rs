//! The answer of `GET /api/v1/why?format=json`, read by the names that PRODUCT promises.

use serde_json::Value;

/// One answer about one pool.
#[derive(Debug, Clone)]
pub struct Why {
    /// The whole answer, for the record.
    pub whole: Value,
    pool: Value,
}

impl Why {
    /// Of an answer, the part about the pool of `app` for the user `app`.
    ///
    /// # Errors
    /// What is missing in it.
    pub fn read(text: &str) -> Result<Why, String> {
        let whole: Value = serde_json::from_str(text).map_err(|e| format!("why is no JSON: {e}: {text}"))?;
        if whole["schema"] != 1 {
            return Err(format!("why has no schema 1: {text}"));
        }
        let mut pools = whole["pools"].as_array().into_iter().flatten();
        let ours = pools.find(|pool| pool["pool"] == "app" && pool["user"] == "app");
        let pool = ours.cloned().ok_or_else(|| "why does not tell of the pool app/app".to_string())?;
        Ok(Why { whole, pool })
    }

    /// `calm`, `tight`, `saturated`, `paused`, `down`.
    #[must_use]
    pub fn state(&self) -> &str {
        self.pool["state"].as_str().unwrap_or_default()
    }

    /// Causes that are supported, with their shares, the largest first.
    #[must_use]
    pub fn supported(&self) -> Vec<(String, f64)> {
        let causes = self.pool["causes"].as_array().into_iter().flatten();
        let supported = causes.filter(|cause| cause["verdict"] == "supported");
        let mut found: Vec<(String, f64)> = supported
            .map(|cause| {
                (cause["code"].as_str().unwrap_or("?").to_string(), cause["share"].as_f64().unwrap_or(f64::NAN))
            })
            .collect();
        // Stable: of equal shares, the one listed first stays first.
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }

    /// A cause's object.
    #[must_use]
    pub fn cause(&self, code: &str) -> &Value {
        let mut causes = self.pool["causes"].as_array().into_iter().flatten();
        causes.find(|cause| cause["code"] == code).unwrap_or(&Value::Null)
    }

    /// A number of a cause's evidence, if the cause is supported.
    #[must_use]
    pub fn evidence(&self, code: &str, name: &str) -> Option<f64> {
        let cause = self.cause(code);
        let evidence = cause["evidence"].as_array().into_iter().flatten();
        let mut found = evidence.filter_map(|one| one["numbers"][name].as_f64());
        if cause["verdict"] == "supported" { found.next() } else { None }
    }

    /// Whether no cause explains most of the wait.
    #[must_use]
    pub fn mixed(&self) -> bool {
        self.pool["mixed"] == true
    }

    /// The limit that binds, and its size.
    #[must_use]
    pub fn binding(&self) -> (&str, Option<u64>) {
        let binding = &self.pool["binding_limit"];
        (binding["name"].as_str().unwrap_or("none"), binding["size"].as_u64())
    }

    /// Whether it does bind: somebody waits or is refused for it.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.pool["binding_limit"]["binds"] == true
    }

    /// What raising a limit would gain.
    #[must_use]
    pub fn gain(&self, limit: &str) -> &Value {
        let mut gains = self.pool["gains"].as_array().into_iter().flatten();
        gains.find(|gain| gain["limit"] == limit).unwrap_or(&Value::Null)
    }

    /// Layers that are accused.
    #[must_use]
    pub fn accused(&self) -> Vec<String> {
        let layers = self.whole["layers"].as_array().into_iter().flatten();
        let accused = layers.filter(|layer| layer["verdict"] == "supported");
        accused.map(|layer| layer["name"].as_str().unwrap_or("?").to_string()).collect()
    }

    /// A layer whose name begins so.
    #[must_use]
    pub fn layer(&self, name: &str) -> &Value {
        let mut layers = self.whole["layers"].as_array().into_iter().flatten();
        layers.find(|layer| layer["name"].as_str().is_some_and(|is| is.starts_with(name))).unwrap_or(&Value::Null)
    }

    /// A number of all pools of the user `app` together, as the books keep them.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        let pools = self.whole["pools"].as_array().into_iter().flatten();
        pools.filter(|pool| pool["user"] == "app").filter_map(|pool| pool[name].as_u64()).sum()
    }

    /// Who holds: processes, states and ages in milliseconds.
    #[must_use]
    pub fn holders(&self) -> Vec<(u32, String, u64)> {
        let holders = self.pool["holders"].as_array().into_iter().flatten();
        let of = |holder: &Value| {
            let pid = u32::try_from(holder["pid"].as_u64()?).ok()?;
            Some((pid, holder["state"].as_str()?.to_string(), holder["age_ms"].as_u64()?))
        };
        holders.filter_map(of).collect()
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &str {
        self.pool["next_step"].as_str().unwrap_or_default()
    }
}
