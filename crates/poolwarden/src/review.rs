//! A review from its inputs to what is printed: files are read, what runs is asked, the rules judge, and one of the formats
//! says it.

pub(crate) mod fix;
mod github;
mod given;
mod input;
mod json;
mod sarif;
mod text;

pub(crate) use given::{BACKENDS_IN, Given};
pub(crate) use input::{Files, Inputs};

use poolwarden_config::Severity;
use poolwarden_config::review::waterfall::{self, Waterfall};
use poolwarden_config::review::{Atlas, Dossier, Gathered, Judged, Paint, Standing, Verdict, exit_code};

/// What is printed.
pub(crate) struct Review {
    pub(crate) gathered: Gathered,
    pub(crate) verdict: Verdict,
    pub(crate) waterfalls: Vec<Waterfall>,
    /// What was given and is not whole, in words.
    pub(crate) incomplete: Vec<String>,
    /// Whether findings are compared with a baseline.
    pub(crate) compared: bool,
}

/// How many findings of each severity count, and how many do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    errors: usize,
    warnings: usize,
    infos: usize,
    known: usize,
    allowed: usize,
}

impl Review {
    pub(crate) fn new(gathered: Gathered, verdict: Verdict, incomplete: Vec<String>, compared: bool) -> Self {
        let waterfalls = waterfall::waterfalls(&gathered.dossier);
        Self { gathered, verdict, waterfalls, incomplete, compared }
    }

    /// The exit code, if everything that was to be read was read.
    pub(crate) fn exit(&self) -> u8 {
        let unusable = !self.gathered.unreadable.is_empty();
        exit_code(unusable, self.verdict.fails, !self.incomplete.is_empty() || !self.verdict.missing.is_empty())
    }

    pub(crate) fn text(&self, paint: Paint) -> String {
        text::text(self, paint)
    }

    pub(crate) fn json(&self) -> String {
        format!("{}\n", json::json(self))
    }

    pub(crate) fn sarif(&self) -> String {
        format!("{:#}\n", sarif::sarif(self))
    }

    /// Annotations of the log.
    pub(crate) fn github(&self) -> String {
        github::annotations(self, std::env::var("GITHUB_WORKSPACE").ok().as_deref())
    }

    /// The page of a workflow's step.
    pub(crate) fn markdown(&self) -> String {
        github::summary(self)
    }

    fn dossier(&self) -> &Dossier {
        &self.gathered.dossier
    }

    fn atlas(&self) -> Atlas<'_> {
        Atlas::new(self.dossier())
    }

    /// Findings that count.
    pub(crate) fn counting(&self) -> impl Iterator<Item = &Judged> {
        self.verdict.findings.iter().filter(|judged| judged.standing == Standing::New)
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for judged in &self.verdict.findings {
            let counter = match (&judged.standing, judged.finding.severity) {
                (Standing::Known, _) => &mut counts.known,
                (Standing::Allowed(_), _) => &mut counts.allowed,
                (Standing::New, Severity::Error) => &mut counts.errors,
                (Standing::New, Severity::Warning) => &mut counts.warnings,
                (Standing::New, Severity::Info) => &mut counts.infos,
            };
            *counter += 1;
        }
        counts
    }

    /// Whether a file is wrong in itself, so that the rules did not see all of it.
    fn is_broken(&self) -> bool {
        let broken = self.gathered.faults.iter().any(|fault| fault.severity == Severity::Error);
        broken || !self.gathered.unreadable.is_empty()
    }

    /// What was found, in a line.
    fn sum(&self) -> String {
        let Counts { errors, warnings, infos, known, allowed } = self.counts();
        let mut parts = match (errors, warnings, infos) {
            (0, 0, 0) => vec!["nothing found".to_owned()],
            (_, _, 0) => vec![some(errors, "error"), some(warnings, "warning")],
            (_, _, infos) => vec![some(errors, "error"), some(warnings, "warning"), some(infos, "remark")],
        };
        let unread = self.gathered.unreadable.len();
        if unread > 0 {
            parts.insert(0, format!("{} not read", some(unread, "file")));
        }
        parts.extend((known > 0).then(|| format!("{known} known from the baseline")));
        parts.extend((allowed > 0).then(|| format!("{allowed} allowed")));
        let unchecked = self.verdict.not_checked.len();
        parts.extend((unchecked > 0).then(|| format!("{} not checked", some(unchecked, "rule"))));
        parts.join(", ")
    }
}

/// A count with its word.
fn some(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
