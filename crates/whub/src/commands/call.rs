//! `whub call PATH`.

use std::{io, io::IsTerminal, time::Duration};

use clap::Args;
use serde_json::json;
use whub_client::{Client, Format, Headers, Progress, Response};

use crate::{
    arguments::{Data, duration, header},
    exit::{Exit, Failure},
    hub::HubArgs,
    output, runtime, stream,
};

/// Call a service and print its answer
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Call {
    /// Path of the service, perhaps with a query: /math/add?a=1
    path: String,

    /// Body: the text itself, @FILE, or - for standard input
    #[arg(long, short, value_name = "TEXT|@FILE|-", value_parser = Data::parse)]
    data: Option<Data>,

    /// Method; GET without a body, else POST
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,

    /// Header to send; repeat for more
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,

    /// How long to wait for the answer to begin
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,

    /// Calls with the same key go to the same provider
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// The call may be made twice, under this name: if its provider is lost, another one is asked
    #[arg(long, value_name = "ID")]
    idempotency: Option<String>,

    /// Print status and headers before the body, those of progress before them, and trailers after it
    #[arg(long, short)]
    include: bool,

    /// Print one JSON object: status, headers, the body as data, text or b64, and trailers if there are any
    #[arg(long, conflicts_with = "include")]
    pub(crate) json: bool,

    #[command(flatten)]
    hub: HubArgs,
}

const EXAMPLES: &str = "\
Examples:
  whub call /echo --data 'hello'
  whub call /math/add --data '{\"a\":1,\"b\":2}'   text that is a JSON object or array is sent as JSON
  whub call /upload --data @photo.jpg --header content-type:image/jpeg
  date | whub call /echo --data - --timeout 2s

The body of the answer goes to standard output as it arrives. A status of 400 or more is exit code 9.";

impl Call {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        runtime::run_client(async {
            let client = self.hub.connect().await?;
            let outcome = tokio::select! {
                outcome = self.call(&client) => outcome,
                () = runtime::interrupt() => Err(Failure::new(Exit::Interrupted, "the call was cancelled")),
            };
            // The outcome is known; that the connection ends is enough, however it does.
            let _ = client.close().await;
            outcome
        })
    }

    async fn call(&self, client: &Client) -> Result<(), Failure> {
        let response = self.request(client).await?.await?;
        let status = response.status;
        if self.json {
            print_json(response).await?;
        } else {
            self.print(response).await?;
        }
        if status >= 400 {
            return Err(Failure::new(
                Exit::ErrorStatus,
                format!("{} answered with status {status}", self.path),
            ));
        }
        Ok(())
    }

    async fn request(&self, client: &Client) -> Result<whub_client::Call, Failure> {
        let usual = if self.data.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        let mut call = client.call(&self.path).method(method).timeout(self.timeout);
        if let Some(key) = &self.key {
            call = call.key(key);
        }
        if let Some(id) = &self.idempotency {
            call = call.idempotency(id);
        }
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        if self.include {
            call = call.on_progress(print_progress);
        }
        let Some(data) = &self.data else { return Ok(call) };
        let (format, content_type) = kind(data);
        if !self.headers.iter().any(|(name, _)| name == "content-type") {
            call = call.header("content-type", content_type);
        }
        Ok(match data {
            Data::Text(text) => call.text(text).format(format),
            Data::File(_) | Data::Input => {
                let reader = data.open().await.map_err(|error| unreadable(data, &error))?;
                call.body_stream(stream::read(reader)).format(format)
            }
        })
    }

    async fn print(&self, mut response: Response) -> Result<(), Failure> {
        if self.include {
            output::print(&format!("{}\n{}\n", response.status, lines(&response.headers)))?;
        }
        let mut last = None;
        while let Some(chunk) = response.body.next_chunk().await? {
            last = chunk.last().copied().or(last);
            output::write(&chunk)?;
        }
        // So that the shell's prompt begins a line of its own.
        if io::stdout().is_terminal() && last.is_some_and(|byte| byte != b'\n') {
            output::write(b"\n")?;
        }
        if self.include && !response.body.trailers().is_empty() {
            output::print(&format!("\n{}", lines(response.body.trailers())))?;
        }
        Ok(())
    }
}

/// What a service says before it answers, in the shape of an answer. Who does not read it holds the call up.
fn print_progress(progress: Progress) {
    let is_cut = progress.payload.last().is_some_and(|byte| *byte != b'\n');
    // The answer meets the same obstacle, and tells of it.
    let _ = output::print(&format!("{}\n{}\n", progress.status, lines(&progress.headers)))
        .and_then(|()| output::write(&progress.payload))
        .and_then(|()| if is_cut { output::write(b"\n") } else { Ok(()) });
}

fn lines(headers: &Headers) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

async fn print_json(mut response: Response) -> Result<(), Failure> {
    let mut object = json!({ "status": response.status, "headers": output::headers(&response.headers) });
    let is_json = response.format == Format::Json || is_json(response.headers.get("content-type"));
    output::put_payload(&mut object, &response.body.bytes().await?, is_json);
    if !response.body.trailers().is_empty() {
        object["trailers"] = output::headers(response.body.trailers());
    }
    output::print_json(&object)
}

fn is_json(content_type: Option<&str>) -> bool {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
}

fn kind(data: &Data) -> (Format, &'static str) {
    match data {
        Data::Text(text) if output::is_json_container(text) => (Format::Json, "application/json"),
        Data::Text(_) => (Format::Text, "text/plain; charset=utf-8"),
        Data::File(_) | Data::Input => (Format::Bytes, "application/octet-stream"),
    }
}

fn unreadable(data: &Data, error: &io::Error) -> Failure {
    let what = match data {
        Data::File(path) => path.display().to_string(),
        Data::Text(_) | Data::Input => "standard input".to_owned(),
    };
    Failure::new(Exit::Failed, format!("cannot read {what}: {error}"))
}
