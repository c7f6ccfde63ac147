//! The running hub: connections, the write path, HTTP, configuration.

mod access_log;
mod backlog;
mod chain;
pub mod config;
mod connection;
mod discovery;
mod framing;
mod gaps;
mod gateway;
mod http;
mod inspect;
mod local;
mod mailbox;
mod modules;
mod node;
mod outgoing;
mod reload;
mod report;
mod room_text;
mod server;
mod usher;

pub use gateway::Change;
pub use local::{LocalAnswer, LocalBody, LocalCaller, LocalRequest, LocalService, LocalWriter};
pub use modules::{
    ClientManager, ClientMessage, ConnectionManager, DependencyError, Messaging, Module, ModuleError,
    OwnFrame, OwnReply, Reached, Receipt, ServiceManager, Setup, StatusModule,
};
pub use reload::{ConfigSource, EndpointPlan, Plan, RereadError};
pub use server::{Handle, Server, ServerBuilder, StartError};
