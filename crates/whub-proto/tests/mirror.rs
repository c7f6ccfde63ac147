//! The JSON mirror reaches every table and field of the schema: proven by walking its reflection.

mod common;

use common::{enumeration, fields, sample, schema, short, snake, table_of, tables};
use flatbuffers_reflection::reflection::{BaseType, Field, Object};
use serde_json::{Map, Value, json};
use whub_proto::{
    Access, Code, Flags, Format, Frame, Kind, Origin, RoomAct, RoomMode, RoomRole, RoomWhat, RouteKind,
    Third,
    json::{Decoder, JsonError, encode},
};

/// Takes every field, and of everything else the second choice.
fn everything(choices: u32) -> u32 {
    u32::from(choices > 1)
}

fn decode(object: &Map<String, Value>) -> Result<Vec<u8>, JsonError> {
    let mut bytes = Vec::new();
    Decoder::new().decode(&Value::Object(object.clone()).to_string(), &mut bytes).map(|()| bytes)
}

fn round_trip(object: &Map<String, Value>) -> Map<String, Value> {
    let bytes = decode(object).expect("a sample decodes");
    let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).expect("a decoded frame is sound");
    let mut text = Vec::new();
    encode(&frame, &mut text);
    serde_json::from_slice(&text).expect("an encoded frame is JSON")
}

/// Whether the root table of the envelope holds the field, read from its vtable.
fn is_present(envelope: &[u8], field: &Field<'_>) -> bool {
    let u16_at = |at: usize| u16::from_le_bytes([envelope[at], envelope[at + 1]]);
    let u32_at =
        |at: usize| envelope[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).expect("inside");
    let table = u32_at(0) as usize;
    let vtable = table.wrapping_add_signed(-(u32_at(table).cast_signed() as isize));
    field.offset() < u16_at(vtable) && u16_at(vtable + field.offset() as usize) != 0
}

/// Tables that are the body of a kind, each with one of its kinds.
fn bodies() -> impl Iterator<Item = (Kind, Object<'static>)> {
    Kind::ALL.iter().filter_map(|&kind| table_of(kind).map(|table| (kind, table)))
}

#[test]
fn every_table_is_reached() {
    let mut reached: Vec<String> = bodies().map(|(_, table)| table.name().to_owned()).collect();
    reached.push("whub.wire.Via".into());
    for (_, table) in bodies() {
        for field in table.fields() {
            let kind = field.type_();
            if kind.base_type() == BaseType::Obj || kind.element() == BaseType::Obj {
                let index = usize::try_from(kind.index()).unwrap();
                reached.push(schema().objects().get(index).name().to_owned());
            }
        }
    }
    for table in tables() {
        assert!(reached.contains(&table.name().to_owned()), "no frame carries {}", table.name());
    }
}

#[test]
fn every_field_passes_both_ways() {
    for (kind, table) in bodies() {
        let object = sample(kind, &mut everything);
        let bytes = decode(&object).expect("a sample decodes");
        let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).expect("a decoded frame is sound");
        for field in table.fields() {
            assert!(
                is_present(frame.envelope, &field),
                "{kind}: `{}` does not reach the bytes",
                field.name()
            );
        }
        assert_eq!(round_trip(&object), object, "{kind}");
    }
}

#[test]
fn every_field_of_via_passes_both_ways() {
    let via = tables().find(|table| short(table.name()) == "Via").unwrap();
    let mut object = sample(Kind::Ping, &mut everything);
    object.insert("via".into(), Value::Object(fields(&via, &mut everything)));
    let bytes = decode(&object).unwrap();
    let frame = Frame::parse(&bytes, usize::MAX, Origin::Hub).unwrap();
    for field in via.fields() {
        assert!(is_present(frame.via_bytes, &field), "`via.{}` does not reach the bytes", field.name());
    }
    assert_eq!(round_trip(&object), object);
}

#[test]
fn defaults_are_those_of_the_schema() {
    for (kind, table) in bodies() {
        for field in table.fields().iter().filter(|field| !field.required()) {
            let default = match (enumeration(&field), field.type_().base_type()) {
                (Some(_), _)
                | (None, BaseType::UByte | BaseType::UShort | BaseType::UInt | BaseType::ULong) => {
                    json!(field.default_integer())
                }
                (None, BaseType::Bool) => json!(field.default_integer() != 0),
                (None, BaseType::String) => json!(""),
                (None, _) if field.name() == "headers" => json!({}),
                (None, _) => json!([]),
            };
            let mut object = sample(kind, &mut |_| 0);
            object.insert(field.name().into(), default);
            let back = round_trip(&object);
            assert!(!back.contains_key(field.name()), "{kind}: default of `{}` differs", field.name());
        }
    }
}

#[test]
fn missing_required_fields_are_named() {
    for (kind, table) in bodies() {
        for field in table.fields().iter().filter(|field| field.required()) {
            let mut object = sample(kind, &mut everything);
            object.remove(field.name());
            let error = decode(&object).unwrap_err();
            assert_eq!(error.to_string(), format!("field `{}`: is missing", field.name()), "{kind}");
            assert_eq!(error.code(), Code::BadRequest);
        }
    }
}

#[test]
fn no_field_has_the_name_of_another_member() {
    let mut taken = vec!["kind", "id", "hops", "via", "data", "b64"];
    taken.extend(Flags::NAMED.map(|(_, name)| name));
    for (kind, table) in bodies() {
        for field in table.fields() {
            assert!(!taken.contains(&field.name()), "{kind}: `{}` has two meanings", field.name());
        }
    }
}

#[test]
fn enumerations_have_the_numbers_and_names_of_the_schema() {
    let number = |name: &str, value: &str| match name {
        "Kind" => Some(Kind::from_name(value).unwrap_or_default()).map(|kind| u8::from(kind).into()),
        "Code" => Code::from_name(value).map(u16::from),
        "Access" => Access::from_name(value).map(|access| u8::from(access).into()),
        "Format" => Format::from_name(value).map(|format| u8::from(format).into()),
        "RoomAct" => RoomAct::from_name(value).map(|act| u8::from(act).into()),
        "RoomMode" => RoomMode::from_name(value).map(|mode| u8::from(mode).into()),
        "RoomRole" => RoomRole::from_name(value).map(|role| u8::from(role).into()),
        "RoomWhat" => RoomWhat::from_name(value).map(|what| u8::from(what).into()),
        "Third" => Third::from_name(value).map(|third| u8::from(third).into()),
        "RouteKind" => RouteKind::from_name(value).map(|kind| u8::from(kind).into()),
        "Flag" if value == "none" => Some(0),
        "Flag" => Flags::NAMED.iter().find(|(_, name)| *name == value).map(|(flag, _)| flag.bits().into()),
        other => panic!("{other} has no own enumeration"),
    };
    for enumeration in schema().enums().iter().filter(|enumeration| !enumeration.is_union()) {
        for value in enumeration.values() {
            let name = snake(value.name());
            let own = number(short(enumeration.name()), &name).map(i64::from);
            assert_eq!(own, Some(value.value()), "{} {name}", enumeration.name());
        }
    }
}

#[test]
fn the_documentation_has_every_table_and_field() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let page = std::fs::read_to_string(path).expect("docs/protocol.md");
    for table in tables() {
        let title = format!("#### `{}`\n", short(table.name()));
        let (_, section) = page.split_once(&title).unwrap_or_else(|| panic!("no section {title}"));
        let section = section.split("\n#").next().unwrap_or_default();
        for field in table.fields() {
            let row = format!("| `{}` |", field.name());
            assert!(section.contains(&row), "{}: `{}` is not documented", table.name(), field.name());
        }
    }
    for &kind in Kind::ALL.iter().filter(|kind| !kind.is_link()) {
        assert!(page.contains(&format!("`{kind}`")), "{kind} is not documented");
    }
}
