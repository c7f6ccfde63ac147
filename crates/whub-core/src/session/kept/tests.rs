//! What two threads make of a seat at once, one step after the other.

use whub_proto::Body;

use super::*;
use crate::hub::SessionLimits;
use crate::mailbox::{Post, Undelivered};

/// A connection that remembers the events it was sent.
struct Wire {
    session: SessionId,
    events: Mutex<Vec<RoomWhat>>,
}

impl Post for Wire {
    fn session(&self) -> SessionId {
        self.session
    }

    fn post(&self, _: Letter) -> Result<(), Undelivered> {
        Ok(())
    }

    fn send(&self, parcel: Parcel<'_>) -> Sent {
        if let Parcel::Packet { packet, .. } = parcel
            && let Body::RoomEvent(event) = packet.frame().unwrap().body
        {
            self.events.lock().unwrap().push(event.what);
        }
        Sent::Room
    }
}

fn wire(hub: &Hub) -> Arc<Wire> {
    Arc::new(Wire { session: hub.next_session(), events: Mutex::default() })
}

fn line(hub: &Hub) -> Line {
    Line { mailbox: Mailbox::new(wire(hub)), id: 1 }
}

fn pair() -> PairId {
    PairId::parse("x").unwrap()
}

const GRACE: Duration = Duration::from_secs(30);

fn take(hub: &Hub, now: Instant) -> Hold {
    let token = SeatToken::new(hub.pairs.next_serial(), [7; crate::pairs::TOKEN_BYTES]);
    let guest = Guest { kept: true, ..Guest::default() };
    KeptSeat::take(hub, now, pair(), line(hub), guest, (token, GRACE, None)).unwrap().hold
}

#[test]
#[allow(clippy::disallowed_methods)] // Where the made-up clock starts.
fn who_came_back_in_time_and_is_lost_again_has_time_anew() {
    let (hub, now) = (Hub::new("n", "a", SessionLimits::default()), Instant::now());
    let hold = take(&hub, now);
    let kept = Arc::clone(&hold.kept);
    hold.detach(&hub, now);
    // The usher has found the seat, and is about to give it up.
    let again = kept.attach(&hub, line(&hub), 0).unwrap().hold;
    again.detach(&hub, now + GRACE);
    kept.handle_overdue(&hub, now + GRACE);
    assert!(kept.attach(&hub, line(&hub), 0).is_ok());
}

#[test]
#[allow(clippy::disallowed_methods)] // Where the made-up clock starts.
fn who_came_while_the_connection_was_being_lost_hears_that_it_is_back() {
    let (hub, now) = (Hub::new("n", "a", SessionLimits::default()), Instant::now());
    let hold = take(&hub, now);
    let kept = Arc::clone(&hold.kept);
    // Away, and not aside yet: just then somebody comes.
    assert!(kept.inward().next_letter_or_away().is_none());
    let newcomer = wire(&hub);
    let mailbox = Mailbox::new(newcomer.clone());
    let half = Half { mailbox, seat: 1, serial: hub.pairs.next_serial(), manner: Manner::Follower };
    let (_seat, _) = Seat::take(&hub, now, pair(), half, Guest::default()).unwrap();
    kept.wait_for_client(&hub, &mut kept.outward(), now);
    kept.attach(&hub, line(&hub), 0).unwrap();
    assert_eq!(*newcomer.events.lock().unwrap(), [RoomWhat::Away, RoomWhat::Back]);
}
