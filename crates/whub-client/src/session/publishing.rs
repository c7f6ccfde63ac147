//! The session as a publisher.

use whub_proto::{Body, Flags, Headers, Publish};

use super::{Flushed, Live, Session};
use crate::command::Publication;
use crate::error::Error;

impl Session {
    pub(crate) fn publish(&mut self, publication: Publication) {
        let id = if publication.ack { self.next_id() } else { 0 };
        let pairs = publication.headers.pairs();
        let body = Body::Publish(Publish {
            channel: &publication.channel,
            format: publication.format,
            headers: Headers::new(&pairs),
            key: &publication.affinity,
            msg_id: &publication.msg_id,
            ttl_ms: publication.ttl_ms,
            ..Publish::default()
        });
        let flags = Flags::NONE.with_if(publication.ack, Flags::ACK).with_if(publication.text, Flags::TEXT);
        let sent = self.outbox.push_with(id, flags, &body, &publication.payload, self.frame_bytes_max);
        if sent.is_err() {
            let reason = format!("the message is longer than the hub takes, {} bytes", self.frame_bytes_max);
            return drop(publication.done.send(Err(Error::too_large(reason))));
        }
        if publication.ack {
            self.live.insert(id, Live::Publish(publication.done));
        } else {
            self.written.push(Flushed::Publish(publication.done));
        }
    }
}
