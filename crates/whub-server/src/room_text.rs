//! How a room looks on a plain WebSocket: the JSON that a member sends and gets. `docs/rooms.md` has it in words.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use whub_core::{Act, Fault, Packet, Wish};
use whub_proto::{Body, Code, Data, Flags, Frame, Member, RoomEvent, RoomRole, RoomWhat};
use whub_ws::{Opcode, encode_frame};

/// A binary message begins with its sender's number, so many bytes long, the highest byte first.
const NUMBER_BYTES: usize = 4;

/// The media type of a message whose text is the JSON that was sent as `data`.
const JSON: &str = "application/json";

/// A text message of a member. One of the fields says what it wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said<'a> {
    #[serde(borrow, default, deserialize_with = "asked")]
    join: Option<Asked<'a>>,
    #[serde(default)]
    to: Vec<u32>,
    text: Option<String>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    act: Option<String>,
    #[serde(default)]
    members: Vec<u32>,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
    #[serde(default)]
    reason: String,
}

/// What there is to say about joining.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked<'a> {
    #[serde(default)]
    secret: String,
    #[serde(default)]
    capacity: u16,
    #[serde(borrow)]
    info: Option<&'a RawValue>,
}

/// What is there, `null` included, which is a message like any other.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// An object, and not a list of what would be its members, which nobody who sends one means.
fn object<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, String> {
    if !text.trim_start().starts_with('{') {
        return Err(format!("{what} is a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn asked<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Asked<'de>>, D::Error> {
    let join = Option::<&RawValue>::deserialize(value)?;
    join.map(|join| object(join.get(), "join").map_err(D::Error::custom)).transpose()
}

/// Members that one message names at most.
const NAMED_MAX: usize = 1024;

impl<'a> Said<'a> {
    /// # Errors
    /// `BadRequest`, when it is not JSON, or not of this form.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Fault> {
        object(text, "a message").map_err(|error| unreadable(format!("the message cannot be read: {error}")))
    }

    /// What it wants.
    ///
    /// # Errors
    /// `BadRequest`, when it says several things, or nothing.
    pub(crate) fn wish(&self) -> Result<Wish<'_>, Fault> {
        if self.to.len() > NAMED_MAX {
            let reason =
                format!("a message names {NAMED_MAX} members at most; to all of them it needs no `to`");
            return Err(Fault::fatal(Code::TooLarge, "room.to", reason));
        }
        match (&self.join, &self.text, self.data, &self.act) {
            (Some(asked), None, None, None) => Ok(Wish::Join {
                secret: &asked.secret,
                capacity: asked.capacity,
                info: asked.info.map_or("", RawValue::get),
            }),
            (None, Some(text), None, None) => {
                Ok(Wish::Say { to: &self.to, text: true, media: None, payload: text.as_bytes() })
            }
            (None, None, Some(data), None) => {
                Ok(Wish::Say { to: &self.to, text: true, media: Some(JSON), payload: data.get().as_bytes() })
            }
            (None, None, None, Some(act)) => self.act(act).map(Wish::Do),
            _ => Err(unreadable("say one of join, text, data and act".to_owned())),
        }
    }

    fn act(&self, act: &str) -> Result<Act<'_>, Fault> {
        match act {
            "update" => Ok(Act::Update(self.info.map_or("", RawValue::get))),
            "kick" => Ok(Act::Kick(&self.members, &self.reason)),
            "lock" => Ok(Act::Lock(true)),
            "unlock" => Ok(Act::Lock(false)),
            "promote" => Ok(Act::Promote(&self.members)),
            "demote" => Ok(Act::Demote(&self.members)),
            "close" => Ok(Act::Close(&self.reason)),
            other => {
                let reason = format!(
                    "there is no act `{other}`; there are update, kick, lock, unlock, promote, demote and close"
                );
                Err(Fault::fatal(Code::Unsupported, "room.act", reason))
            }
        }
    }
}

fn unreadable(reason: String) -> Fault {
    Fault::fatal(Code::BadRequest, "room.message", reason)
}

/// An event as the member gets it.
#[derive(Debug, Default, Serialize)]
struct Told<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    /// The member's own number, in the first state.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<ShownMember<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slug: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u32>,
}

/// A member, as the others see it.
#[derive(Debug, Serialize)]
struct ShownMember<'a> {
    member: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    client: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Info<'a>>,
}

/// JSON as it was given; what members over the protocol show need not be JSON, and is a text then.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Info<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

/// What members get, in the order in which it comes.
#[derive(Debug, Default)]
pub(crate) struct Showing {
    /// The first pieces of a message that comes in several; they come one after the other.
    pieces: Option<Pieces>,
}

#[derive(Debug)]
struct Pieces {
    /// It says whose the message is, and for whom.
    first: Packet,
    payload: Vec<u8>,
}

/// A WebSocket message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) text: bool,
    pub(crate) payload: Vec<u8>,
}

impl Showing {
    /// A frame of the room, as the member sees it; nothing for a piece of what is not whole yet. `own`: the member's
    /// number, where it has to be told.
    pub(crate) fn show(&mut self, packet: &Packet, own: Option<u32>) -> Option<Shown> {
        // Every packet was verified or built by the hub.
        let frame = packet.frame().ok()?;
        if let Body::RoomEvent(event) = &frame.body {
            return Some(Shown { text: true, payload: of_event(&frame, event, own).into() });
        }
        if frame.head.flags.contains(Flags::MORE) {
            let pieces =
                self.pieces.get_or_insert_with(|| Pieces { first: packet.clone(), payload: Vec::new() });
            pieces.payload.extend_from_slice(frame.payload);
            return None;
        }
        let Some(Pieces { first, mut payload }) = self.pieces.take() else {
            return of_message(&frame, frame.payload);
        };
        payload.extend_from_slice(frame.payload);
        of_message(&first.frame().ok()?, &payload)
    }
}

/// Appends frames of a room as members on plain WebSockets get them.
pub(crate) fn encode_packets(out: &mut Vec<u8>, packets: &[Packet]) {
    let mut showing = Showing::default();
    for Shown { text, payload } in packets.iter().filter_map(|packet| showing.show(packet, None)) {
        encode_frame(out, if text { Opcode::Text } else { Opcode::Binary }, &payload);
    }
}

/// An event of the room. `own`: the member's number, to be told with its first state.
fn of_event(frame: &Frame<'_>, event: &RoomEvent<'_>, own: Option<u32>) -> String {
    let shows_room = matches!(event.what, RoomWhat::State | RoomWhat::Updated);
    let is_about_members =
        matches!(event.what, RoomWhat::State | RoomWhat::Joined | RoomWhat::Left | RoomWhat::Updated);
    text(&Told {
        event: event.what.name().unwrap_or("unknown"),
        room: (event.what == RoomWhat::State).then_some(event.room),
        member: own,
        members: is_about_members.then(|| {
            event.members.iter().map(|member| shown(member, event.what != RoomWhat::Left)).collect()
        }),
        capacity: shows_room.then_some(event.capacity),
        locked: shows_room.then_some(event.locked),
        more: frame.head.flags.contains(Flags::MORE),
        count: (event.what == RoomWhat::Missed).then_some(event.count),
        reason: event.reason,
        ..Told::default()
    })
}

fn shown(member: Member<'_>, whole: bool) -> ShownMember<'_> {
    let info = match serde_json::from_str(member.info) {
        Ok(json) => Info::Json(json),
        Err(_) => Info::Text(member.info),
    };
    let role = match member.role {
        RoomRole::Member => "member",
        RoomRole::Moderator => "moderator",
        RoomRole::Owner => "owner",
        RoomRole::Unknown(_) => "unknown",
    };
    ShownMember {
        member: member.member,
        client: member.client,
        user: member.user,
        role: whole.then_some(role),
        info: (!member.info.is_empty()).then_some(info),
    }
}

/// A message of another member, whole; its first frame says whose it is. Members get no other frames.
fn of_message(first: &Frame<'_>, payload: &[u8]) -> Option<Shown> {
    let Body::Data(data) = &first.body else { return None };
    let from = first.via.map_or(0, |via| via.member);
    if first.head.flags.contains(Flags::TEXT)
        && let Ok(text) = std::str::from_utf8(payload)
    {
        return Some(Shown { text: true, payload: of_text(from, data, text).into() });
    }
    let mut whole = Vec::with_capacity(NUMBER_BYTES + payload.len());
    whole.extend_from_slice(&from.to_be_bytes());
    whole.extend_from_slice(payload);
    Some(Shown { text: false, payload: whole })
}

fn of_text(from: u32, told: &Data<'_>, payload: &str) -> String {
    let is_json = told.headers.get("content-type") == Some(JSON);
    let data: Option<&RawValue> = is_json.then(|| serde_json::from_str(payload).ok()).flatten();
    text(&Told {
        event: "message",
        from: Some(from),
        to: told.to.iter().collect(),
        text: data.is_none().then_some(payload),
        data,
        ..Told::default()
    })
}

/// What went wrong.
pub(crate) fn of_fault(fault: &Fault) -> String {
    text(&Told {
        event: "error",
        code: Some(fault.code.into()),
        slug: Some(fault.slug),
        reason: &fault.reason,
        retry_ms: (fault.retry_ms > 0).then_some(fault.retry_ms),
        ..Told::default()
    })
}

fn text(told: &Told<'_>) -> String {
    // Texts and numbers always are JSON.
    serde_json::to_string(told).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use whub_proto::{Headers, Members, Numbers, Via};

    use super::*;

    fn packet(body: &Body<'_>, flags: Flags, payload: &[u8]) -> Packet {
        let via = Via { member: 7, ..Via::default() };
        Packet::build_with(body, flags, Some(&via), payload)
    }

    fn shown(packet: &Packet) -> (bool, String) {
        let shown = Showing::default().show(packet, None).unwrap();
        (shown.text, String::from_utf8_lossy(&shown.payload).into_owned())
    }

    #[test]
    fn wishes_are_said_in_one_way_each() {
        for (text, wish) in [
            (r#"{"join":{}}"#, Wish::Join { secret: "", capacity: 0, info: "" }),
            (
                r#"{"join":{"secret":"s","capacity":3,"info":{"a": 1}}}"#,
                Wish::Join { secret: "s", capacity: 3, info: r#"{"a": 1}"# },
            ),
            (r#"{"text":"a\nb"}"#, Wish::Say { to: &[], text: true, media: None, payload: b"a\nb" }),
            (
                r#"{"to":[2,3],"data":[1.50]}"#,
                Wish::Say { to: &[2, 3], text: true, media: Some(JSON), payload: b"[1.50]" },
            ),
            (r#"{"data":null}"#, Wish::Say { to: &[], text: true, media: Some(JSON), payload: b"null" }),
            (r#"{"act":"kick","members":[2],"reason":"r"}"#, Wish::Do(Act::Kick(&[2], "r"))),
            (r#"{"act":"update","info":"x"}"#, Wish::Do(Act::Update("\"x\""))),
            (r#"{"act":"unlock"}"#, Wish::Do(Act::Lock(false))),
        ] {
            assert_eq!(Said::parse(text).unwrap().wish().unwrap(), wish, "{text}");
        }
        for text in [
            "",
            "1",
            "[]",
            r#"[null,[],"text",null,null,[],null,""]"#,
            r#"{"join":["secret",0,null]}"#,
            r#"{"to":[1]}"#,
            r#"{"text":"a","act":"lock"}"#,
            r#"{"to":[-1],"text":""}"#,
        ] {
            let fault = Said::parse(text).and_then(|said| said.wish().map(|_| ())).unwrap_err();
            assert_eq!((fault.code, fault.slug), (Code::BadRequest, "room.message"), "{text}");
        }
    }

    #[test]
    fn a_message_names_so_many_members_and_no_more() {
        let text = |count| format!(r#"{{"to":{:?},"text":""}}"#, vec![1; count]);
        assert!(Said::parse(&text(NAMED_MAX)).unwrap().wish().is_ok());
        let fault = Said::parse(&text(NAMED_MAX + 1)).unwrap().wish().unwrap_err();
        assert_eq!((fault.code, fault.slug), (Code::TooLarge, "room.to"));
    }

    #[test]
    fn messages_come_as_what_they_were_sent_as() {
        let json = [("content-type", JSON)];
        let data = |to: &'static [u32], headers| {
            Body::Data(Data { to: Numbers::new(to), headers, ..Data::default() })
        };
        let none = Headers::EMPTY;
        let text = |body: &Body<'_>, payload: &[u8]| shown(&packet(body, Flags::TEXT, payload));
        let expected = |text: &str| (true, text.to_owned());
        assert_eq!(
            text(&data(&[], none), b"\"hi\""),
            expected(r#"{"event":"message","from":7,"text":"\"hi\""}"#)
        );
        let told = text(&data(&[2], Headers::new(&json)), b"{\"b\":1.0}");
        assert_eq!(told, expected(r#"{"event":"message","from":7,"to":[2],"data":{"b":1.0}}"#));
        let told = text(&data(&[], Headers::new(&json)), b"no json");
        assert_eq!(told, expected(r#"{"event":"message","from":7,"text":"no json"}"#));
        let told = shown(&packet(&data(&[], none), Flags::NONE, b"bytes"));
        assert_eq!(told, (false, "\0\0\0\u{7}bytes".to_owned()));
    }

    #[test]
    fn what_members_show_is_json_where_it_is_and_text_where_it_is_not() {
        let member =
            |info| Member { member: 2, client: "c", info, role: RoomRole::Moderator, ..Member::default() };
        let members = [member("{\"a\": 1}"), member("no json"), member("")];
        let event = RoomEvent {
            what: RoomWhat::Updated,
            room: "x",
            members: Members::new(&members),
            capacity: 3,
            ..RoomEvent::default()
        };
        let expected = concat!(
            r#"{"event":"updated","members":["#,
            r#"{"member":2,"client":"c","role":"moderator","info":{"a": 1}},"#,
            r#"{"member":2,"client":"c","role":"moderator","info":"no json"},"#,
            r#"{"member":2,"client":"c","role":"moderator"}],"capacity":3,"locked":false}"#
        );
        let told = shown(&packet(&Body::RoomEvent(event), Flags::NONE, b""));
        assert_eq!(told, (true, expected.to_owned()));
    }

    #[test]
    fn pieces_become_one_message() {
        let data = Body::Data(Data::default());
        let pieces = [
            packet(&data, Flags::TEXT.with(Flags::MORE), b"one "),
            packet(&data, Flags::TEXT, b"message"),
            packet(&data, Flags::NONE, b"x"),
        ];
        let mut out = Vec::new();
        encode_packets(&mut out, &pieces);
        let text = br#"{"event":"message","from":7,"text":"one message"}"#;
        let mut expected = Vec::new();
        encode_frame(&mut expected, Opcode::Text, text);
        encode_frame(&mut expected, Opcode::Binary, b"\0\0\0\x07x");
        assert_eq!(out, expected);
    }
}
