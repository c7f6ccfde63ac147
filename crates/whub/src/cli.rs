//! The grammar of the command line.

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        bench::Bench, call::Call, clients::Clients, completions::Completions, config::ConfigCommand,
        endpoints::Endpoints, expose::Expose, inspect::Inspect, message::Message, pair::Pair,
        provide::Provide, publish::Publish, rooms::Rooms, serve::Serve, services::Services, status::Status,
        subscribe::Subscribe,
    },
    exit::Exit,
};

/// Call services, publish to channels, pair peers: one binary, one port.
#[derive(Debug, Parser)]
#[command(name = "whub", version = env!("WHUB_VERSION"), arg_required_else_help = true, after_help = after_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  whub serve                                     a hub for this machine, at 127.0.0.1:9482
  whub provide /echo --echo                      in another terminal: a service
  whub call /echo --data hello                   in a third one: call it
  curl -d hello http://127.0.0.1:9482/echo       the same with curl
  whub subscribe 'news/#'                        wait for messages
  whub publish news/eu hello                     and publish one
  whub pair room-42                              twice: two terminals become one

Environment:
  WHUB_SERVER        the hub that client commands talk to; ws://127.0.0.1:9482 if it is not set
  WHUB_TOKEN         the token they present; never on a command line, where everyone can read it
  WHUB_SECTION__KEY  configuration of `whub serve` (two underscores), see docs/configuration.md";

fn after_help() -> String {
    let codes = Exit::ALL.map(|exit| {
        let (code, name, meaning) = exit.row();
        format!("  {code:<3} {name:<12} {meaning}\n")
    });
    format!("{EXAMPLES}\n\nExit codes:\n{}", codes.concat().trim_end())
}

/// Everything `whub` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Call(Call),
    Provide(Provide),
    Expose(Expose),
    Publish(Publish),
    Subscribe(Subscribe),
    Pair(Pair),
    Status(Status),
    Services(Services),
    Clients(Clients),
    Rooms(Rooms),
    Endpoints(Endpoints),
    Message(Message),
    Inspect(Inspect),
    Bench(Bench),
    Config(ConfigCommand),
    Completions(Completions),
}

impl Command {
    /// Whether errors are wanted as JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Call(call) => call.json,
            Self::Publish(publish) => publish.json,
            Self::Subscribe(subscribe) => subscribe.json,
            Self::Status(status) => status.json,
            Self::Services(services) => services.json,
            Self::Clients(clients) => clients.json,
            Self::Rooms(rooms) => rooms.json,
            Self::Endpoints(endpoints) => endpoints.json,
            Self::Message(message) => message.wants_json(),
            Self::Inspect(inspect) => inspect.json,
            Self::Bench(bench) => bench.json,
            Self::Config(config) => config.wants_json(),
            Self::Serve(_) | Self::Provide(_) | Self::Expose(_) | Self::Pair(_) | Self::Completions(_) => {
                false
            }
        }
    }
}
