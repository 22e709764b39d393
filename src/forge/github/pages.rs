//! Pages kept for conditional requests: a validator always lies beside the
//! very page it validates, and each credential has a store of its own.
//!
//! Bounded by entries and bytes; the least recently used page goes first.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// A page and its validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// The validator.
    pub(super) etag: String,
    /// The body.
    pub(super) body: Bytes,
    /// The `Link` header, where there was one.
    pub(super) link: Option<String>,
}

impl Page {
    fn weight(&self) -> usize {
        self.etag.len() + self.body.len() + self.link.as_ref().map_or(0, String::len)
    }
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<String, (u64, Page)>,
    bytes: usize,
    clock: u64,
}

/// The pages of one credential.
#[derive(Debug)]
pub(super) struct Pages {
    most_entries: usize,
    most_bytes: usize,
    state: Mutex<State>,
}

impl Pages {
    pub(super) fn new(most_entries: usize, most_bytes: usize) -> Self {
        Self {
            most_entries,
            most_bytes,
            state: Mutex::default(),
        }
    }

    /// The page of an address.
    pub(super) fn get(&self, address: &str) -> Option<Page> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let (used, page) = state.kept.get_mut(address)?;
        *used = now;
        Some(page.clone())
    }

    /// Keeps a page in place of an older one.
    pub(super) fn put(&self, address: &str, page: Page) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(address);
        if page.weight() > self.most_bytes {
            return;
        }
        state.clock += 1;
        let now = state.clock;
        state.bytes += page.weight();
        state.kept.insert(address.to_owned(), (now, page));
        while state.kept.len() > self.most_entries || state.bytes > self.most_bytes {
            let oldest = state.kept.iter().min_by_key(|(_, (used, _))| *used);
            let Some(oldest) = oldest.map(|(address, _)| address.clone()) else {
                break;
            };
            state.remove(&oldest);
        }
    }
}

impl State {
    fn remove(&mut self, address: &str) {
        if let Some((_, page)) = self.kept.remove(address) {
            self.bytes -= page.weight();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(size: usize) -> Page {
        Page {
            etag: "e".to_owned(),
            body: Bytes::from(vec![0; size]),
            link: None,
        }
    }

    #[test]
    fn the_least_recently_used_page_goes_first() {
        let pages = Pages::new(2, 1000);
        pages.put("/a", page(1));
        pages.put("/b", page(1));
        assert!(pages.get("/a").is_some());
        pages.put("/c", page(1));
        assert!(pages.get("/b").is_none());
        assert!(pages.get("/a").is_some() && pages.get("/c").is_some());
    }

    #[test]
    fn bytes_are_bounded_and_a_replaced_page_frees_its_own() {
        let pages = Pages::new(10, 100);
        for _ in 0..5 {
            pages.put("/a", page(60));
        }
        assert!(pages.get("/a").is_some());
        pages.put("/b", page(60));
        assert!(pages.get("/a").is_none());
        pages.put("/huge", page(101));
        assert!(pages.get("/huge").is_none() && pages.get("/b").is_some());
    }
}
