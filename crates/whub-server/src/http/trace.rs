//! `traceparent` (W3C Trace Context, level 1): a request that belongs to a trace stays in it, with a span of the hub's
//! own; any other begins one.

use std::cell::RefCell;
use std::fmt::Write as _;

use hyper::HeaderMap;

/// The field, and the one that goes with it.
const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Bytes of the only version whose form is known: `00-<32 hex>-<16 hex>-<2 hex>`.
const BYTES: usize = 55;

/// What the provider is told.
#[derive(Debug)]
pub(super) struct Trace {
    parent: String,
    /// The trace is the client's, and so is its state.
    continues: bool,
}

impl Trace {
    /// The trace of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut parents = headers.get_all(PARENT).iter();
        let only = parents.next().filter(|_| parents.next().is_none());
        let known = only.and_then(|value| value.to_str().ok()).and_then(parse);
        let [a, b, span] = random();
        let mut parent = String::with_capacity(BYTES);
        // Writing to a string does not fail.
        let _ = match known {
            Some((trace, flags)) => write!(parent, "00-{trace}-{span:016x}-{flags:02x}"),
            // Who begins a trace decides whether it is recorded: it is, unless the service thinks otherwise.
            None => write!(parent, "00-{a:016x}{b:016x}-{span:016x}-01"),
        };
        Self { parent, continues: known.is_some() }
    }

    /// Puts the hub's span in the place of the client's.
    pub(super) fn apply<'p>(&'p self, pairs: &mut Vec<(&'p str, &'p str)>) {
        pairs.retain(|(name, _)| *name != PARENT && (self.continues || *name != STATE));
        pairs.push((PARENT, &self.parent));
    }
}

/// The trace's id and its flags.
fn parse(text: &str) -> Option<(&str, u8)> {
    let head = text.get(..BYTES)?;
    let rest = &text[BYTES..];
    let mut parts = head.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = [version.len(), trace.len(), span.len(), flags.len()];
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let is_sound = lengths == [2, 32, 16, 2]
        && parts.next().is_none()
        && [version, trace, span, flags].into_iter().all(is_hex)
        && version != "ff"
        && !is_zero(trace)
        && !is_zero(span);
    // A later version may go on behind a hyphen; of it only what this one knows is taken over.
    let fits = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    let flags = u8::from_str_radix(flags, 16).ok()?;
    (is_sound && fits).then_some((trace, flags & 1))
}

/// Random numbers that a thread asks the system for at once.
const STOCK: usize = 32 * 3;

thread_local! {
    static RANDOM: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Three numbers, none of them zero.
fn random() -> [u64; 3] {
    RANDOM.with_borrow_mut(|stock| {
        if stock.len() < 3 {
            let mut bytes = [0; STOCK * 8];
            // Without randomness spans could not be told apart; that is no reason to refuse a request.
            let _ = getrandom::fill(&mut bytes);
            stock.extend(bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
        }
        [(); 3].map(|()| stock.pop().unwrap_or_default().max(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn of(parents: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(PARENT, parent.parse().unwrap());
        }
        Trace::of(&headers).parent
    }

    #[test]
    fn a_sound_trace_goes_on_with_a_span_of_its_own() {
        for (told, flags) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "01"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "00"),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", "01"),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is-to-come", "01"),
        ] {
            let parent = of(&[told]);
            assert_eq!((&parent[..36], &parent[52..]), (&*format!("00-{TRACE}-"), &*format!("-{flags}")));
            assert_ne!(&parent[36..52], "00f067aa0ba902b7");
        }
    }

    #[test]
    fn anything_else_begins_one() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for told in [
            &[][..],
            &[sound, sound],
            &[""],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more"],
            &["00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01"],
        ] {
            let parent = of(told);
            assert!(parse(&parent).is_some_and(|(trace, _)| trace != TRACE), "{told:?} {parent}");
        }
        assert_ne!(of(&[]), of(&[]));
    }

    #[test]
    fn the_state_goes_with_its_trace() {
        let mut headers = HeaderMap::new();
        let sound = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for (parent, expected) in [(sound.as_str(), 2), ("nonsense", 1)] {
            headers.insert(PARENT, parent.parse().unwrap());
            let trace = Trace::of(&headers);
            let mut pairs = vec![(PARENT, parent), (STATE, "a=1")];
            trace.apply(&mut pairs);
            assert_eq!(pairs.len(), expected, "{pairs:?}");
            assert_eq!(*pairs.last().unwrap(), (PARENT, trace.parent.as_str()));
        }
    }
}
