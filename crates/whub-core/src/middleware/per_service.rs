//! Settings that some services have and others have not.

use whub_proto::names::Pattern;

/// Settings by the pattern of the services that they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerService<T> {
    entries: Vec<(Pattern, T)>,
}

impl<T> PerService<T> {
    /// Of two entries for the same pattern the later one holds.
    #[must_use]
    pub fn new(entries: Vec<(Pattern, T)>) -> Self {
        Self { entries }
    }

    /// The entry for a service: of those that cover its pattern, the narrowest.
    #[must_use]
    pub fn find(&self, service: &Pattern) -> Option<&T> {
        let covering = self.entries.iter().filter(|(pattern, _)| pattern.covers(service));
        covering.reduce(|best, next| if best.0.covers(&next.0) { next } else { best }).map(|(_, found)| found)
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The entry for exactly this pattern.
    #[must_use]
    pub fn entry(&self, pattern: &Pattern) -> Option<&T> {
        self.entries.iter().rev().find(|(known, _)| known == pattern).map(|(_, entry)| entry)
    }

    /// The same entries with other settings.
    #[must_use]
    pub fn map<U>(&self, mut change: impl FnMut(&Pattern, &T) -> U) -> PerService<U> {
        let entries = self.entries.iter().map(|(pattern, entry)| (pattern.clone(), change(pattern, entry)));
        PerService { entries: entries.collect() }
    }
}

impl<T> Default for PerService<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_pattern_decides() {
        let entry = |pattern: &str, value| (Pattern::parse(pattern).unwrap(), value);
        let settings = PerService::new(vec![
            entry("/a/b", 1),
            entry("/a/*rest", 2),
            entry("/*rest", 3),
            entry("/a/b", 4),
        ]);
        let find = |service: &str| settings.find(&Pattern::parse(service).unwrap()).copied();
        assert_eq!((find("/a/b"), find("/a/c"), find("/q")), (Some(4), Some(2), Some(3)));
        assert_eq!(PerService::<u8>::default().find(&Pattern::parse("/q").unwrap()), None);
    }
}
