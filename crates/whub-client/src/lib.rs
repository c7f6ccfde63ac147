//! The Rust client of whub: call services, provide them, publish and subscribe, meet another peer.
//!
//! ```no_run
//! use whub_client::{Reply, Request, ServiceError, connect};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = connect("ws://127.0.0.1:9482").name("example").await?;
//!
//! let service = hub
//!     .provide("/greet/:name", |request: Request| async move {
//!         let name = request.param("name").unwrap_or_default();
//!         Ok::<_, ServiceError>(Reply::text(format!("hello {name}")))
//!     })
//!     .await?;
//! println!("{}", hub.call("/greet/ada").await?.text().await?);
//!
//! let mut news = hub.subscribe("news/+").await?;
//! hub.publish("news/eu").text("hi").ack().await?;
//! if let Some(message) = news.next().await {
//!     println!("{}: {}", message.channel(), message.text()?);
//! }
//! service.unregister().await?;
//! hub.drain().await?;
//! # Ok(())
//! # }
//! ```
//!
//! One task, the keeper, owns the connection; everything a program holds is a handle to it, and dropping a handle
//! lets go: of a call (it is cancelled), a subscription, a service, a seat. A lost connection is made again, with
//! growing random pauses, and told all that is wanted; what was in flight fails with an [`Error`] that says whether
//! trying again makes sense. Every queue is bounded and every wait has a deadline, except where the documentation
//! says that a person or another program is waited for.
//!
//! A service may also accept WebSockets ([`Request::accept`]), and a program open one ([`Client::websocket`]): a [`Socket`] is a
//! call whose two directions carry messages instead of one body each, under the same credit.
//!
//! Absent on purpose: session resume and several connections at once, until hubs offer them.

mod backoff;
mod body;
mod call;
mod client;
mod command;
mod connect;
mod conversation;
mod credit;
mod dial;
mod error;
mod event;
#[cfg(feature = "expose")]
mod expose;
mod headers;
mod keep;
mod keeper;
mod key;
mod link;
mod message;
mod outgoing;
mod pair;
mod progress;
mod publish;
mod queue;
mod random;
mod room;
mod serve;
mod session;
mod socket;
mod subscribe;
mod wanted;
pub mod websocket;

pub use body::{Body, GATHER_BYTES_MAX, StreamError};
pub use call::{Call, Response};
pub use client::Client;
pub use connect::{Connect, connect};
pub use error::{Error, ErrorKind};
pub use event::{Event, Events, State};
#[cfg(feature = "expose")]
pub use expose::{Expose, Exposure, Health};
pub use headers::Headers;
pub use message::Message;
pub use pair::{Join, Pair, PairEvent, PairMessage, PairPartner, PairReceiver, PairSender, ThirdArrival};
pub use progress::Progress;
pub use publish::{Publish, Published};
pub use room::{
    EnterRoom, Room, RoomEvent, RoomMember, RoomMessage, RoomReceiver, RoomRole, RoomSender, RoomState,
};
pub use serve::{Access, Offer, Provide, Registration, Reply, Request, ServiceError};
pub use socket::{OpenSocket, Socket, SocketClose, SocketMessage, SocketReader, SocketWriter};
pub use subscribe::{Overflow, Subscribe, Subscription};
pub use whub_proto::{Code, Format};

/// How this software names itself to hubs.
const AGENT: &str = concat!("whub-rust/", env!("CARGO_PKG_VERSION"));
