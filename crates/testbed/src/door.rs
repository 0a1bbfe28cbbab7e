//! The ways in which a driver's checks are run: in clear and over TLS, in transaction and in session mode.

use std::path::PathBuf;
use std::process::Command;

use crate::bed::{Bed, Mode, Plan, Target};
use crate::certificate::{Authority, Signature, Wanted};
use crate::place::Place;

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Whether clients speak TLS, and verify the certificate and its name.
    pub tls: bool,
    /// The pool's mode.
    pub mode: Mode,
}

/// Every way.
pub const WAYS: [Way; 3] = [
    Way { tls: false, mode: Mode::Transaction },
    Way { tls: true, mode: Mode::Transaction },
    Way { tls: true, mode: Mode::Session },
];

/// The ways over TLS.
pub const OVER_TLS: [Way; 2] = [WAYS[1], WAYS[2]];

/// A bed that is entered so. In session mode it has a server connection for each of a hundred clients and some more.
#[derive(Debug)]
pub struct Door {
    /// The bed.
    pub bed: Bed,
    /// The authority clients are to trust; `None`: no TLS.
    pub authority: Option<PathBuf>,
    _place: Place,
}

impl Way {
    /// Starts a bed that is entered so, from `plan`.
    #[must_use]
    #[track_caller]
    pub fn open(self, plan: Plan) -> Door {
        let place = Place::new("door");
        let size = if self.mode == Mode::Session { 130 } else { plan.size };
        let mut plan = Plan { size, mode: self.mode, max_connections: plan.max_connections.max(size + 20), ..plan };
        let mut authority = None;
        if self.tls {
            let issuer = Authority::new(&place, "authority", Signature::Sha256);
            let names = ["localhost", "127.0.0.1"];
            let issued = issuer.issue(&place, "pooler", &Wanted { common_name: "localhost", names: &names, days: 30 });
            let lines = format!(
                "[listen.tls]\nmode = \"require\"\ncertificate = \"{}\"\nkey = \"{}\"\n\n[auth]\n",
                issued.certificate.display(),
                issued.key.display()
            );
            plan = plan.edit("[auth]\n", &lines);
            authority = Some(issuer.certificate);
        }
        let target = if self.tls { Target::Poolwarden } else { Target::chosen() };
        Door { bed: Bed::start_as(target, plan), authority, _place: place }
    }
}

impl Door {
    /// Tells a client's environment how to come in, in the words of libpq and of Node.
    pub fn tell(&self, command: &mut Command) {
        if let Some(authority) = &self.authority {
            command
                .env("PGSSLMODE", "verify-full")
                .env("PGSSLROOTCERT", authority)
                .env("NODE_EXTRA_CA_CERTS", authority);
        }
    }
}
