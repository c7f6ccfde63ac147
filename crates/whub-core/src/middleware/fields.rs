//! Headers that a step may change: a view until the first change, then a copy.

use std::borrow::Cow;

use whub_proto::Headers;

/// A header with its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The headers of a request or an answer, in order. Names are lower case and may repeat.
#[derive(Debug)]
pub struct Fields<'a> {
    given: Headers<'a>,
    /// `None` while nothing has changed.
    changed: Option<Vec<Pair<'a>>>,
}

impl<'a> Fields<'a> {
    /// Views headers as they came.
    #[must_use]
    pub fn new(given: Headers<'a>) -> Self {
        Self { given, changed: None }
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.changed.is_none().then(|| self.given.iter()).into_iter().flatten();
        let changed = self.changed.iter().flatten().map(|(name, value)| (&**name, &**value));
        given.chain(changed)
    }

    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Replaces every value of a header by this one.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let name = name.into();
        self.remove(&name);
        self.change().push((name, value.into()));
    }

    /// Adds a value, beside those that are there.
    pub fn add(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.change().push((name.into(), value.into()));
    }

    /// Takes a header out, with all its values.
    pub fn remove(&mut self, name: &str) {
        self.retain(|known, _| !known.eq_ignore_ascii_case(name));
    }

    /// Keeps the pairs that `keep` says yes to. Nothing is copied if it keeps all.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        if let Some(changed) = &mut self.changed {
            changed.retain(|(name, value)| keep(name, value));
            return;
        }
        let Some(first) = self.given.iter().position(|(name, value)| !keep(name, value)) else { return };
        let mut kept = Vec::with_capacity(self.given.len() - 1);
        // Each pair is asked about once, because `keep` may count.
        for (index, (name, value)) in self.given.iter().enumerate() {
            if index < first || (index > first && keep(name, value)) {
                kept.push((name.into(), value.into()));
            }
        }
        self.changed = Some(kept);
    }

    /// The pairs, if they are no longer those that came.
    pub(crate) fn changes(&self) -> Option<Vec<(&str, &str)>> {
        let changed = self.changed.as_ref()?;
        Some(changed.iter().map(|(name, value)| (&**name, &**value)).collect())
    }

    fn change(&mut self) -> &mut Vec<Pair<'a>> {
        let given = self.given;
        self.changed.get_or_insert_with(|| {
            given.iter().map(|(name, value)| (Cow::from(name), Cow::from(value))).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(&str, &str); 4] = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")];

    fn pairs<'a>(fields: &'a Fields<'_>) -> Vec<(&'a str, &'a str)> {
        fields.iter().collect()
    }

    #[test]
    fn what_is_only_read_is_not_copied() {
        let mut fields = Fields::new(Headers::new(&PAIRS));
        fields.retain(|_, _| true);
        fields.remove("d");
        assert_eq!((fields.get("A"), fields.get("d")), (Some("1"), None));
        assert_eq!(pairs(&fields), PAIRS);
        assert!(fields.changes().is_none());
    }

    #[test]
    fn changes_keep_the_order_of_the_rest() {
        let mut fields = Fields::new(Headers::new(&PAIRS));
        fields.remove("a");
        assert_eq!(fields.changes().unwrap(), [("b", "2"), ("c", "4")]);
        fields.set("b", "5");
        fields.add("b", String::from("6"));
        assert_eq!(pairs(&fields), [("c", "4"), ("b", "5"), ("b", "6")]);
        fields.retain(|name, _| name != "c");
        assert_eq!(fields.get("c"), None);
    }

    #[test]
    fn every_pair_is_asked_about_once() {
        let mut fields = Fields::new(Headers::new(&PAIRS));
        let mut asked = Vec::new();
        fields.retain(|name, value| {
            asked.push(value.to_owned());
            name != "b"
        });
        assert_eq!(asked, ["1", "2", "3", "4"]);
        assert_eq!(pairs(&fields), [("a", "1"), ("a", "3"), ("c", "4")]);
    }
}
