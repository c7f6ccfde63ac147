//! Writing frames: appended to a caller's buffer, built in buffers that are used again and again.

use crate::{
    Body, HEAD_BYTES, Head,
    body::{self, EnvelopeError},
    convert::Builder,
    frame::PART_BYTES_MAX,
    tables::Via,
};

/// What cannot be written. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// The envelope would be longer than 65,528 bytes.
    #[error("the envelope would be longer than {PART_BYTES_MAX} bytes")]
    Envelope,
    /// The hub-written part would be longer than 65,528 bytes.
    #[error("the via would be longer than {PART_BYTES_MAX} bytes")]
    Via,
    /// More than 96 header pairs.
    #[error("more than 96 header pairs")]
    Headers,
}

/// Writes frames. Keep one per thread or connection: it owns the buffers that envelopes are built in.
#[derive(Debug, Default)]
pub struct Writer {
    builder: Builder,
    part: Vec<u8>,
}

impl Writer {
    /// A writer without buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a frame to `out`. Of `head` it takes flags, hops and id; kind and lengths come from the body.
    pub fn frame(
        &mut self,
        out: &mut Vec<u8>,
        head: Head,
        via: Option<&Via<'_>>,
        body: &Body<'_>,
        payload: &[u8],
    ) -> Result<(), TooLarge> {
        let start = out.len();
        out.resize(start + HEAD_BYTES, 0);
        let lengths = self.parts(out, via, body).inspect_err(|_| out.truncate(start))?;
        let head = Head { kind: body.kind(), via_len: lengths.0, env_len: lengths.1, ..head };
        out[start..start + HEAD_BYTES].copy_from_slice(&head.to_bytes());
        out.extend_from_slice(payload);
        Ok(())
    }

    /// The envelope of a body, padded; empty where all is default. For [`write_raw`].
    pub fn envelope(&mut self, body: &Body<'_>) -> Result<&[u8], TooLarge> {
        self.part.clear();
        append_envelope(&mut self.builder, &mut self.part, body)?;
        Ok(&self.part)
    }

    /// A hub-written part, padded; empty where all is default. For [`write_raw`].
    pub fn via(&mut self, via: &Via<'_>) -> Result<&[u8], TooLarge> {
        self.part.clear();
        append_via(&mut self.builder, &mut self.part, via)?;
        Ok(&self.part)
    }

    fn parts(
        &mut self,
        out: &mut Vec<u8>,
        via: Option<&Via<'_>>,
        body: &Body<'_>,
    ) -> Result<(u16, u16), TooLarge> {
        let via_len = match via {
            Some(via) => append_via(&mut self.builder, out, via)?,
            None => 0,
        };
        Ok((via_len, append_envelope(&mut self.builder, out, body)?))
    }
}

/// Appends a frame of ready parts: the way to forward, since the envelope stays byte for byte what it was. Lengths
/// of `head` are filled in; parts longer than 65,528 bytes cannot come from a checked frame and are refused.
pub fn write_raw(
    out: &mut Vec<u8>,
    head: Head,
    via: &[u8],
    envelope: &[u8],
    payload: &[u8],
) -> Result<(), TooLarge> {
    let via_len = part_len(via.len(), TooLarge::Via)?;
    let env_len = part_len(envelope.len(), TooLarge::Envelope)?;
    out.reserve(HEAD_BYTES + via.len() + envelope.len() + payload.len());
    Head { via_len, env_len, ..head }.write(out);
    out.extend_from_slice(via);
    out.extend_from_slice(envelope);
    out.extend_from_slice(payload);
    Ok(())
}

fn append_via(builder: &mut Builder, out: &mut Vec<u8>, via: &Via<'_>) -> Result<u16, TooLarge> {
    let written = body::write_via(via, builder).map_err(|error| too_large(&error))?;
    append(builder, out, written, TooLarge::Via)
}

fn append_envelope(builder: &mut Builder, out: &mut Vec<u8>, body: &Body<'_>) -> Result<u16, TooLarge> {
    let written = body.write(builder).map_err(|error| too_large(&error))?;
    append(builder, out, written, TooLarge::Envelope)
}

/// Appends what the builder finished, padded with zeros to a multiple of 8.
fn append(builder: &Builder, out: &mut Vec<u8>, written: bool, error: TooLarge) -> Result<u16, TooLarge> {
    if !written {
        return Ok(0);
    }
    let part = builder.fbb.finished_data();
    let padded = part.len().next_multiple_of(8);
    let len = part_len(padded, error)?;
    out.extend_from_slice(part);
    out.resize(out.len() + padded - part.len(), 0);
    Ok(len)
}

fn part_len(len: usize, error: TooLarge) -> Result<u16, TooLarge> {
    if len > PART_BYTES_MAX {
        return Err(error);
    }
    u16::try_from(len).map_err(|_| error)
}

/// Writing fails only by what `Table::is_valid` judges.
fn too_large(error: &EnvelopeError) -> TooLarge {
    debug_assert_eq!(*error, EnvelopeError::Headers, "the only error of writing");
    TooLarge::Headers
}
