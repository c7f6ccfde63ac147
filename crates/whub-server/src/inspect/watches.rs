//! Whose calls are recorded, and until when.

use std::time::Instant;

use whub_core::Fault;
use whub_proto::Code;
use whub_proto::names::{Pattern, ServicePath};

use super::Watched;

/// Scopes that may be watched at a time.
const SCOPES_MAX: usize = 32;

/// A part of the service paths: a pattern, and for one that takes no remainder all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    exact: Pattern,
    below: Option<Pattern>,
}

impl Scope {
    /// Every path.
    pub(crate) fn all() -> Self {
        let exact = Pattern::parse_own("/*rest").expect("a pattern");
        Self { exact, below: None }
    }

    /// The scope of a path or a pattern; empty for all.
    ///
    /// # Errors
    /// When it is no pattern.
    pub(crate) fn parse(path: &str) -> Result<Self, Fault> {
        if matches!(path, "" | "/") {
            return Ok(Self::all());
        }
        let exact = Pattern::parse_own(path)
            .map_err(|error| Fault::fatal(Code::BadRequest, "inspect.path", error.to_string()))?;
        let below = Pattern::parse_own(&format!("{}/*rest", exact.as_str().trim_end_matches('/'))).ok();
        Ok(Self { exact, below })
    }

    pub(crate) fn covers(&self, path: &str) -> bool {
        ServicePath::parse(path).is_ok_and(|path| self.matches(&path))
    }

    fn matches(&self, path: &ServicePath<'_>) -> bool {
        self.exact.matches(path) || self.below.as_ref().is_some_and(|below| below.matches(path))
    }
}

/// What is watched: always by the configuration, for a time by those who look.
#[derive(Debug)]
pub(crate) struct Watches {
    always: Vec<Pattern>,
    scopes: Vec<(Scope, Instant)>,
}

impl Watches {
    pub(crate) fn new(always: Vec<Pattern>) -> Self {
        Self { always, scopes: Vec::new() }
    }

    pub(crate) fn configure(&mut self, always: Vec<Pattern>) {
        self.always = always;
    }

    /// Watches a scope until then, or for longer if it is watched already.
    pub(crate) fn add(&mut self, scope: Scope, until: Instant) -> Result<(), Fault> {
        if let Some((_, known)) = self.scopes.iter_mut().find(|(known, _)| *known == scope) {
            *known = until.max(*known);
            return Ok(());
        }
        if self.scopes.len() >= SCOPES_MAX {
            let reason = format!("{SCOPES_MAX} paths are inspected already; inspect one above them");
            return Err(Fault::passing(Code::TooManyRequests, "inspect.scopes", 60_000, reason));
        }
        self.scopes.push((scope, until));
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.scopes.clear();
    }

    pub(crate) fn wants(&self, now: Instant, path: &ServicePath<'_>) -> bool {
        self.always.iter().any(|pattern| pattern.matches(path))
            || self.scopes.iter().any(|(scope, until)| *until > now && scope.matches(path))
    }

    /// Forgets what is over, and tells what is left.
    pub(crate) fn watched(&mut self, now: Instant) -> Watched {
        self.scopes.retain(|(_, until)| *until > now);
        if !self.always.is_empty() {
            return Watched::Always;
        }
        let last = self.scopes.iter().map(|(_, until)| *until).max();
        last.map_or(Watched::Not, Watched::Until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_scope_is_a_path_and_all_below_it() {
        let scope = Scope::parse("/a/:b").unwrap();
        for (path, covered) in [("/a/x", true), ("/a/x/y", true), ("/a", false), ("/b/x", false)] {
            assert_eq!(scope.covers(path), covered, "{path}");
        }
        for all in ["", "/", "/*rest"] {
            assert!(Scope::parse(all).unwrap().covers("/any/thing"), "{all}");
        }
        assert!(Scope::parse("/status").unwrap().covers("/status/info"), "the hub's own services too");
        assert!(Scope::parse("/a/*b/c").is_err());
    }

    #[test]
    fn a_look_counts_for_a_time() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let path = ServicePath::parse("/a").unwrap();
        let mut watches = Watches::new(Vec::new());
        watches.add(Scope::parse("/a").unwrap(), after(10)).unwrap();
        watches.add(Scope::parse("/a").unwrap(), after(5)).unwrap();
        assert!(watches.wants(after(9), &path) && !watches.wants(after(10), &path));
        assert_eq!(watches.watched(begin), Watched::Until(after(10)));
        assert_eq!(watches.watched(after(10)), Watched::Not);
        for number in 0..SCOPES_MAX {
            watches.add(Scope::parse(&format!("/{number}")).unwrap(), after(20)).unwrap();
        }
        assert_eq!(watches.add(Scope::all(), after(20)).unwrap_err().code, Code::TooManyRequests);
    }
}
