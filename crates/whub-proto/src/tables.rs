//! The tables of the schema as own, borrowed structs: one set for reading, building and the JSON mirror.
//!
//! An absent string reads as `""`, an absent list as an empty one, an absent number as its default; writing leaves
//! out what equals the default. So `Default` is what an absent envelope means.

use flatbuffers::WIPOffset;

use crate::{
    Access, Code, Format, Headers, Members, Nodes, Numbers, RoomAct, RoomMode, RoomRole, RoomWhat, Routes,
    Strings, Third,
    convert::{Builder, Check, FromWire, ToWire},
    enums::RouteKind,
    json::{self, Mirror, Object, Problem},
    wire,
};

/// What every table has beside its fields.
pub(crate) trait Table: Default + PartialEq {
    /// Whether the schema requires a field, so that the envelope cannot be absent.
    const HAS_REQUIRED: bool;

    /// Whether it keeps the limits that the verifier does not know.
    fn is_valid(&self) -> bool;
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    (required) => {
        Default::default()
    };
    ($default:tt) => {
        $default
    };
}

macro_rules! is_required {
    (required) => {
        true
    };
    ($($default:tt)?) => {
        false
    };
}

macro_rules! field_to_wire {
    ($field:expr, $builder:expr, required) => {
        ToWire::to_wire_required(&$field, $builder)
    };
    ($field:expr, $builder:expr, $($default:tt)?) => {
        ToWire::to_wire(&$field, $builder)
    };
}

macro_rules! write_member {
    ($object:expr, $name:expr, $field:expr, required) => {
        $object.required($name, &$field)
    };
    ($object:expr, $name:expr, $field:expr, $($default:tt)?) => {
        $object.field($name, &$field, &default_of!($($default)?))
    };
}

macro_rules! read_member {
    ($members:expr, $name:expr, required) => {
        $members.required($name)?
    };
    ($members:expr, $name:expr, $($default:tt)?) => {
        $members.optional($name)?.unwrap_or(default_of!($($default)?))
    };
}

/// Declares tables: the fields in the order of the schema, `= required` or `= default` where it says so.
macro_rules! tables {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident $(<$life:lifetime>)? as $wire:ident, $args:ident {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty $(= $default:tt)?,)+
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name $(<$life>)? {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: default_of!($($default)?),)+ }
            }
        }

        impl<'a> FromWire<wire::$wire<'a>> for $name $(<$life>)? {
            fn from_wire(wire: wire::$wire<'a>) -> Self {
                Self { $($field: FromWire::from_wire(wire.$field()),)+ }
            }
        }

        impl $(<$life>)? ToWire<Option<WIPOffset<wire::$wire<'static>>>> for $name $(<$life>)? {
            fn to_wire(&self, builder: &mut Builder) -> Option<WIPOffset<wire::$wire<'static>>> {
                let args = wire::$args { $($field: field_to_wire!(self.$field, builder, $($default)?),)+ };
                Some(wire::$wire::create(&mut builder.fbb, &args))
            }
        }

        impl $(<$life>)? Check for $name $(<$life>)? {
            fn is_valid(&self) -> bool {
                Table::is_valid(self)
            }
        }

        impl<'a> Mirror<'a> for $name $(<$life>)? {
            fn write_fields(&self, object: &mut Object<'_>) {
                $(write_member!(object, stringify!($field), self.$field, $($default)?);)+
            }

            fn read_fields(members: &json::Members<'a>) -> Result<Self, Problem> {
                Ok(Self { $($field: read_member!(members, stringify!($field), $($default)?),)+ })
            }
        }

        impl $(<$life>)? Table for $name $(<$life>)? {
            const HAS_REQUIRED: bool = $(is_required!($($default)?))||+;

            fn is_valid(&self) -> bool {
                $(Check::is_valid(&self.$field))&&+
            }
        }
    )+};
}

tables! {
    /// What hubs say about a frame: who sent it, where it stands in its channel, what is left of its deadline.
    Via<'a> as Via, ViaArgs {
        /// Hub-assigned client id of the original sender.
        client: &'a str,
        /// Its authenticated subject.
        user: &'a str,
        /// Node where the frame entered the network.
        node: &'a str,
        /// When that hub received it, Unix milliseconds.
        time_ms: u64,
        /// Epoch of the channel's stream; it changes when history is lost.
        epoch: u64,
        /// Position in the channel, from 1; 0 = the channel keeps no history.
        offset: u64,
        /// Member number of the sender in a room.
        member: u32,
        /// What is left of the caller's deadline, milliseconds; 0 = the default.
        timeout_ms: u32,
        /// Between nodes: the client it is for.
        to: &'a str,
        /// Registered pattern that matched the call.
        path: &'a str,
        /// JSON of the claims that providers may see.
        claims: &'a str,
        /// Address of the original sender, as far as the hub trusts it.
        peer: &'a str,
        /// On a `Response`: how often the call was moved to another provider.
        moved: u8,
    }

    /// A node worth connecting to.
    NodeInfo<'a> as NodeInfo, NodeInfoArgs {
        /// Node id.
        id: &'a str = required,
        /// Where clients connect.
        url: &'a str = required,
        /// Free text for choosing near nodes.
        region: &'a str,
        /// Share of clients it wants.
        weight: u16 = 1,
        /// Load, 0 to 1000.
        load: u16,
        /// Software version.
        version: &'a str,
        /// Grows with each start of the node.
        incarnation: u64,
    }

    /// First frame of a client.
    Hello<'a> as Hello, HelloArgs {
        /// Lowest protocol version it speaks.
        min_version: u16 = 1,
        /// Highest protocol version it speaks.
        max_version: u16 = 1,
        /// Software, for example `whub-ts/0.1.0 node/20`.
        agent: &'a str,
        /// Name that the application gives itself.
        name: &'a str,
        /// How `token` is meant: `bearer`, `basic`, `key`, `none`.
        scheme: &'a str,
        /// The credential.
        token: &'a str,
        /// Secret of a session to resume.
        session: &'a str,
        /// Features it offers.
        features: Strings<'a>,
        /// Header pairs.
        headers: Headers<'a>,
        /// Wished ping interval, milliseconds; 0 = no wish.
        ping_ms: u32,
    }

    /// Answer to `Hello`.
    Welcome<'a> as Welcome, WelcomeArgs {
        /// Protocol version of the session.
        version: u16 = 1,
        /// Client id, given by the hub.
        client: &'a str = required,
        /// Secret to resume with.
        session: &'a str,
        /// How long the session can be resumed, milliseconds; 0 = not at all.
        session_ttl_ms: u32,
        /// Whether the asked session was resumed.
        resumed: bool,
        /// Node id.
        node: &'a str,
        /// Software of the hub.
        server: &'a str,
        /// Ping interval, milliseconds; silence longer than twice this means dead.
        ping_ms: u32 = 25_000,
        /// Largest frame in either direction, bytes.
        max_frame: u32 = 1_048_576,
        /// Most unanswered calls; 0 = no limit of its own.
        max_inflight: u32,
        /// Refresh the token before this, milliseconds; 0 = it never expires.
        token_ttl_ms: u32,
        /// Features agreed.
        features: Strings<'a>,
        /// Other nodes worth trying.
        nodes: Nodes<'a>,
        /// Time of the hub, Unix milliseconds.
        time_ms: u64,
    }

    /// Renews the credential of a session.
    Auth<'a> as Auth, AuthArgs {
        /// How `token` is meant.
        scheme: &'a str,
        /// The credential.
        token: &'a str = required,
    }

    /// The body of `Ok`.
    Success<'a> as Ok, OkArgs {
        /// Epoch of the channel's stream.
        epoch: u64,
        /// Publish: the position given. Subscribe: the position that the live flow starts after.
        offset: u64,
        /// Subscribe: every message since the asked offset follows.
        recovered: bool,
        /// History: messages sent. Publish: receivers now, if known.
        count: u32,
        /// Auth: refresh the token before this, milliseconds.
        token_ttl_ms: u32,
        /// Join: my member number.
        member: u32,
        /// Header pairs.
        headers: Headers<'a>,
        /// Join: secret to take this seat again with after a lost connection; empty = it is not kept.
        seat: &'a str,
        /// Join with `seat`: messages of this half that the hub has; those after them are to be sent again.
        received: u64,
    }

    /// The body of `Error`.
    Failure<'a> as Error, ErrorArgs {
        /// Code of the public table.
        code: Code,
        /// One sentence for people.
        reason: &'a str,
        /// Stable machine string, for example `service.not_found`.
        slug: &'a str,
        /// 0 = do not retry, 1 = at once, else not before that many milliseconds.
        retry_ms: u32,
        /// Header pairs.
        headers: Headers<'a>,
    }

    /// The hub goes away.
    Drain<'a> as Drain, DrainArgs {
        /// Why.
        code: Code,
        /// One sentence for people.
        reason: &'a str,
        /// Time until the connection is closed, milliseconds.
        grace_ms: u32,
        /// When to connect again, as in [`Failure`].
        retry_ms: u32,
        /// Nodes to go to.
        nodes: Nodes<'a>,
    }

    /// Provides a service.
    Register<'a> as Register, RegisterArgs {
        /// Pattern, for example `/billing/:op` or `/files/*rest`.
        path: &'a str = required,
        /// Name of a set of providers, for lists and statistics.
        group: &'a str,
        /// Share of calls against other providers of the pattern.
        weight: u16 = 1,
        /// Most unanswered calls; beyond it the hub tries others; 0 = no limit.
        max_inflight: u32,
        /// Version of the service.
        version: &'a str,
        /// Free metadata, shown where services are listed.
        headers: Headers<'a>,
        /// One sentence for people.
        description: &'a str,
        /// Who may call it; unspecified is public unless the hub's configuration says otherwise.
        access: Access,
        /// With `access` named: the users that may call it.
        clients: Strings<'a>,
        /// Request headers it wants although they are kept back by default; never the hub's own credential.
        pass_headers: Strings<'a>,
    }

    /// Stops providing a service.
    Unregister<'a> as Unregister, UnregisterArgs {
        /// Pattern as registered.
        path: &'a str = required,
        /// Time to finish open calls, milliseconds.
        grace_ms: u32,
    }

    /// A call.
    Request<'a> as Request, RequestArgs {
        /// Raw path: begins with `/`, not decoded, no query.
        path: &'a str = required,
        /// HTTP method, or `WEBSOCKET`; empty for plain calls.
        method: &'a str,
        /// Deadline from now, milliseconds; 0 = the hub's default.
        timeout_ms: u32,
        /// What the payload is.
        format: Format,
        /// Header pairs.
        headers: Headers<'a>,
        /// Affinity: the same key goes to the same provider.
        key: &'a str,
        /// Set: the hub may retry on another provider.
        idempotency: &'a str,
        /// Response body bytes the caller takes before it sends `Credit`; 0 = 262,144.
        credit: u32,
        /// Raw query without `?`.
        query: &'a str,
        /// `http` or `https` behind the HTTP bridge.
        scheme: &'a str,
        /// Host and port that the HTTP client asked for.
        authority: &'a str,
    }

    /// The answer to a call.
    Response<'a> as Response, ResponseArgs {
        /// HTTP status.
        status: u16 = 200,
        /// What the payload is.
        format: Format,
        /// Header pairs.
        headers: Headers<'a>,
        /// Request body bytes the provider takes on top of the first 262,144, as with `Credit`.
        credit: u32,
    }

    /// A piece of a stream. Usually all default, so that the frame has no envelope.
    Data<'a> as Data, DataArgs {
        /// Members of a room that shall get it; empty = all others.
        to: Numbers<'a>,
        /// Trailers.
        headers: Headers<'a>,
        /// WebSocket close code, with `End`.
        close: u16,
        /// WebSocket close reason.
        reason: &'a str,
    }

    /// Abandons a call or a stream.
    Cancel<'a> as Cancel, CancelArgs {
        /// Why.
        code: Code = (Code::Cancelled),
        /// One sentence for people.
        reason: &'a str,
    }

    /// Lets the other side send more.
    Credit as Credit, CreditArgs {
        /// Payload bytes on top of what is left.
        bytes: u32,
    }

    /// Asks for the messages of a filter.
    Subscribe<'a> as Subscribe, SubscribeArgs {
        /// The filter.
        filter: &'a str = required,
        /// Queue group: each message goes to one member.
        group: &'a str,
        /// Wants what it missed since `epoch` and `offset`.
        recover: bool,
        /// Epoch last seen.
        epoch: u64,
        /// Offset last seen.
        offset: u64,
        /// Fresh subscription: replay this many messages.
        last: u32,
        /// Without the subscriber's own messages.
        no_echo: bool,
        /// Payload bytes it takes; 0 = the session's mailbox is the bound.
        credit: u32,
    }

    /// Ends a subscription.
    Unsubscribe<'a> as Unsubscribe, UnsubscribeArgs {
        /// The filter as subscribed.
        filter: &'a str = required,
        /// The group as subscribed.
        group: &'a str,
    }

    /// A message: of `Publish` on its way in and, unchanged, of `Message` on its way out.
    Publish<'a> as Publish, PublishArgs {
        /// The channel.
        channel: &'a str = required,
        /// What the payload is.
        format: Format,
        /// Header pairs.
        headers: Headers<'a>,
        /// Ordering and compaction key.
        key: &'a str,
        /// Key of the de-duplication window.
        msg_id: &'a str,
        /// Time to live in history, milliseconds; 0 = the channel's.
        ttl_ms: u32,
        /// Keep as the last value of the channel.
        retain: bool,
        /// Append only if `expect_offset` is the last offset.
        check_offset: bool,
        /// See `check_offset`.
        expect_offset: u64,
    }

    /// Asks for past messages.
    History<'a> as History, HistoryArgs {
        /// The channel.
        channel: &'a str = required,
        /// Epoch that `since` belongs to; 0 = any.
        epoch: u64,
        /// Offset after which to begin.
        since: u64,
        /// Most messages.
        limit: u32 = 100,
        /// Newest first.
        reverse: bool,
    }

    /// Messages were dropped for this subscriber at this place.
    Gap<'a> as Gap, GapArgs {
        /// The channel; empty = several.
        channel: &'a str,
        /// How many messages.
        count: u32,
        /// One sentence for people.
        reason: &'a str,
    }

    /// A member of a room.
    Member<'a> as Member, MemberArgs {
        /// Its number in the room.
        member: u32,
        /// Its client id.
        client: &'a str,
        /// Its authenticated subject.
        user: &'a str,
        /// JSON it shows to the others.
        info: &'a str,
        /// What it may do.
        role: RoomRole,
    }

    /// Enters a room or takes a seat of a pair.
    Join<'a> as Join, JoinArgs {
        /// Room or pair id.
        room: &'a str = required,
        /// Room or pair.
        mode: RoomMode,
        /// Password of the room.
        secret: &'a str,
        /// Wish of the one who creates it; a pair has 2.
        capacity: u16,
        /// JSON shown to the other members.
        info: &'a str,
        /// Pair: what an arrival meets when it is full; the first seat sets it.
        third: Third,
        /// Pair: the id is spent once its two halves have met.
        once: bool,
        /// Pair: how long this seat is kept after a lost connection, milliseconds; 0 = not at all.
        grace_ms: u32,
        /// Pair: how long this seat waits for its first partner, milliseconds; 0 = as long as it takes.
        ttl_ms: u32,
        /// Pair: take this seat again; the secret from `Ok`.
        seat: &'a str,
        /// With `seat`: messages that this half has received on it.
        received: u64,
    }

    /// Leaves a room or pair.
    Leave<'a> as Leave, LeaveArgs {
        /// Room or pair id. It has to be named; the frame's id is one of its own.
        room: &'a str,
        /// One sentence for people.
        reason: &'a str,
    }

    /// Something happened in a room.
    RoomEvent<'a> as RoomEvent, RoomEventArgs {
        /// What.
        what: RoomWhat,
        /// Room or pair id.
        room: &'a str = required,
        /// The members it is about.
        members: Members<'a>,
        /// Pair: this side begins.
        initiator: bool,
        /// One sentence for people.
        reason: &'a str,
        /// State and Updated: how many may be in the room.
        capacity: u16,
        /// State and Updated: nobody else is let in.
        locked: bool,
        /// Missed: how many messages.
        count: u32,
    }

    /// A member of a room wants something done.
    RoomCommand<'a> as RoomCommand, RoomCommandArgs {
        /// Room.
        room: &'a str = required,
        /// What.
        act: RoomAct,
        /// Kick, Promote, Demote: whom.
        members: Numbers<'a>,
        /// Update: my new info.
        info: &'a str,
        /// Kick, Close: one sentence for people.
        reason: &'a str,
    }

    /// A name that a node serves.
    Route<'a> as Route, RouteArgs {
        /// What kind of name.
        kind: RouteKind,
        /// The name.
        name: &'a str = required,
        /// Group of the providers or subscribers.
        group: &'a str,
        /// Their weight.
        weight: u16 = 1,
        /// How many there are.
        count: u32 = 1,
    }

    /// Opens a link between nodes.
    NodeHello<'a> as NodeHello, NodeHelloArgs {
        /// The speaker.
        node: NodeInfo<'a> = required,
        /// Name of the mesh.
        cluster: &'a str = required,
        /// Lowest protocol version it speaks.
        min_version: u16 = 1,
        /// Highest protocol version it speaks.
        max_version: u16 = 1,
        /// HMAC over the peer's nonce; empty under mTLS.
        proof: &'a str,
        /// Nonce for the peer.
        nonce: &'a str,
        /// Features it offers.
        features: Strings<'a>,
    }

    /// Accepts a link.
    NodeWelcome<'a> as NodeWelcome, NodeWelcomeArgs {
        /// The speaker.
        node: NodeInfo<'a> = required,
        /// HMAC over the peer's nonce.
        proof: &'a str,
        /// Nodes it knows.
        peers: Nodes<'a>,
        /// Features agreed.
        features: Strings<'a>,
    }

    /// Nodes that came and went.
    NodePeers<'a> as NodePeers, NodePeersArgs {
        /// Nodes it knows.
        peers: Nodes<'a>,
        /// Ids of nodes that left.
        left: Strings<'a>,
    }

    /// Names that a node serves.
    NodeRoutes<'a> as NodeRoutes, NodeRoutesArgs {
        /// The node that serves them.
        origin: &'a str = required,
        /// Number of this change.
        seq: u64,
        /// Replaces all earlier ones.
        full: bool,
        /// Names it serves now.
        add: Routes<'a>,
        /// Names it no longer serves.
        remove: Routes<'a>,
    }

    /// A frame for a peer of another node; the payload is the complete inner frame.
    NodeForward<'a> as NodeForward, NodeForwardArgs {
        /// The node it is for.
        to: &'a str,
        /// The node it comes from.
        origin: &'a str,
    }
}
