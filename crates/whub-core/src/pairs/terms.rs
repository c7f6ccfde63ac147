//! What a half brings with it: what it shows of itself, and the terms that the first seat of an id sets.

use std::fmt;
use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq as _};
use whub_proto::{Code, Join, Member, Third, json};

use crate::fault::Fault;

/// Longest secret of a pair, bytes.
pub const SECRET_BYTES_MAX: usize = 256;

/// Longest info that a half shows, bytes of JSON.
pub const INFO_BYTES_MAX: usize = 4096;

/// A half as it comes to the door.
#[derive(Debug, Clone, Default)]
pub struct Guest {
    /// What its partner sees of it; `None`: nothing.
    pub about: Option<Arc<About>>,
    /// What both halves have to know.
    pub secret: Option<PairSecret>,
    /// What an arrival meets while two are there.
    pub third: Third,
    /// The id is spent once two have met.
    pub once: bool,
    /// Its seat is kept for a while when its connection is lost.
    pub kept: bool,
}

/// What a half shows to its partner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The hub's name for the client; empty where it has none.
    pub client: Box<str>,
    /// Who it was authenticated as.
    pub user: Option<Arc<str>>,
    /// JSON of its own choice.
    pub info: Box<str>,
}

impl About {
    /// As a member of the pair with that number.
    pub(crate) fn member(about: Option<&Self>, member: u32) -> Member<'_> {
        let Some(about) = about else { return Member { member, ..Member::default() } };
        let user = about.user.as_deref().unwrap_or_default();
        Member { member, client: &about.client, user, info: &about.info, ..Member::default() }
    }
}

impl Guest {
    /// One who brings nothing but a secret, such as a plain WebSocket or a request.
    ///
    /// # Errors
    /// `BadRequest` when the secret is too long.
    pub fn plain(user: Option<Arc<str>>, secret: &str) -> Result<Self, Fault> {
        let about = user.map(|user| Arc::new(About { user: Some(user), ..About::default() }));
        Ok(Self { about, secret: PairSecret::new(secret)?, ..Self::default() })
    }

    /// One who joins by the protocol.
    pub(crate) fn of_join(join: &Join<'_>, client: &str, user: Option<Arc<str>>) -> Result<Self, Fault> {
        check_info(join.info)?;
        if let Third::Unknown(number) = join.third {
            let reason = format!("third is next (0), reject (1) or replace (2), not {number}");
            return Err(Fault::fatal(Code::BadRequest, "join.third", reason));
        }
        let about = About { client: client.into(), user, info: join.info.into() };
        let secret = PairSecret::new(join.secret)?;
        let kept = join.grace_ms > 0;
        Ok(Self { about: Some(Arc::new(about)), secret, third: join.third, once: join.once, kept })
    }

    /// Whether the id needs to be remembered for it while nobody waits there.
    pub(super) fn has_terms(&self) -> bool {
        self.secret.is_some() || self.once || self.kept || self.third != Third::Next
    }
}

fn check_info(info: &str) -> Result<(), Fault> {
    if info.len() > INFO_BYTES_MAX {
        let reason = format!("info may have {INFO_BYTES_MAX} bytes, this has {}", info.len());
        return Err(Fault::fatal(Code::TooLarge, "join.info", reason));
    }
    if !info.is_empty() && !json::is_json(info) {
        return Err(Fault::fatal(Code::BadRequest, "join.info", "info must be JSON"));
    }
    Ok(())
}

/// A secret of a pair, or of a room. Never printed; how long a comparison takes tells neither its content nor its length.
#[derive(Clone)]
pub struct PairSecret {
    /// Zeros behind the secret, so that all are of one length.
    padded: Box<[u8; SECRET_BYTES_MAX]>,
    bytes: u64,
}

impl PairSecret {
    /// `None` for an empty text.
    ///
    /// # Errors
    /// `BadRequest` when it is too long.
    pub fn new(secret: &str) -> Result<Option<Self>, Fault> {
        if secret.is_empty() {
            return Ok(None);
        }
        let mut padded = Box::new([0; SECRET_BYTES_MAX]);
        let Some(room) = padded.get_mut(..secret.len()) else {
            let reason = format!("the secret of a pair may have {SECRET_BYTES_MAX} bytes");
            return Err(Fault::fatal(Code::BadRequest, "join.secret", reason));
        };
        room.copy_from_slice(secret.as_bytes());
        Ok(Some(Self { padded, bytes: secret.len() as u64 }))
    }

    /// Whether both are the same secret, or both are none.
    pub(crate) fn agree(one: Option<&Self>, other: Option<&Self>) -> bool {
        const NONE: [u8; SECRET_BYTES_MAX] = [0; SECRET_BYTES_MAX];
        let parts =
            |secret: Option<&'_ Self>| secret.map_or((NONE, 0), |secret| (*secret.padded, secret.bytes));
        let ((one, one_bytes), (other, other_bytes)) = (parts(one), parts(other));
        let same: Choice = one.ct_eq(&other) & one_bytes.ct_eq(&other_bytes);
        same.into()
    }
}

impl fmt::Debug for PairSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<PairSecret> {
        PairSecret::new(text).unwrap()
    }

    #[test]
    fn secrets_agree_whole_or_not_at_all() {
        let agree = |one, other| PairSecret::agree(secret(one).as_ref(), secret(other).as_ref());
        assert!(agree("s3cret", "s3cret") && agree("", ""));
        for other in ["", "s3cre", "s3cret\0", "s3creT"] {
            assert!(!agree("s3cret", other) && !agree(other, "s3cret"), "{other:?}");
        }
        assert!(PairSecret::new(&"x".repeat(SECRET_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let guest = Guest::plain(None, "s3cret").unwrap();
        assert!(!format!("{guest:?}").contains("s3cret"));
    }
}
