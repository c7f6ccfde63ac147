//! What a frame is about: the first byte of every [`Head`](crate::Head).

/// Declares [`Kind`] with its wire number and its name in the JSON mirror.
macro_rules! kinds {
    ($($(#[doc = $doc:expr])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// The kind of a frame. Open: numbers this build does not know are kept in [`Kind::Unknown`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Kind {
            /// 0: never sent; a frame that carries it is a protocol error.
            #[default]
            None,
            $($(#[doc = $doc])+ $variant,)+
            /// A number of a later version. Answer `Error{Unsupported}` if the id is not 0, else ignore it.
            Unknown(u8),
        }

        impl Kind {
            /// Every kind that this build knows, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the JSON mirror and in logs, lower snake case; `None` for unknown kinds.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    Self::None => Some("none"),
                    $(Self::$variant => Some($name),)+
                    Self::Unknown(_) => None,
                }
            }

            /// The kind of that name, as [`Kind::name`] spells it.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl From<u8> for Kind {
            #[inline]
            fn from(number: u8) -> Self {
                match number {
                    0 => Self::None,
                    $($number => Self::$variant,)+
                    other => Self::Unknown(other),
                }
            }
        }

        impl From<Kind> for u8 {
            #[inline]
            fn from(kind: Kind) -> Self {
                match kind {
                    Kind::None => 0,
                    $(Kind::$variant => $number,)+
                    Kind::Unknown(other) => other,
                }
            }
        }
    };
}

kinds! {
    /// Opens a session: versions, agent, credentials.
    Hello = 1, "hello";
    /// Accepts a session: version, limits, ping interval.
    Welcome = 2, "welcome";
    /// Renews credentials on a living session.
    Auth = 3, "auth";
    /// The request of the same id succeeded.
    Ok = 4, "ok";
    /// The request of the same id failed; with id 0, the session does.
    Error = 5, "error";
    /// Asks for a `Pong`. No envelope.
    Ping = 6, "ping";
    /// Answers a `Ping`: same id, same payload. No envelope.
    Pong = 7, "pong";
    /// The hub goes away: finish, and connect elsewhere.
    Drain = 8, "drain";
    /// Provides a service.
    Register = 16, "register";
    /// Stops providing it.
    Unregister = 17, "unregister";
    /// Calls a service.
    Request = 18, "request";
    /// Answers a call.
    Response = 19, "response";
    /// A piece of a body, a stream, a room or a pair.
    Data = 20, "data";
    /// Abandons a call or a stream.
    Cancel = 21, "cancel";
    /// Lets the other side send more payload bytes.
    Credit = 22, "credit";
    /// Asks for the messages of a filter.
    Subscribe = 32, "subscribe";
    /// Ends a subscription.
    Unsubscribe = 33, "unsubscribe";
    /// Publishes to a channel.
    Publish = 34, "publish";
    /// A published message on its way to a subscriber; its envelope is the publisher's.
    Message = 35, "message";
    /// Asks for past messages.
    History = 36, "history";
    /// Messages were dropped for this subscriber at this place of the stream.
    Gap = 37, "gap";
    /// Enters a room or takes a seat of a pair.
    Join = 48, "join";
    /// Leaves it.
    Leave = 49, "leave";
    /// Something happened in a room.
    RoomEvent = 50, "room_event";
    /// A member of a room wants something done.
    RoomCommand = 51, "room_command";
    /// Opens a link between nodes.
    NodeHello = 64, "node_hello";
    /// Accepts a link.
    NodeWelcome = 65, "node_welcome";
    /// Nodes that came and went.
    NodePeers = 66, "node_peers";
    /// Names that a node serves.
    NodeRoutes = 67, "node_routes";
    /// A frame for a peer of another node.
    NodeForward = 68, "node_forward";
}

impl Kind {
    /// Whether the kind belongs to links between nodes (64–95). Clients never send or receive these.
    pub fn is_link(self) -> bool {
        (64..96).contains(&u8::from(self))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "kind {}", u8::from(*self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_round_trip() {
        for number in 0..=u8::MAX {
            assert_eq!(u8::from(Kind::from(number)), number);
        }
    }

    #[test]
    fn every_name_finds_its_kind() {
        for &kind in Kind::ALL {
            assert_eq!(kind.name().and_then(Kind::from_name), Some(kind));
        }
        assert_eq!(Kind::from_name("unheard_of"), None);
        assert_eq!(Kind::Unknown(200).name(), None);
    }

    #[test]
    fn only_64_to_95_belong_to_links() {
        let links: Vec<u8> = (0..=u8::MAX).filter(|&n| Kind::from(n).is_link()).collect();
        assert_eq!(links, (64..=95).collect::<Vec<u8>>());
    }
}
