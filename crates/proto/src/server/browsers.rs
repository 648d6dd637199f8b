//! How many connects are held for each browser.

use std::sync::Arc;

use super::sharded::Sharded;

/// Browsers with connects that are held.
#[derive(Debug, Default)]
pub(super) struct Browsers(Sharded<Arc<str>, usize>);

impl Browsers {
    /// Whether so many connects are held for a browser already.
    pub(super) fn is_full(&self, browser: &str, limit: usize) -> bool {
        self.0.get(browser).copied().unwrap_or(0) >= limit
    }

    /// One more is held.
    pub(super) fn hold(&mut self, browser: &Arc<str>) {
        match self.0.get_mut(browser) {
            Some(held) => *held += 1,
            None => drop(self.0.insert(Arc::clone(browser), 1)),
        }
    }

    /// One fewer is held.
    pub(super) fn release(&mut self, browser: &str) {
        if let Some(held) = self.0.get_mut(browser) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.0.remove(browser);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_and_forgotten_again() {
        let mut browsers = Browsers::default();
        let browser: Arc<str> = "b".into();
        assert!(browsers.is_full("b", 0) && !browsers.is_full("b", 1));
        browsers.hold(&browser);
        browsers.hold(&browser);
        assert!(browsers.is_full("b", 2) && !browsers.is_full("a", 1));
        browsers.release("b");
        assert!(!browsers.is_full("b", 2));
        browsers.release("b");
        browsers.release("b");
        assert!(browsers.0.is_empty());
    }
}
