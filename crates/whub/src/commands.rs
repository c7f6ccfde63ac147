//! One file per command.

pub(crate) mod bench;
pub(crate) mod call;
pub(crate) mod clients;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod endpoints;
pub(crate) mod expose;
pub(crate) mod inspect;
pub(crate) mod message;
pub(crate) mod pair;
pub(crate) mod provide;
pub(crate) mod publish;
pub(crate) mod rooms;
pub(crate) mod serve;
pub(crate) mod services;
pub(crate) mod status;
pub(crate) mod subscribe;
mod table;

use crate::{cli::Command, exit::Failure};

/// Runs the command that was asked for.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Call(call) => call.run(),
        Command::Provide(provide) => provide.run(),
        Command::Expose(expose) => expose.run(),
        Command::Publish(publish) => publish.run(),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Pair(pair) => pair.run(),
        Command::Status(status) => status.run(),
        Command::Services(services) => services.run(),
        Command::Clients(clients) => clients.run(),
        Command::Rooms(rooms) => rooms.run(),
        Command::Endpoints(endpoints) => endpoints.run(),
        Command::Message(message) => message.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Bench(bench) => bench.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(),
    }
}
