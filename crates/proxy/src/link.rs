//! A connected socket as a value that can move between threads.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::tls::Tls;

/// A connected, non-blocking stream socket and its TLS; closing it gives its place back.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) fd: OwnedFd,
    /// In a box, because most connections have none and tables of them shall stay small.
    pub(crate) tls: Option<Box<Tls>>,
    _place: Option<Place>,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, tls: Option<Box<Tls>>, place: Option<Place>) -> Self {
        Self { fd, tls, _place: place }
    }
}

/// One of a bounded number of places; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicU32>);

impl Place {
    /// Takes a place unless `most` are taken.
    pub(crate) fn take(taken: &Arc<AtomicU32>, most: u32) -> Option<Self> {
        let more = |count: u32| (count < most).then_some(count + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
