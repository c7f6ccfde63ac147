//! The heart of the hub: sessions and routing tables, pure.
//!
//! Nothing here knows a socket, a clock, a task or a random number: `now` and ids come in as arguments, and what is
//! to be done comes out. A [`ClientSession`] or a [`PlainHalf`] is one conversation; a [`Mailbox`] is all that
//! others hold of it; the [`Hub`] is the tables from names to mailboxes. Sockets, tasks and time are `whub-server`'s.
//!
//! Deliberately absent: a shared map of pending calls (the provider's session owes the answers), a lock held while
//! something is sent, and any copy of a payload but the one from the read buffer.

mod access;
mod auth;
mod call;
mod channels;
mod clients;
mod counters;
mod elsewhere;
mod fault;
mod handlers;
mod hub;
mod letter;
mod mailbox;
pub mod middleware;
mod moving;
mod packet;
mod pairs;
mod placing;
mod rooms;
mod services;
mod session;
mod waiting;

pub use access::{Authenticator, Grants, Identity};
pub use auth::{StaticTokens, Token};
pub use call::{Call, CallFigures, CallId, CallKey, Place};
pub use channels::{Audience, Channels, Subscriber};
pub use clients::{Client, Clients, Tally};
pub use counters::{Counter, Counters};
pub use elsewhere::{Joined, join};
pub use fault::{Fault, MOVED};
pub use handlers::{FrameHandler, Handlers, OWN_KINDS, Reply, Sender};
pub use hub::{Hub, Now, Roles, SessionLimits};
pub use letter::{Announcement, Letter};
pub use mailbox::{Fate, Framing, Mailbox, Parcel, Post, Publication, Sent, SessionId, Undelivered};
pub use moving::{Loss, Refusals};
pub use packet::Packet;
pub use pairs::{
    About, Arrival, Company, Entrance, Guest, Half, HalfId, INFO_BYTES_MAX, Manner, PairSecret, Pairs,
    SECRET_BYTES_MAX, SPENT_FOR, SPENT_IDS_MAX, TOKEN_BYTES, TokenDraw, Visit,
};
pub use placing::{Caller, HEAD_TOO_LARGE, Order, Placed, WEBSOCKET, WINDOW};
pub use rooms::{Act, By, Entrant, Role, Roll, Room, RoomLimits, RoomMember, Rooms, Terms, missed};
pub use services::{
    AccessRule, Choose, Errors, Histogram, Latency, Left, Provider, Registration, Seat, Service,
    ServiceChange, ServiceEvent, ServiceObserver, ServicePolicies, ServiceSettings, Services, Stats,
};
pub use session::{
    ClientSession, GatewayOutput, GatewaySaying, GatewaySession, Handled, Issue, Liveness, Output, Peer,
    PlainHalf, PlainOutput, RoomIssue, RoomOutput, RoomTalker, Silence, StreamHalf, StreamStanding, Unrouted,
    Wish,
};
