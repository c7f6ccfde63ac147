//! The repeated parts of an envelope. Each is a cheap view, over the verified bytes or over a slice of the writer's,
//! so that one set of structs serves reading, building and the JSON mirror.

use std::fmt;

use flatbuffers::{ForwardsUOffset, Vector};

use crate::{
    convert::FromWire,
    tables::{Member, NodeInfo, Route},
    wire,
};

/// Most header pairs of an envelope: the 64 fields that HTTP requests may have, and room for what hubs add on the way.
pub const HEADER_PAIRS_MAX: usize = 96;

pub(crate) type WireStrings<'a> = Vector<'a, ForwardsUOffset<&'a str>>;

/// Header pairs in order; keys are lower-case and may repeat. At most [`HEADER_PAIRS_MAX`].
#[derive(Clone, Copy)]
pub struct Headers<'a>(HeadersRepr<'a>);

#[derive(Clone, Copy)]
enum HeadersRepr<'a> {
    Wire(WireStrings<'a>),
    Pairs(&'a [(&'a str, &'a str)]),
}

impl<'a> Headers<'a> {
    /// No header.
    pub const EMPTY: Self = Self(HeadersRepr::Pairs(&[]));

    /// Views the pairs. Keys must be lower-case; the writer refuses more than [`HEADER_PAIRS_MAX`] pairs.
    pub const fn new(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(HeadersRepr::Pairs(pairs))
    }

    /// The pairs in order.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { headers: *self, next: 0 }
    }

    /// The first value of a key; ASCII case does not matter.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        match self.0 {
            HeadersRepr::Wire(strings) => strings.len() / 2,
            HeadersRepr::Pairs(pairs) => pairs.len(),
        }
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every key has its value and there are not too many pairs.
    pub(crate) fn is_valid(&self) -> bool {
        let even = match self.0 {
            HeadersRepr::Wire(strings) => strings.len() % 2 == 0,
            HeadersRepr::Pairs(_) => true,
        };
        even && self.len() <= HEADER_PAIRS_MAX
    }

    fn pair(&self, index: usize) -> Option<(&'a str, &'a str)> {
        match self.0 {
            HeadersRepr::Wire(strings) if index < strings.len() / 2 => {
                Some((strings.get(2 * index), strings.get(2 * index + 1)))
            }
            HeadersRepr::Wire(_) => None,
            HeadersRepr::Pairs(pairs) => pairs.get(index).copied(),
        }
    }
}

/// The pairs of [`Headers`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    headers: Headers<'a>,
    next: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.headers.pair(self.next)?;
        self.next += 1;
        Some(pair)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

impl Default for Headers<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Headers<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> From<WireStrings<'a>> for Headers<'a> {
    fn from(strings: WireStrings<'a>) -> Self {
        Self(HeadersRepr::Wire(strings))
    }
}

/// Declares a list. A type of its own for each kind of item, rather than a generic one: an associated wire type would
/// make the lifetime invariant, and bodies of different lifetimes could not be compared or passed on.
macro_rules! lists {
    ($($(#[doc = $doc:literal])+ $name:ident, $repr:ident: $item:ty, $wire:ty;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy)]
        pub struct $name<'a>($repr<'a>);

        #[derive(Clone, Copy)]
        enum $repr<'a> {
            Wire(Vector<'a, $wire>),
            Slice(&'a [$item]),
        }

        impl<'a> $name<'a> {
            /// Views the items.
            pub const fn new(items: &'a [$item]) -> Self {
                Self($repr::Slice(items))
            }

            /// Number of items.
            pub fn len(&self) -> usize {
                match self.0 {
                    $repr::Wire(vector) => vector.len(),
                    $repr::Slice(slice) => slice.len(),
                }
            }

            /// Whether there is no item.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The item at `index`.
            pub fn get(&self, index: usize) -> Option<$item> {
                match self.0 {
                    $repr::Wire(vector) if index < vector.len() => Some(FromWire::from_wire(vector.get(index))),
                    $repr::Wire(_) => None,
                    $repr::Slice(slice) => slice.get(index).copied(),
                }
            }

            /// The items in order.
            pub fn iter(&self) -> impl Iterator<Item = $item> + use<'a> {
                let list = *self;
                (0..list.len()).filter_map(move |index| list.get(index))
            }
        }

        impl Default for $name<'_> {
            fn default() -> Self {
                Self::new(&[])
            }
        }

        impl PartialEq for $name<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }

        impl<'a> From<Vector<'a, $wire>> for $name<'a> {
            fn from(vector: Vector<'a, $wire>) -> Self {
                Self($repr::Wire(vector))
            }
        }
    )+};
}

lists! {
    /// Several texts, such as features.
    Strings, StringsRepr: &'a str, ForwardsUOffset<&'a str>;
    /// Several numbers, such as members of a room.
    Numbers, NumbersRepr: u32, u32;
    /// Several nodes.
    Nodes, NodesRepr: NodeInfo<'a>, ForwardsUOffset<wire::NodeInfo<'a>>;
    /// Several members of a room.
    Members, MembersRepr: Member<'a>, ForwardsUOffset<wire::Member<'a>>;
    /// Several names that a node serves.
    Routes, RoutesRepr: Route<'a>, ForwardsUOffset<wire::Route<'a>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_key_is_found() {
        let headers = Headers::new(&[("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.get("A"), Some("1"));
        assert_eq!(headers.get("c"), None);
        assert_eq!(headers.iter().count(), 3);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let pairs = [("k", "v"); HEADER_PAIRS_MAX + 1];
        assert!(Headers::new(&pairs[1..]).is_valid());
        assert!(!Headers::new(&pairs).is_valid());
    }

    #[test]
    fn lists_compare_by_items() {
        assert_eq!(Numbers::new(&[1, 2, 3]), Numbers::new(&[1, 2, 3]));
        assert_ne!(Strings::new(&["a"]), Strings::new(&["b"]));
        assert_eq!(Numbers::default().get(0), None);
    }
}
