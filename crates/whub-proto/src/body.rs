//! What a frame says: the table that its kind names.

use flatbuffers::{InvalidFlatbuffer, WIPOffset};

use crate::{
    Kind,
    convert::{Builder, FromWire, ToWire},
    json::{self, Mirror, Object, Problem},
    tables::*,
    wire,
};

/// Why an envelope is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes are no such table, or beyond the limits (depth 4, 512 tables, 128 KiB).
    #[error("malformed envelope")]
    Malformed(#[source] Box<InvalidFlatbuffer>),
    /// The kind needs an envelope and has none.
    #[error("the envelope is missing")]
    Missing,
    /// The kind has no envelope but there are bytes.
    #[error("this kind has no envelope")]
    Unexpected,
    /// A header key without value, or more than 96 pairs.
    #[error("headers are not pairs, or more than 96")]
    Headers,
}

/// Reads a table out of the bytes of an envelope; absent bytes are a table of defaults.
fn read<'a, W, T>(bytes: &'a [u8]) -> Result<T, EnvelopeError>
where
    W: flatbuffers::Follow<'a, Inner = W> + flatbuffers::Verifiable + 'a,
    T: Table + FromWire<W>,
{
    if bytes.is_empty() {
        return if T::HAS_REQUIRED { Err(EnvelopeError::Missing) } else { Ok(T::default()) };
    }
    let wire = wire::verify::<W>(bytes).map_err(|error| EnvelopeError::Malformed(Box::new(error)))?;
    let table = T::from_wire(wire);
    if table.is_valid() { Ok(table) } else { Err(EnvelopeError::Headers) }
}

/// Writes a table as the builder's one envelope, or nothing where all is default.
fn write<W: 'static, T>(table: &T, builder: &mut Builder) -> Result<bool, EnvelopeError>
where
    T: Table + ToWire<Option<WIPOffset<W>>>,
{
    if !T::HAS_REQUIRED && *table == T::default() {
        return Ok(false);
    }
    if !table.is_valid() {
        return Err(EnvelopeError::Headers);
    }
    builder.fbb.reset();
    let Some(root) = table.to_wire(builder) else { return Ok(false) };
    builder.fbb.finish_minimal(root);
    Ok(true)
}

/// Reads the hub-written part of a frame.
pub(crate) fn read_via(bytes: &[u8]) -> Result<Via<'_>, EnvelopeError> {
    read::<wire::Via<'_>, _>(bytes)
}

/// Writes the hub-written part of a frame; `false` if there is nothing to say.
pub(crate) fn write_via(via: &Via<'_>, builder: &mut Builder) -> Result<bool, EnvelopeError> {
    write(via, builder)
}

macro_rules! bodies {
    (
        tables { $($variant:ident: $type:ty, $wire:ident, $doc:literal;)+ }
        bare { $($bare:ident: $bare_doc:literal;)+ }
    ) => {
        /// What a frame says, one variant per kind.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub enum Body<'a> {
            /// Nothing; such a frame is never sent.
            #[default]
            None,
            $(#[doc = $doc] $variant($type),)+
            $(#[doc = $bare_doc] $bare,)+
            /// A kind of a later version; the envelope stays unread.
            Unknown(u8),
        }

        impl<'a> Body<'a> {
            /// The kind that goes with the body.
            pub fn kind(&self) -> Kind {
                match self {
                    Self::None => Kind::None,
                    $(Self::$variant(_) => Kind::$variant,)+
                    $(Self::$bare => Kind::$bare,)+
                    Self::Unknown(number) => Kind::from(*number),
                }
            }

            /// Verifies the envelope of a frame of this kind and reads it. Copies nothing and allocates nothing.
            pub fn read(kind: Kind, envelope: &'a [u8]) -> Result<Self, EnvelopeError> {
                match kind {
                    $(Kind::$variant => read::<wire::$wire<'a>, _>(envelope).map(Self::$variant),)+
                    $(Kind::$bare if envelope.is_empty() => Ok(Self::$bare),)+
                    $(Kind::$bare)|+ => Err(EnvelopeError::Unexpected),
                    Kind::None => Ok(Self::None),
                    Kind::Unknown(number) => Ok(Self::Unknown(number)),
                }
            }

            /// Writes the envelope; `false` if there is none to write.
            pub(crate) fn write(&self, builder: &mut Builder) -> Result<bool, EnvelopeError> {
                match self {
                    $(Self::$variant(table) => write(table, builder),)+
                    $(Self::$bare)|+ | Self::None | Self::Unknown(_) => Ok(false),
                }
            }

            /// Writes the fields into the JSON object of the frame.
            pub(crate) fn write_fields(&self, object: &mut Object<'_>) {
                match self {
                    $(Self::$variant(table) => table.write_fields(object),)+
                    $(Self::$bare)|+ | Self::None | Self::Unknown(_) => {}
                }
            }

            /// Reads the fields of this kind out of the JSON object of the frame.
            pub(crate) fn read_fields(kind: Kind, members: &json::Members<'a>) -> Result<Self, Problem> {
                Ok(match kind {
                    $(Kind::$variant => Self::$variant(Mirror::read_fields(members)?),)+
                    $(Kind::$bare => Self::$bare,)+
                    Kind::None => Self::None,
                    Kind::Unknown(number) => Self::Unknown(number),
                })
            }
        }
    };
}

bodies! {
    tables {
        Hello: Hello<'a>, Hello, "Opens a session.";
        Welcome: Welcome<'a>, Welcome, "Accepts a session.";
        Auth: Auth<'a>, Auth, "Renews credentials.";
        Ok: Success<'a>, Ok, "The request of the same id succeeded.";
        Error: Failure<'a>, Error, "The request of the same id failed; with id 0, the session does.";
        Drain: Drain<'a>, Drain, "The hub goes away.";
        Register: Register<'a>, Register, "Provides a service.";
        Unregister: Unregister<'a>, Unregister, "Stops providing it.";
        Request: Request<'a>, Request, "Calls a service.";
        Response: Response<'a>, Response, "Answers a call.";
        Data: Data<'a>, Data, "A piece of a body, a stream, a room or a pair.";
        Cancel: Cancel<'a>, Cancel, "Abandons a call or a stream.";
        Credit: Credit, Credit, "Lets the other side send more.";
        Subscribe: Subscribe<'a>, Subscribe, "Asks for the messages of a filter.";
        Unsubscribe: Unsubscribe<'a>, Unsubscribe, "Ends a subscription.";
        Publish: Publish<'a>, Publish, "Publishes to a channel.";
        Message: Publish<'a>, Publish, "A published message on its way to a subscriber.";
        History: History<'a>, History, "Asks for past messages.";
        Gap: Gap<'a>, Gap, "Messages were dropped here.";
        Join: Join<'a>, Join, "Enters a room or takes a seat of a pair.";
        Leave: Leave<'a>, Leave, "Leaves it.";
        RoomEvent: RoomEvent<'a>, RoomEvent, "Something happened in a room.";
        RoomCommand: RoomCommand<'a>, RoomCommand, "A member of a room wants something done.";
        NodeHello: NodeHello<'a>, NodeHello, "Opens a link between nodes.";
        NodeWelcome: NodeWelcome<'a>, NodeWelcome, "Accepts a link.";
        NodePeers: NodePeers<'a>, NodePeers, "Nodes that came and went.";
        NodeRoutes: NodeRoutes<'a>, NodeRoutes, "Names that a node serves.";
        NodeForward: NodeForward<'a>, NodeForward, "A frame for a peer of another node.";
    }
    bare {
        Ping: "Asks for a `Pong`.";
        Pong: "Answers a `Ping`.";
    }
}
