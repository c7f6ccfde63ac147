//! How single fields pass between JSON and the own structs.

use bumpalo::Bump;
use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use super::{
    Members as JsonMembers, Mirror, Object, Problem,
    object::{Text, put, raw_list},
};
use crate::{
    Access, Code, Format, HEADER_PAIRS_MAX, Headers, ID_MAX, Kind, Member, Members, NodeInfo, Nodes, Numbers,
    RoomAct, RoomMode, RoomRole, RoomWhat, Route, RouteKind, Routes, Strings, Third, Via,
};

/// A type of fields.
pub(crate) trait Field<'a>: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads a value that is not `null`.
    fn read(raw: &'a RawValue, arena: &'a Bump) -> Result<Self, Problem>;
}

impl<'a> Field<'a> for &'a str {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self);
    }

    fn read(raw: &'a RawValue, arena: &'a Bump) -> Result<Self, Problem> {
        Text { arena }
            .deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
            .map_err(|_| Problem::new("expected a text"))
    }
}

impl Field<'_> for bool {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self);
    }

    fn read(raw: &RawValue, _: &Bump) -> Result<Self, Problem> {
        match raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Problem::new("expected true or false")),
        }
    }
}

impl Field<'_> for u8 {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self);
    }

    fn read(raw: &RawValue, _: &Bump) -> Result<Self, Problem> {
        raw.get().parse().map_err(|_| Problem::new("expected a whole number from 0 to 255"))
    }
}

impl Field<'_> for u16 {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self);
    }

    fn read(raw: &RawValue, _: &Bump) -> Result<Self, Problem> {
        raw.get().parse().map_err(|_| Problem::new("expected a whole number from 0 to 65535"))
    }
}

impl Field<'_> for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self);
    }

    fn read(raw: &RawValue, _: &Bump) -> Result<Self, Problem> {
        raw.get().parse().map_err(|_| Problem::new("expected a whole number from 0 to 4294967295"))
    }
}

impl Field<'_> for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        if *self <= ID_MAX { put(out, self) } else { put(out, &self.to_string()) }
    }

    fn read(raw: &RawValue, _: &Bump) -> Result<Self, Problem> {
        const EXPECTED: &str = "expected a whole number below 2^53, or a text of decimal digits";
        let text = raw.get();
        if let Some(digits) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            return digits.parse().ok().filter(|_| plain).ok_or_else(|| Problem::new(EXPECTED));
        }
        text.parse().ok().filter(|number| *number <= ID_MAX).ok_or_else(|| Problem::new(EXPECTED))
    }
}

macro_rules! enums {
    ($($name:ident: $number:ty, $expected:literal;)+) => {$(
        impl Field<'_> for $name {
            fn write(&self, out: &mut Vec<u8>) {
                match self.name() {
                    Some(name) => put(out, name),
                    None => put(out, &<$number>::from(*self)),
                }
            }

            fn read(raw: &RawValue, arena: &Bump) -> Result<Self, Problem> {
                if let Ok(number) = raw.get().parse::<$number>() {
                    return Ok(number.into());
                }
                read_text(raw, arena).and_then(Self::from_name).ok_or_else(|| Problem::new($expected))
            }
        }
    )+};
}

enums! {
    Access: u8, "expected \"public\", \"authenticated\" or \"named\"";
    Kind: u8, "expected a kind, such as \"request\"";
    Code: u16, "expected a code, such as \"not_found\", or its number";
    Format: u8, "expected a format, such as \"json\", or its number";
    RoomAct: u8, "expected an act, such as \"kick\", or its number";
    RoomMode: u8, "expected \"room\" or \"pair\"";
    RoomRole: u8, "expected \"member\", \"moderator\" or \"owner\"";
    RoomWhat: u8, "expected an event, such as \"joined\", or its number";
    RouteKind: u8, "expected a kind of name, such as \"service\", or its number";
    Third: u8, "expected \"next\", \"reject\" or \"replace\"";
}

/// A text, wherever it lives; `None` if the value is something else.
fn read_text<'r>(raw: &'r RawValue, arena: &'r Bump) -> Option<&'r str> {
    <&str>::read(raw, arena).ok()
}

impl<'a> Field<'a> for Headers<'a> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        for (index, (key, value)) in self.iter().enumerate() {
            if self.iter().take(index).any(|(earlier, _)| earlier == key) {
                continue;
            }
            let mut values =
                self.iter().skip(index).filter(|(later, _)| *later == key).map(|(_, value)| value);
            if values.clone().nth(1).is_some() {
                write_list(object.member(key), &mut values);
            } else {
                put(object.member(key), value);
            }
        }
        object.end();
    }

    fn read(raw: &'a RawValue, arena: &'a Bump) -> Result<Self, Problem> {
        let members = JsonMembers::parse(raw.get(), arena)
            .map_err(|_| Problem::new("expected an object of texts or lists of texts"))?;
        let mut pairs = Vec::new();
        for (key, value) in members.iter() {
            read_header(key, value, arena, &mut pairs).map_err(|problem| problem.within(key))?;
            if pairs.len() > HEADER_PAIRS_MAX {
                return Err(Problem::new("more than 96 header values"));
            }
        }
        Ok(Self::new(arena.alloc_slice_copy(&pairs)))
    }
}

/// Appends the values of one header; keys become lower-case.
fn read_header<'a>(
    key: &'a str,
    value: &'a RawValue,
    arena: &'a Bump,
    pairs: &mut Vec<(&'a str, &'a str)>,
) -> Result<(), Problem> {
    let key = if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
        arena.alloc_str(&key.to_ascii_lowercase())
    } else {
        key
    };
    if !value.get().starts_with('[') {
        pairs.push((key, <&str>::read(value, arena)?));
        return Ok(());
    }
    for value in Strings::read(value, arena)?.iter() {
        pairs.push((key, value));
    }
    Ok(())
}

fn write_list<'a, T: Field<'a>>(out: &mut Vec<u8>, items: &mut dyn Iterator<Item = T>) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item.write(out);
    }
    out.push(b']');
}

fn read_list<'a, T: Field<'a> + Copy>(raw: &'a RawValue, arena: &'a Bump) -> Result<&'a [T], Problem> {
    let items = raw_list(raw).map_err(|_| Problem::new("expected a list"))?;
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        list.push(T::read(item, arena).map_err(|problem| problem.at(index))?);
    }
    Ok(arena.alloc_slice_copy(&list))
}

macro_rules! lists {
    ($($list:ident),+) => {$(
        impl<'a> Field<'a> for $list<'a> {
            fn write(&self, out: &mut Vec<u8>) {
                write_list(out, &mut self.iter());
            }

            fn read(raw: &'a RawValue, arena: &'a Bump) -> Result<Self, Problem> {
                read_list(raw, arena).map(Self::new)
            }
        }
    )+};
}

lists!(Strings, Numbers, Nodes, Members, Routes);

macro_rules! tables {
    ($($table:ident),+) => {$(
        impl<'a> Field<'a> for $table<'a> {
            fn write(&self, out: &mut Vec<u8>) {
                let mut object = Object::begin(out);
                self.write_fields(&mut object);
                object.end();
            }

            fn read(raw: &'a RawValue, arena: &'a Bump) -> Result<Self, Problem> {
                let members =
                    JsonMembers::parse(raw.get(), arena).map_err(|_| Problem::new("expected an object"))?;
                Self::read_fields(&members)
            }
        }
    )+};
}

tables!(NodeInfo, Member, Route, Via);
