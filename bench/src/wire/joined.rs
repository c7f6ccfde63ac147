//! Protocols whose messages do not respect WebSocket boundaries: frames joined to one stream per connection.

use crate::fault::Fault;
use crate::net::Outbox;
use crate::ws;

/// One stream per connection.
#[derive(Debug)]
pub(super) struct Joined(Vec<Vec<u8>>);

impl Joined {
    /// Empty streams for `conns` connections.
    pub(super) fn new(conns: usize) -> Self {
        Self(vec![Vec::new(); conns])
    }

    /// Unframes `bytes`; `parse` takes whole messages off the stream and says how many bytes they had.
    pub(super) fn feed(
        &mut self,
        conn: usize,
        bytes: &[u8],
        out: &mut Outbox,
        mut parse: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Fault>,
    ) -> Result<usize, Fault> {
        let stream = &mut self.0[conn];
        let (mut replies, mut pongs) = (Vec::new(), Vec::new());
        let take = |body: &[u8]| {
            if stream.is_empty() {
                let used = parse(body, &mut replies)?;
                stream.extend_from_slice(&body[used..]);
            } else {
                stream.extend_from_slice(body);
                let used = parse(stream, &mut replies)?;
                stream.drain(..used);
            }
            Ok(())
        };
        let used = ws::each(conn, bytes, take, |pong| pongs.extend_from_slice(pong))?;
        if !(replies.is_empty() && pongs.is_empty()) {
            let queue = out.queue(conn);
            queue.append(&mut replies);
            queue.append(&mut pongs);
        }
        Ok(used)
    }
}
