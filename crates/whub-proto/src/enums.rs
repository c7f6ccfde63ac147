//! The open enumerations of the schema, turned into own ones at the door.

/// Declares an open enumeration of one byte with its names in the JSON mirror.
macro_rules! open_enum {
    ($(#[$meta:meta])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $text:literal;)+ }) => {
        $(#[$meta])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
            /// A number of a later version.
            Unknown(u8),
        }

        impl $name {
            /// Every value that this build knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the JSON mirror, lower snake case; `None` for unknown numbers.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Unknown(_) => None,
                }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::from(0)
            }
        }

        impl From<u8> for $name {
            fn from(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $number,)+
                    $name::Unknown(other) => other,
                }
            }
        }
    };
}

open_enum! {
    /// What a payload is. A hint for the receiver; the hub looks at it only for the JSON mirror and HTTP.
    Format {
        /// Not said.
        Unspecified = 0, "unspecified";
        /// Opaque bytes.
        Bytes = 1, "bytes";
        /// UTF-8 text.
        Text = 2, "text";
        /// JSON (RFC 8259).
        Json = 3, "json";
        /// MessagePack.
        Msgpack = 4, "msgpack";
        /// CBOR (RFC 8949).
        Cbor = 5, "cbor";
        /// Protocol Buffers.
        Protobuf = 6, "protobuf";
        /// FlatBuffers.
        FlatBuffers = 7, "flat_buffers";
    }
}

open_enum! {
    /// Who may call a service.
    Access {
        /// Not said: as the hub is configured, else everybody.
        Unspecified = 0, "unspecified";
        /// Everybody who reaches the hub.
        Public = 1, "public";
        /// Whoever showed a credential.
        Authenticated = 2, "authenticated";
        /// Only the users that are named.
        Named = 3, "named";
    }
}

open_enum! {
    /// How a room behaves.
    RoomMode {
        /// Many members.
        Room = 0, "room";
        /// Two seats.
        Pair = 1, "pair";
    }
}

open_enum! {
    /// What happened in a room.
    RoomWhat {
        /// The members at the time of joining.
        State = 0, "state";
        /// Members came.
        Joined = 1, "joined";
        /// Members went.
        Left = 2, "left";
        /// Members changed their info.
        Updated = 3, "updated";
        /// A pair waits for its other half.
        Waiting = 4, "waiting";
        /// Both halves are there.
        Ready = 5, "ready";
        /// The room ended.
        Closed = 6, "closed";
        /// A member's connection is lost, and its seat is kept.
        Away = 7, "away";
        /// It has come back.
        Back = 8, "back";
        /// Messages for this member are lost.
        Missed = 9, "missed";
    }
}

open_enum! {
    /// What a member of a room may do there.
    RoomRole {
        /// Speak and listen.
        Member = 0, "member";
        /// Also send members away and lock the room.
        Moderator = 1, "moderator";
        /// Also name moderators and close the room.
        Owner = 2, "owner";
    }
}

open_enum! {
    /// What a member of a room wants done.
    RoomAct {
        /// Show the others new info of its own.
        Update = 0, "update";
        /// Send members away.
        Kick = 1, "kick";
        /// Let nobody else in.
        Lock = 2, "lock";
        /// Let others in again.
        Unlock = 3, "unlock";
        /// Make members moderators.
        Promote = 4, "promote";
        /// Make moderators members.
        Demote = 5, "demote";
        /// End the room.
        Close = 6, "close";
    }
}

open_enum! {
    /// What an arrival at a pair that is full meets.
    Third {
        /// It waits, and is paired with the next one or with whoever becomes free.
        Next = 0, "next";
        /// It is refused.
        Reject = 1, "reject";
        /// It takes the seat of the half that came second.
        Replace = 2, "replace";
    }
}

open_enum! {
    /// What kind of name a node serves.
    RouteKind {
        /// A service pattern.
        Service = 0, "service";
        /// A channel filter.
        Channel = 1, "channel";
        /// A room or pair.
        Room = 2, "room";
        /// A client.
        Client = 3, "client";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_survive_the_round_trip() {
        for number in 0..=u8::MAX {
            assert_eq!(u8::from(Format::from(number)), number);
            assert_eq!(u8::from(RoomWhat::from(number)), number);
        }
        for &format in Format::ALL {
            assert_eq!(format.name().and_then(Format::from_name), Some(format));
        }
        assert_eq!(Format::Unknown(99).name(), None);
    }
}
