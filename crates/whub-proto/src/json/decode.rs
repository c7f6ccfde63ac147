//! Text to bytes.

use bumpalo::Bump;

use super::{JsonError, Members, Problem, payload};
use crate::{Body, Flags, Head, ID_MAX, Kind, Via, Writer};

/// Translates JSON frames. Keep one per thread: its buffers are used again and again.
#[derive(Debug, Default)]
pub struct Decoder {
    arena: Bump,
    writer: Writer,
}

impl Decoder {
    /// A decoder without buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the frame that the text describes to `out`; on error nothing is appended.
    pub fn decode(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.arena.reset();
        let members = Members::parse(text, &self.arena).map_err(JsonError::Syntax)?;
        let field_error = |id| move |problem| JsonError::Field { id, problem };
        let id = read_id(&members).map_err(field_error(0))?;
        let kind = read_kind(&members, id)?;
        let (head, via, mut body) = read_frame(&members, kind, id).map_err(field_error(id))?;
        let payload = payload::read(&members, &mut body).map_err(field_error(id))?;
        let head = head.with(payload.flags);
        self.writer
            .frame(out, head, via.as_ref(), &body, payload.bytes.as_slice())
            .map_err(|error| JsonError::TooLarge { id, error })
    }
}

fn read_id(members: &Members<'_>) -> Result<u64, Problem> {
    let id: u64 = members.optional("id")?.unwrap_or_default();
    if id > ID_MAX { Err(Problem::new("expected an id below 2^53").within("id")) } else { Ok(id) }
}

fn read_kind(members: &Members<'_>, id: u64) -> Result<Kind, JsonError> {
    match members.required("kind") {
        Ok(kind) => Ok(kind),
        Err(problem) => match members.optional::<&str>("kind") {
            Ok(Some(kind)) => Err(JsonError::UnknownKind { id, kind: kind.chars().take(64).collect() }),
            Ok(None) | Err(_) => Err(JsonError::Field { id, problem }),
        },
    }
}

fn read_frame<'a>(
    members: &Members<'a>,
    kind: Kind,
    id: u64,
) -> Result<(Head, Option<Via<'a>>, Body<'a>), Problem> {
    let mut head = Head::new(kind, id);
    for (flag, name) in Flags::NAMED {
        if flag != Flags::TEXT && members.optional(name)?.unwrap_or_default() {
            head = head.with(flag);
        }
    }
    head.hops = members
        .optional::<u16>("hops")?
        .unwrap_or_default()
        .try_into()
        .map_err(|_| Problem::new("expected a whole number from 0 to 255").within("hops"))?;
    Ok((head, members.optional("via")?, Body::read_fields(kind, members)?))
}
