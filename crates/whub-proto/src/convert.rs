//! How single fields pass between an envelope and the own structs; the tables themselves are in `tables.rs`.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Vector, WIPOffset};

use crate::{
    Access, Code, Format, Headers, Members, Nodes, Numbers, RoomAct, RoomMode, RoomRole, RoomWhat, Routes,
    Strings, Third, enums::RouteKind, lists::WireStrings, wire,
};

/// Offset of a string, and of a vector of strings, in an envelope under construction.
type Text = WIPOffset<&'static str>;
type Texts = WIPOffset<Vector<'static, ForwardsUOffset<&'static str>>>;

/// Builds one envelope at a time; its buffers are used again and again.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) fbb: FlatBufferBuilder<'static>,
    strings: Vec<Text>,
}

// By hand, since the library's allocator has no `Debug`.
impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl Builder {
    fn strings<'s>(&mut self, strings: impl Iterator<Item = &'s str>) -> Option<Texts> {
        self.strings.clear();
        for string in strings {
            let offset = self.fbb.create_string(string);
            self.strings.push(offset);
        }
        (!self.strings.is_empty()).then(|| self.fbb.create_vector(&self.strings))
    }
}

/// Reads a field out of a verified envelope.
pub(crate) trait FromWire<W>: Sized {
    fn from_wire(wire: W) -> Self;
}

/// Writes a field into an envelope. Strings and lists that are empty are left out.
pub(crate) trait ToWire<W> {
    fn to_wire(&self, builder: &mut Builder) -> W;

    /// The same for a field that the schema requires: it is written even if empty.
    fn to_wire_required(&self, builder: &mut Builder) -> W {
        self.to_wire(builder)
    }
}

/// Whether a field keeps the limits that the verifier does not know.
pub(crate) trait Check {
    fn is_valid(&self) -> bool {
        true
    }
}

macro_rules! scalars {
    ($($scalar:ty),+) => {$(
        impl FromWire<$scalar> for $scalar {
            fn from_wire(wire: $scalar) -> Self {
                wire
            }
        }

        impl ToWire<$scalar> for $scalar {
            fn to_wire(&self, _: &mut Builder) -> $scalar {
                *self
            }
        }

        impl Check for $scalar {}
    )+};
}

scalars!(bool, u8, u16, u32, u64);

macro_rules! enums {
    ($($name:ident),+) => {$(
        impl FromWire<wire::$name> for $name {
            fn from_wire(wire: wire::$name) -> Self {
                wire.0.into()
            }
        }

        impl ToWire<wire::$name> for $name {
            fn to_wire(&self, _: &mut Builder) -> wire::$name {
                wire::$name((*self).into())
            }
        }

        impl Check for $name {}
    )+};
}

enums!(Access, Code, Format, RoomAct, RoomMode, RoomRole, RoomWhat, RouteKind, Third);

impl<'a> FromWire<&'a str> for &'a str {
    fn from_wire(wire: &'a str) -> Self {
        wire
    }
}

impl<'a> FromWire<Option<&'a str>> for &'a str {
    fn from_wire(wire: Option<&'a str>) -> Self {
        wire.unwrap_or_default()
    }
}

impl ToWire<Option<Text>> for &str {
    fn to_wire(&self, builder: &mut Builder) -> Option<Text> {
        (!self.is_empty()).then(|| builder.fbb.create_string(self))
    }

    fn to_wire_required(&self, builder: &mut Builder) -> Option<Text> {
        Some(builder.fbb.create_string(self))
    }
}

impl Check for &str {}

impl<'a> FromWire<Option<WireStrings<'a>>> for Headers<'a> {
    fn from_wire(wire: Option<WireStrings<'a>>) -> Self {
        wire.map(Self::from).unwrap_or_default()
    }
}

impl ToWire<Option<Texts>> for Headers<'_> {
    fn to_wire(&self, builder: &mut Builder) -> Option<Texts> {
        builder.strings(self.iter().flat_map(|(key, value)| [key, value]))
    }
}

impl Check for Headers<'_> {
    fn is_valid(&self) -> bool {
        Headers::is_valid(self)
    }
}

impl ToWire<Option<Texts>> for Strings<'_> {
    fn to_wire(&self, builder: &mut Builder) -> Option<Texts> {
        builder.strings(self.iter())
    }
}

impl ToWire<Option<WIPOffset<Vector<'static, u32>>>> for Numbers<'_> {
    fn to_wire(&self, builder: &mut Builder) -> Option<WIPOffset<Vector<'static, u32>>> {
        let numbers: Vec<u32> = self.iter().collect();
        (!numbers.is_empty()).then(|| builder.fbb.create_vector(&numbers))
    }
}

/// Offset of a vector of tables in an envelope under construction.
type Tables<T> = WIPOffset<Vector<'static, ForwardsUOffset<T>>>;

macro_rules! lists {
    ($($list:ident: $item:ty;)+) => {$(
        impl<'a> FromWire<Option<Vector<'a, $item>>> for $list<'a> {
            fn from_wire(wire: Option<Vector<'a, $item>>) -> Self {
                wire.map(Self::from).unwrap_or_default()
            }
        }

        impl Check for $list<'_> {}
    )+};
}

lists! {
    Strings: ForwardsUOffset<&'a str>;
    Numbers: u32;
    Nodes: ForwardsUOffset<wire::NodeInfo<'a>>;
    Members: ForwardsUOffset<wire::Member<'a>>;
    Routes: ForwardsUOffset<wire::Route<'a>>;
}

macro_rules! lists_of_tables {
    ($($list:ident: $table:ident;)+) => {$(
        impl ToWire<Option<Tables<wire::$table<'static>>>> for $list<'_> {
            fn to_wire(&self, builder: &mut Builder) -> Option<Tables<wire::$table<'static>>> {
                let items: Vec<_> = self.iter().filter_map(|item| item.to_wire(builder)).collect();
                (!items.is_empty()).then(|| builder.fbb.create_vector(&items))
            }
        }
    )+};
}

lists_of_tables! {
    Nodes: NodeInfo;
    Members: Member;
    Routes: Route;
}
