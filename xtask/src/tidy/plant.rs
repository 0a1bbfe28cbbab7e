//! A throwaway tree in which a test plants a violation, to see the wall fire.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::finding::Tree;

pub(crate) struct Plant {
    pub(crate) root: PathBuf,
}

impl Plant {
    pub(crate) fn new() -> Plant {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("poolwarden-tidy-{}-{n}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Plant { root }
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::read(&self.root).unwrap()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        // A leftover folder in the system's temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.root);
    }
}
