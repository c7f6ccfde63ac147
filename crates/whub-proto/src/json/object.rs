//! JSON objects: written member by member, and read as raw members that are parsed when their field asks for them.

use std::fmt;

use bumpalo::Bump;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Field, Problem};

/// Most members of an object. Fields are looked up by scanning, so this bounds the work that a text can cause.
const MEMBERS_MAX: usize = 256;

/// Writes one object; dropping it does not close it, [`Object::end`] does.
#[derive(Debug)]
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Begins a member; the caller writes its value.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        put(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Writes a field unless it equals its default.
    pub(crate) fn field<'a, T: Field<'a> + PartialEq>(&mut self, name: &str, value: &T, default: &T) {
        if value != default {
            self.required(name, value);
        }
    }

    /// Writes a field.
    pub(crate) fn required<'a, T: Field<'a>>(&mut self, name: &str, value: &T) {
        value.write(self.member(name));
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes a text, number or boolean.
pub(crate) fn put<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Neither a `Vec` nor a scalar can fail.
    serde_json::to_writer(out, value).unwrap_or_default();
}

/// The members of an object that was read. Values stay raw until they are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a> {
    members: &'a [(&'a str, &'a RawValue)],
    arena: &'a Bump,
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.members.iter().map(|(name, value)| (name, value.get()))).finish()
    }
}

impl<'a> Members<'a> {
    /// Reads an object; what its texts need beyond the input goes to the arena.
    pub(crate) fn parse(text: &'a str, arena: &'a Bump) -> Result<Self, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let members = json.deserialize_map(MembersVisitor { arena })?;
        json.end()?;
        Ok(Self { members: arena.alloc_slice_copy(&members), arena })
    }

    /// All members in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a RawValue)> + use<'a> {
        self.members.iter().copied()
    }

    /// The raw value of a member, `null` included.
    pub(crate) fn raw(&self, name: &str) -> Result<Option<&'a RawValue>, Problem> {
        let mut found = self.iter().filter(|(member, _)| *member == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(Problem::new("is given twice").within(name));
        }
        Ok(first.map(|(_, value)| value))
    }

    /// The value of a field; `None` if it is absent or `null`.
    pub(crate) fn optional<T: Field<'a>>(&self, name: &str) -> Result<Option<T>, Problem> {
        match self.raw(name)? {
            Some(raw) if raw.get() != "null" => {
                T::read(raw, self.arena).map(Some).map_err(|problem| problem.within(name))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The value of a field that must be there.
    pub(crate) fn required<T: Field<'a>>(&self, name: &str) -> Result<T, Problem> {
        self.optional(name)?.ok_or_else(|| Problem::new("is missing").within(name))
    }
}

struct MembersVisitor<'a> {
    arena: &'a Bump,
}

impl<'a> Visitor<'a> for MembersVisitor<'a> {
    type Value = Vec<(&'a str, &'a RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Text { arena: self.arena })? {
            if members.len() == MEMBERS_MAX {
                return Err(serde::de::Error::custom("more than 256 members"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// Reads a text: borrowed from the input, or from the arena where it had escapes.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) arena: &'a Bump,
}

impl<'a> DeserializeSeed<'a> for Text<'a> {
    type Value = &'a str;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<&'a str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Text<'a> {
    type Value = &'a str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<&'a str, E> {
        Ok(text)
    }

    fn visit_str<E>(self, text: &str) -> Result<&'a str, E> {
        Ok(self.arena.alloc_str(text))
    }
}

/// Reads a list of raw values.
pub(crate) fn raw_list(raw: &RawValue) -> Result<Vec<&RawValue>, serde_json::Error> {
    struct Items;

    impl<'a> Visitor<'a> for Items {
        type Value = Vec<&'a RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }

    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items)
}
