//! Header pairs as this program owns them.

/// Header pairs in order. Names are lower-case and may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds a pair; the name becomes lower-case.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let mut name = name.into();
        name.make_ascii_lowercase();
        self.0.push((name, value.into()));
    }

    /// The first value of a name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs as the wire's writer takes them.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        self.iter().collect()
    }
}

impl From<whub_proto::Headers<'_>> for Headers {
    fn from(headers: whub_proto::Headers<'_>) -> Self {
        Self(headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_may_repeat() {
        let headers: Headers = [("X-A", "1"), ("x-a", "2")].into_iter().collect();
        assert_eq!(headers.get("X-a"), Some("1"));
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("x-a", "1"), ("x-a", "2")]);
    }
}
