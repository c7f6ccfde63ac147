//! How a room looks on a plain WebSocket: the JSON that a member sends and gets. `docs/rooms.md` has it in words.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use whub_core::{Act, Fault, Wish};
use whub_proto::{Code, Data, Flags, Frame, Member, RoomEvent, RoomRole, RoomWhat};

/// The media type of a message whose text is the JSON that was sent as `data`.
const JSON: &str = "application/json";

/// A text message of a member. One of the fields says what it wants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    join: Option<Asked<'a>>,
    #[serde(default)]
    to: Vec<u32>,
    text: Option<String>,
    #[serde(borrow)]
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

impl<'a> Said<'a> {
    /// # Errors
    /// `BadRequest`, when it is not JSON, or not of this form.
    pub(super) fn parse(text: &'a str) -> Result<Self, Fault> {
        serde_json::from_str(text).map_err(|error| unreadable(format!("the message cannot be read: {error}")))
    }

    /// What it wants.
    ///
    /// # Errors
    /// `BadRequest`, when it says several things, or nothing.
    pub(super) fn wish(&self) -> Result<Wish<'_>, Fault> {
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
    members: Option<Vec<Shown<'a>>>,
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
struct Shown<'a> {
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

/// An event of the room. `own`: the member's number, to be told with its first state.
pub(super) fn of_event(frame: &Frame<'_>, event: &RoomEvent<'_>, own: Option<u32>) -> String {
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

fn shown(member: Member<'_>, whole: bool) -> Shown<'_> {
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
    Shown {
        member: member.member,
        client: member.client,
        user: member.user,
        role: whole.then_some(role),
        info: (!member.info.is_empty()).then_some(info),
    }
}

/// A text of another member, whole.
pub(super) fn of_message(from: u32, told: &Data<'_>, payload: &str) -> String {
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
pub(super) fn of_fault(fault: &Fault) -> String {
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
