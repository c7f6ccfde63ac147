//! The configuration of a node: a TOML file, then the environment, then flags.
//!
//! [`load`] takes the three sources as plain values and gives a [`Config`] of plain types, with the source of each
//! value beside it, or every problem it found. [`KEYS`] is the one table of keys: defaults, `whub config show`,
//! `docs/configuration.md` and the errors about unknown keys come from it.
//!
//! Left to others: what the values do. This module opens no socket; it reads the file it is given, the files that
//! it names for secrets and endpoints, and, in [`check_files`], the certificate.

mod access;
mod check;
mod endpoints;
mod error;
mod fetch;
mod field;
mod ini;
mod keys;
mod layers;
mod load;
mod reference;
mod secret;
mod services;
mod show;
mod steps;
mod tokens;
mod toml_file;
mod types;
mod units;
mod value;

pub use access::{Grant, Token};
pub use check::check_files;
pub(crate) use endpoints::own::itself;
pub use endpoints::{
    Balance, Endpoint, EndpointAccess, EndpointUrl, Gateway, Health, Process, Target, WhenDown,
};
pub use error::{Problem, Problems};
pub use keys::{Difference, differences, reloaded};
pub use layers::{Assignment, ConfigFile, Input, Source};
pub use load::{Loaded, load};
pub use reference::reference;
pub use secret::Secret;
pub use services::{ServiceAccess, ServiceEntry, ServiceSection};
pub use steps::{
    Authentication, Compression, Cors, Headers, Middleware, RateSection, RequestHeaders, ResponseHeaders,
    ServiceRules,
};
pub use types::{
    Audience, Auth, Builtin, Channels, Config, Data, Debugging, Http, Inspect, Limits, Log, LogFormat, Node,
    ProxyProtocol, Relay, Reload, Rooms, SlowPolicy, Tls, WebSocket,
};
pub use units::{parse_bytes, parse_duration, parse_rate, show_bytes, show_duration, show_rate};
