//! A fault or a remark with its place in the text, and how it is shown.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Allowed, and probably not meant.
    Warning,
    /// The file is refused.
    Error,
}

impl Severity {
    /// `info`, `warning` or `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One fault or remark about a configuration text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Stable short name of the kind of fault: `unknown-key`, `missing-unit`, ...
    pub code: &'static str,
    /// What is wrong: lower case, no full stop, never a secret.
    pub message: String,
    /// Bytes of the text it is about; empty at the text's end when it is about something that is not there.
    pub span: Range<usize>,
    /// Line of the span's start, from 1.
    pub line: usize,
    /// Column of the span's start in characters, from 1.
    pub column: usize,
    /// What to write instead; empty when the message says it all.
    pub fix: String,
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        code: &'static str,
        span: Range<usize>,
        message: String,
        fix: String,
    ) -> Self {
        Self { severity, code, message, span, line: 0, column: 0, fix }
    }

    /// Puts the span inside the text, on character boundaries, and counts lines and columns.
    pub(crate) fn locate(&mut self, text: &str) {
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end).max(start);
        self.span = start..end;
        let before = &text[..start];
        self.line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.column = before[line_start..].chars().count() + 1;
    }
}

/// Whether any finding refuses the file.
#[must_use]
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// All findings as text for people: `file:line:column`, the line itself, what to write instead.
#[must_use]
pub fn render(file: &str, text: &str, findings: &[Finding]) -> String {
    let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for finding in findings {
        let level = match finding.severity {
            Severity::Info => Level::INFO,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let title = level.primary_title(finding.message.as_str()).id(finding.code);
        let snippet = Snippet::source(text).path(file).annotation(AnnotationKind::Primary.span(finding.span.clone()));
        let mut group = title.element(snippet);
        if !finding.fix.is_empty() {
            group = group.element(Level::HELP.message(finding.fix.as_str()));
        }
        out.push_str(&renderer.render(&[group]).to_string());
        out.push('\n');
    }
    out
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
