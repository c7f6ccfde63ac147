//! `whub provide PATTERN (--echo | --exec CMD | --files DIR)`.

mod cgi;
mod echo;
mod exec;
mod files;
mod folder;
mod media;
mod parts;
mod ranges;
mod shell;
mod validator;

use std::path::PathBuf;

use clap::Args;
use whub_client::{Client, Offer, Provide as Registering};

use crate::{
    commands::subscribe::tell,
    exit::{Exit, Failure},
    hub::HubArgs,
    offer::OfferArgs,
    output,
    runtime::{self, stop},
};

/// Provide a service
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Provide {
    /// Paths of the service: /math/:op, /files/*rest
    pattern: String,

    #[command(flatten)]
    how: How,

    /// With --exec: answer as the command prints, instead of when it has ended
    #[arg(long, requires = "exec", conflicts_with = "cgi")]
    stream: bool,

    /// With --exec: the output begins with headers (`Status: 404`, `Content-Type: …`) and an empty line
    #[arg(long, requires = "exec")]
    cgi: bool,

    /// With --exec: content type of what the command prints
    #[arg(long, value_name = "TYPE", requires = "exec", default_value = "text/plain; charset=utf-8")]
    content_type: String,

    #[command(flatten)]
    offer: OfferArgs,

    #[command(flatten)]
    hub: HubArgs,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct How {
    /// Answer with what was sent: the same body and content type
    #[arg(long)]
    echo: bool,

    /// Run `sh -c CMD` for each call
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Answer with the files of a folder
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
}

/// Calls that are answered at once, unless --max-inflight says otherwise.
const MAX_INFLIGHT: u32 = 64;

const EXAMPLES: &str = "\
Examples:
  whub provide /echo --echo
  whub provide '/date' --exec date
  whub provide '/sum/:column' --exec 'cut -d, -f\"$PARAM_COLUMN\" | paste -sd+ | bc'
  whub provide '/log' --exec 'tail -f app.log' --stream
  whub provide '/app/*rest' --exec ./app.cgi --cgi
  whub provide /docs --files ./book                curl http://127.0.0.1:9482/docs/

--exec: the body is standard input, standard output the body of the answer, both as they come. The request is
in the environment as with CGI: REQUEST_METHOD, REQUEST_URI, SCRIPT_NAME, PATH_INFO (raw), QUERY_STRING,
REMOTE_ADDR, REMOTE_USER, SERVER_NAME, CONTENT_TYPE, HTTP_NAME for every other header, and PARAM_NAME for
what :name took. Exit code 0 is status 200; 64 and 65 are 400, 66 is 404, 73 is 409, 77 is 403, 69 and 75 are
503, each with the last line of standard error for the caller; any other is 500, and why is shown here only.
The exit code counts while at most 64 KiB were printed; after that, and with --stream from the first byte,
the answer has begun, and a failure breaks it off. A call that is given up kills the command and everything it
started. Whatever the environment holds was written by strangers: quote it.

--files: GET and HEAD, with ranges, ETags and conditions. A folder answers with its index.html, nothing is
listed, names that begin with a dot are left out, and no link leads outside. A pattern without *rest gets one.

At most --max-inflight calls are answered at once (64); with --exec that many commands run.

Ctrl-C finishes the calls that were begun, then ends with exit code 0.";

impl Provide {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        // What is wrong with the command line is said before anything is connected.
        let service = self.service()?;
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let told = tokio::spawn(tell(client.events()));
            let outcome = self.provide(&client, service).await;
            told.abort();
            outcome
        })
    }

    async fn provide(&self, client: &Client, service: Service) -> Result<(), Failure> {
        let stopped = stop();
        let provide = service.register(client, &self.pattern).offer(self.offer());
        let registration = provide.max_inflight(self.offer.max_inflight(MAX_INFLIGHT)).await?;
        output::note(&format!("providing {}", registration.pattern()));
        tokio::select! {
            ended = client.closed() => ended.map_or(Ok(()), |error| Err(error.into())),
            () = stopped => Ok(client.drain().await?),
        }
    }

    fn offer(&self) -> Offer {
        let mut offer = self.offer.offer();
        // Programs that speak CGI read as much of their input as CONTENT_LENGTH says, and nothing without it.
        if self.how.exec.is_some() {
            offer.pass_headers.push("content-length".to_owned());
        }
        offer
    }

    fn output(&self) -> exec::Output {
        match (self.cgi, self.stream) {
            (true, _) => exec::Output::Cgi,
            (false, true) => exec::Output::Streamed,
            (false, false) => exec::Output::Held,
        }
    }

    fn service(&self) -> Result<Service, Failure> {
        let How { echo: _, exec, files } = &self.how;
        if let Some(command) = exec {
            let at_once = self.offer.max_inflight(MAX_INFLIGHT) as usize;
            return Ok(Service::Shell(shell::Shell::new(
                command,
                self.output(),
                at_once,
                &self.content_type,
            )));
        }
        if let Some(folder) = files {
            let files = files::Files::new(folder).map_err(|error| unusable(folder, &error))?;
            return Ok(Service::Folder(folder::Folder::new(files)));
        }
        Ok(Service::Echo)
    }
}

/// What answers.
enum Service {
    Echo,
    Shell(shell::Shell),
    Folder(folder::Folder),
}

impl Service {
    fn register(self, client: &Client, pattern: &str) -> Registering {
        match self {
            Self::Echo => client.provide(pattern, echo::answer),
            Self::Shell(shell) => client.provide(pattern, move |request| shell.clone().answer(request)),
            Self::Folder(folder) => {
                client.provide(folder::pattern(pattern), move |request| folder.clone().answer(request))
            }
        }
    }
}

fn unusable(folder: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("cannot serve the files of {}: {error}", folder.display()))
}
