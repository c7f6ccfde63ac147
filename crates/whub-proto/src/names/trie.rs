//! One trie for service patterns and channel filters.
//!
//! ```text
//! root ─ "files" ─┬ value   /files           a/:x and a/:y are the same place: parameter names are not part of it
//!                 ├ rest    /files/*rest
//!                 └ one ─ value   /files/:name
//! ```
//!
//! [`Trie::best`] finds the most specific pattern of a path, [`Trie::for_each_match`] all filters of a channel. Both
//! allocate nothing for names without escapes and visit each node at most once per way to reach it.

use std::collections::HashMap;

use super::{Channel, ServicePath, escape};

/// One segment of a pattern or filter, without the name of its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// This text.
    Literal(&'a str),
    /// Any one segment: `:name`, `+`.
    One,
    /// The remainder: `*rest`, `#`. Only at the end.
    Rest,
}

/// What a [`Trie`] files its values under: a [`Pattern`](super::Pattern) or a [`Filter`](super::Filter).
pub trait Shape {
    /// The segments in order.
    fn keys(&self) -> impl Iterator<Item = Key<'_>>;
}

/// Values by pattern or by filter; do not mix the two in one trie.
#[derive(Debug)]
pub struct Trie<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    value: Option<V>,
    rest: Option<V>,
    one: Option<Box<Self>>,
    // Only ever looked up, never iterated, so its random order is not seen.
    literals: HashMap<Box<str>, Self>,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { value: None, rest: None, one: None, literals: HashMap::new() }
    }
}

impl<V> Trie<V> {
    /// An empty trie.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files a value and returns the one that it replaces.
    pub fn insert(&mut self, shape: &impl Shape, value: V) -> Option<V> {
        let old = self.root.slot(shape.keys()).replace(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// The value of this shape, made by `make` if there is none.
    pub fn get_or_insert_with(&mut self, shape: &impl Shape, make: impl FnOnce() -> V) -> &mut V {
        let slot = self.root.slot(shape.keys());
        self.len += usize::from(slot.is_none());
        slot.get_or_insert_with(make)
    }

    /// The value filed under exactly this shape.
    pub fn get(&self, shape: &impl Shape) -> Option<&V> {
        let mut node = &self.root;
        for key in shape.keys() {
            node = match key {
                Key::Literal(text) => node.literals.get(text)?,
                Key::One => node.one.as_deref()?,
                Key::Rest => return node.rest.as_ref(),
            };
        }
        node.value.as_ref()
    }

    /// The value filed under exactly this shape, to be changed.
    pub fn get_mut(&mut self, shape: &impl Shape) -> Option<&mut V> {
        let mut node = &mut self.root;
        for key in shape.keys() {
            node = match key {
                Key::Literal(text) => node.literals.get_mut(text)?,
                Key::One => node.one.as_deref_mut()?,
                Key::Rest => return node.rest.as_mut(),
            };
        }
        node.value.as_mut()
    }

    /// Takes out the value filed under exactly this shape, with the branches that it alone needed.
    pub fn remove(&mut self, shape: &impl Shape) -> Option<V> {
        let removed = self.root.remove(&mut shape.keys());
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The value of the most specific pattern that matches the path. From the left, a literal beats `:name`, which
    /// beats `*rest`.
    pub fn best(&self, path: &ServicePath<'_>) -> Option<&V> {
        if path.host().is_some() {
            // No wildcard at the root takes a host.
            return self.root.literals.get("")?.best(Some(&path.as_str()[2..]));
        }
        self.root.best(Some(&path.as_str()[1..]))
    }

    /// Whether there is a value for any path of this host, which is in its one spelling.
    pub fn has_host(&self, host: &str) -> bool {
        self.root.literals.get("").is_some_and(|hosts| hosts.literals.contains_key(host))
    }

    /// Calls `visit` with every value, in no particular order.
    pub fn for_each<'t>(&'t self, mut visit: impl FnMut(&'t V)) {
        self.root.for_each(&mut visit);
    }

    /// Calls `visit` with the value of every filter that matches the channel, once each.
    pub fn for_each_match<'t>(&'t self, channel: &Channel<'_>, mut visit: impl FnMut(&'t V)) {
        let special = channel.is_special();
        self.root.for_each_match(Some(channel.as_str()), special, &mut visit);
    }
}

impl<V> Node<V> {
    fn slot<'k>(&mut self, keys: impl Iterator<Item = Key<'k>>) -> &mut Option<V> {
        let mut node = self;
        for key in keys {
            node = match key {
                Key::Literal(text) => node.literals.entry(text.into()).or_default(),
                Key::One => node.one.get_or_insert_default(),
                Key::Rest => return &mut node.rest,
            };
        }
        &mut node.value
    }

    fn remove<'k>(&mut self, keys: &mut impl Iterator<Item = Key<'k>>) -> Option<V> {
        match keys.next() {
            None => self.value.take(),
            Some(Key::Rest) => self.rest.take(),
            Some(Key::One) => {
                let child = self.one.as_deref_mut()?;
                let removed = child.remove(keys);
                if child.is_empty() {
                    self.one = None;
                }
                removed
            }
            Some(Key::Literal(text)) => {
                let child = self.literals.get_mut(text)?;
                let removed = child.remove(keys);
                if child.is_empty() {
                    self.literals.remove(text);
                }
                removed
            }
        }
    }

    fn for_each<'t>(&'t self, visit: &mut impl FnMut(&'t V)) {
        self.value.iter().chain(&self.rest).for_each(&mut *visit);
        // The order is random, and callers are told so.
        #[allow(clippy::iter_over_hash_type)]
        for child in self.literals.values().chain(self.one.as_deref()) {
            child.for_each(visit);
        }
    }

    fn is_empty(&self) -> bool {
        self.value.is_none() && self.rest.is_none() && self.one.is_none() && self.literals.is_empty()
    }

    /// `remaining` is what the path holds after this node: nothing, or segments with the slash before them cut off.
    fn best(&self, remaining: Option<&str>) -> Option<&V> {
        if matches!(remaining, None | Some("")) && self.value.is_some() {
            return self.value.as_ref();
        }
        remaining.and_then(|remaining| self.best_child(remaining)).or(self.rest.as_ref())
    }

    fn best_child(&self, remaining: &str) -> Option<&V> {
        let (raw, after) = split(remaining);
        let segment = escape::decode(raw).ok()?;
        let literal = self.literals.get(&*segment).and_then(|child| child.best(after));
        if literal.is_some() || segment.is_empty() {
            return literal;
        }
        self.one.as_deref()?.best(after)
    }

    /// `special` bars wildcards: the channel begins with `$` and this is its first segment.
    fn for_each_match<'t>(&'t self, remaining: Option<&str>, special: bool, visit: &mut impl FnMut(&'t V)) {
        if let Some(value) = &self.rest
            && !special
        {
            visit(value);
        }
        let Some(remaining) = remaining else {
            if let Some(value) = &self.value {
                visit(value);
            }
            return;
        };
        let (segment, after) = split(remaining);
        if let Some(child) = self.literals.get(segment) {
            child.for_each_match(after, false, visit);
        }
        if let Some(child) = &self.one
            && !special
        {
            child.for_each_match(after, false, visit);
        }
    }
}

fn split(remaining: &str) -> (&str, Option<&str>) {
    remaining.split_once('/').map_or((remaining, None), |(segment, after)| (segment, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Filter, Pattern};

    fn services(patterns: &[&'static str]) -> Trie<&'static str> {
        let mut trie = Trie::new();
        for text in patterns {
            trie.insert(&Pattern::parse(text).unwrap(), *text);
        }
        trie
    }

    #[test]
    fn the_most_specific_pattern_wins() {
        let trie = services(&["/a/b", "/a/:x", "/a/*r", "/:x/b", "/*r"]);
        for (path, best) in [
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b"),
            ("/a/c", "/a/:x"),
            ("/a", "/a/*r"),
            ("/a/", "/a/*r"),
            ("/a/b/c", "/a/*r"),
            ("/c/b", "/:x/b"),
            ("/c/d", "/*r"),
        ] {
            assert_eq!(trie.best(&ServicePath::parse(path).unwrap()), Some(&best), "{path}");
        }
    }

    #[test]
    fn hosts_have_paths_of_their_own() {
        let mut trie = services(&["/*r", "/:x/*r", "//a.example/*r", "//a.example/api/:x", "//b.example"]);
        for (path, best) in [
            ("//a.example/", Some("//a.example/*r")),
            ("//a.example/api/1", Some("//a.example/api/:x")),
            ("//b.example/", Some("//b.example")),
            ("//b.example/x", None),
            ("//c.example/", None),
            ("/a.example/x", Some("/:x/*r")),
        ] {
            assert_eq!(trie.best(&ServicePath::parse(path).unwrap()).copied(), best, "{path}");
        }
        assert!(trie.has_host("a.example") && !trie.has_host("c.example") && !trie.has_host("api"));
        trie.remove(&Pattern::parse("//b.example").unwrap());
        assert!(!trie.has_host("b.example"));
    }

    #[test]
    fn a_dead_end_is_left_again() {
        let trie = services(&["/a/b/c", "/a/:x/d", "/:x/b/e"]);
        assert_eq!(trie.best(&ServicePath::parse("/a/b/d").unwrap()), Some(&"/a/:x/d"));
        assert_eq!(trie.best(&ServicePath::parse("/a/b/e").unwrap()), Some(&"/:x/b/e"));
        assert_eq!(trie.best(&ServicePath::parse("/a/b/f").unwrap()), None);
    }

    #[test]
    fn an_empty_segment_is_no_parameter() {
        let trie = services(&["/a/:x/b"]);
        assert_eq!(trie.best(&ServicePath::parse("/a//b").unwrap()), None);
    }

    #[test]
    fn escapes_match_their_literal() {
        let trie = services(&["/caf%C3%A9/:x"]);
        assert!(trie.best(&ServicePath::parse("/caf%c3%a9/a%2Fb").unwrap()).is_some());
    }

    #[test]
    fn every_matching_filter_is_visited_once() {
        let mut trie = Trie::new();
        for text in ["#", "+/#", "sport/#", "sport/+", "sport/tennis", "+/+", "sport", "$sys/#", "$sys/+"] {
            trie.insert(&Filter::parse(text).unwrap(), text);
        }
        let matches = |channel: &str| {
            let mut found = Vec::new();
            trie.for_each_match(&Channel::parse(channel).unwrap(), |value| found.push(*value));
            found.sort_unstable();
            found
        };
        assert_eq!(matches("sport/tennis"), ["#", "+/#", "+/+", "sport/#", "sport/+", "sport/tennis"]);
        assert_eq!(matches("sport"), ["#", "+/#", "sport", "sport/#"]);
        assert_eq!(matches("$sys/load"), ["$sys/#", "$sys/+"]);
    }

    #[test]
    fn removal_leaves_nothing_behind() {
        let texts = ["/a/b/c", "/a/:x/c", "/a/*r", "/a"];
        let mut trie = services(&texts);
        assert_eq!(trie.len(), 4);
        for text in texts {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(trie.remove(&pattern), Some(text));
            assert_eq!(trie.remove(&pattern), None);
        }
        assert!(trie.is_empty() && trie.root.is_empty());
    }

    #[test]
    fn parameter_names_do_not_make_a_new_place() {
        let mut trie = services(&["/a/:x"]);
        let other = Pattern::parse("/a/:y").unwrap();
        assert_eq!(trie.get(&other), Some(&"/a/:x"));
        assert_eq!(trie.insert(&other, "/a/:y"), Some("/a/:x"));
        *trie.get_or_insert_with(&other, || "unused") = "changed";
        assert_eq!(trie.get_mut(&other), Some(&mut "changed"));
        assert_eq!(trie.len(), 1);
    }
}
