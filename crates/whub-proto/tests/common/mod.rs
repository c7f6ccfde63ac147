//! JSON frames made from the schema's reflection: whatever the schema has, a test that uses this reaches.

#![allow(dead_code, reason = "every test file uses its part")]

use std::sync::LazyLock;

use flatbuffers_reflection::reflection::{BaseType, Enum, Field, Object, Schema, root_as_schema};
use serde_json::{Map, Value, json};
use whub_proto::Kind;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/node.bfbs");
    std::fs::read(path).expect("the schema's reflection is committed")
});

/// The reflection of both schema files.
pub(crate) fn schema() -> Schema<'static> {
    root_as_schema(&BYTES).expect("the reflection is sound")
}

/// The name without its namespace.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// All tables that are ever sent.
pub(crate) fn tables() -> impl Iterator<Item = Object<'static>> {
    schema().objects().iter().filter(|object| !object.is_struct() && !object.name().ends_with("Holder"))
}

/// The enumeration of a field, if it has one.
pub(crate) fn enumeration(field: &Field<'static>) -> Option<Enum<'static>> {
    let index = usize::try_from(field.type_().index()).ok()?;
    let scalar = matches!(field.type_().base_type(), BaseType::UByte | BaseType::UShort);
    scalar.then(|| schema().enums().get(index))
}

/// The table of a kind.
pub(crate) fn table_of(kind: Kind) -> Option<Object<'static>> {
    let name = kind.name().expect("a known kind");
    let name = if name == "message" { "publish" } else { name };
    tables().find(|table| snake(short(table.name())) == name)
}

/// `RoomEvent` → `room_event`.
pub(crate) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// A JSON frame of this kind. `choose(n)` gives a number below `n`; a field is left out where `choose(4)` is 0.
pub(crate) fn sample(kind: Kind, choose: &mut dyn FnMut(u32) -> u32) -> Map<String, Value> {
    let mut object = table_of(kind).map(|table| fields(&table, choose)).unwrap_or_default();
    object.insert("kind".into(), kind.name().into());
    object
}

/// The fields of a table with values that differ from their defaults.
pub(crate) fn fields(table: &Object<'static>, choose: &mut dyn FnMut(u32) -> u32) -> Map<String, Value> {
    let mut object = Map::new();
    for field in table.fields() {
        if field.required() || choose(4) != 0 {
            object.insert(field.name().into(), value(&field, choose));
        }
    }
    object
}

fn value(field: &Field<'static>, choose: &mut dyn FnMut(u32) -> u32) -> Value {
    let kind = field.type_();
    if let Some(enumeration) = enumeration(field) {
        return enum_value(&enumeration, field.default_integer(), choose);
    }
    match kind.base_type() {
        BaseType::String => text(field.name(), choose).into(),
        BaseType::Bool => (field.default_integer() == 0).into(),
        BaseType::UByte => Value::from(field.default_integer() + 1 + i64::from(choose(200))),
        BaseType::UShort | BaseType::UInt => {
            Value::from(field.default_integer() + 1 + i64::from(choose(40_000)))
        }
        BaseType::ULong => match choose(3) {
            0 => (1 + u64::from(choose(u32::MAX))).into(),
            _ => (u64::MAX - u64::from(choose(1000))).to_string().into(),
        },
        BaseType::Obj => Value::Object(fields(&object_at(kind.index()), choose)),
        BaseType::Vector => (0..=choose(3)).map(|_| item(field, choose)).collect::<Items>().finish(field),
        other => panic!("{}: no sample for {other:?}: extend this test and the mirror", field.name()),
    }
}

fn item(field: &Field<'static>, choose: &mut dyn FnMut(u32) -> u32) -> Value {
    match field.type_().element() {
        BaseType::String => text(field.name(), choose).into(),
        BaseType::UInt => choose(u32::MAX).into(),
        BaseType::Obj => Value::Object(fields(&object_at(field.type_().index()), choose)),
        other => panic!("{}: no sample for a list of {other:?}", field.name()),
    }
}

/// The items of a list, or the values of headers.
struct Items(Vec<Value>);

impl FromIterator<Value> for Items {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl Items {
    fn finish(self, field: &Field<'static>) -> Value {
        if field.name() != "headers" {
            return Value::Array(self.0);
        }
        let mut headers = Map::new();
        headers.insert("x-one".into(), self.0[0].clone());
        if self.0.len() > 1 {
            headers.insert("x-all".into(), Value::Array(self.0));
        }
        Value::Object(headers)
    }
}

fn enum_value(enumeration: &Enum<'static>, default: i64, choose: &mut dyn FnMut(u32) -> u32) -> Value {
    let values: Vec<_> = enumeration.values().iter().filter(|value| value.value() != default).collect();
    let count = u32::try_from(values.len()).expect("few");
    match choose(count + 1) {
        index if index < count => snake(values[index as usize].name()).into(),
        _ => json!(177),
    }
}

fn object_at(index: i32) -> Object<'static> {
    schema().objects().get(usize::try_from(index).expect("an index"))
}

fn text(name: &str, choose: &mut dyn FnMut(u32) -> u32) -> String {
    match choose(4) {
        0 => format!("/{name}/:x"),
        1 => format!("{name} of \"quotes\", \\ and \u{1}"),
        2 => format!("{name} für 東京 🦀"),
        _ => "x".repeat(choose(300) as usize + 1),
    }
}
