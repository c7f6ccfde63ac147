//! A program with a hub inside: a guest book, kept by a module of its own.
//!
//! ```sh
//! cargo run -p whub-server --example embedded_hub -- 127.0.0.1:9482
//! curl http://127.0.0.1:9482/guests -d 'Ada was here'    # a service of this process, called like any other
//! curl -i http://127.0.0.1:9482/guests                   # the answer has a header of the program's own middleware
//! curl http://127.0.0.1:9482/status                      # the hub's own services are there too
//! ```
//!
//! Clients of the whub protocol may also send frames of kind 128, which only this program knows: each is a greeting
//! that goes into the book, and is answered by one of the same kind.

// A program for people, who read its standard output.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use whub_core::middleware::{AnswerHead, Asked, CallRecord, Middleware};
use whub_core::{Fault, Now};
use whub_proto::Code;
use whub_server::config::Config;
use whub_server::{
    ClientManager, LocalAnswer, LocalRequest, LocalService, Module, ModuleError, OwnFrame, OwnReply, Server,
    Setup,
};

/// Frames of this kind are greetings.
const GREETING: u8 = 128;

/// The longest entry, bytes.
const ENTRY_BYTES: usize = 1024;

/// The most entries; then the oldest go.
const ENTRIES: usize = 100;

/// The module: it keeps the book.
#[derive(Debug, Default)]
struct GuestBook {
    pages: Arc<Pages>,
}

/// What the service and the handler share.
#[derive(Debug, Default)]
struct Pages(Mutex<Vec<String>>);

impl Module for GuestBook {
    fn name(&self) -> &'static str {
        "guest_book"
    }

    fn init(&mut self, setup: &mut Setup<'_>) -> Result<(), ModuleError> {
        // Another module, found by its type. It is ready before this one starts.
        let clients = setup.module::<ClientManager>()?;
        let pages = Arc::clone(&self.pages);
        let service = LocalService::new("/guests", move |request| answer(Arc::clone(&pages), request))?;
        setup.service(service.description("the guest book: GET reads it, POST signs it"));
        let pages = Arc::clone(&self.pages);
        setup.handler(GREETING, move |frame| {
            let (pages, guests) = (Arc::clone(&pages), clients.list().len());
            async move { greet(&pages, &frame, guests) }
        });
        setup.middleware(Arc::new(Numbered::default()));
        Ok(())
    }

    async fn start(&self) -> Result<(), ModuleError> {
        self.pages.write("the book is opened");
        Ok(())
    }

    async fn drain(&self, _grace: Duration) {
        // Nobody signs any more; a book on a disk would be written now.
        self.pages.write("the book is closed");
    }

    async fn stop(&self) {
        println!("{} entries", self.pages.read().len());
    }
}

impl Pages {
    fn write(&self, entry: &str) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() == ENTRIES {
            pages.remove(0);
        }
        pages.push(entry.to_owned());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers a call.
async fn answer(pages: Arc<Pages>, mut request: LocalRequest) -> Result<LocalAnswer, Fault> {
    match request.method.as_str() {
        "" | "GET" | "HEAD" => Ok(LocalAnswer::json(&pages.read())),
        "POST" => {
            let body = request.bytes(ENTRY_BYTES).await?;
            let entry = std::str::from_utf8(&body).map_err(|_| bad("an entry is text"))?;
            pages.write(entry);
            Ok(LocalAnswer::text("thank you\n").with_status(201))
        }
        other => Err(bad(format!("the book takes GET and POST, not {other}"))),
    }
}

/// Answers a frame of the program's own kind.
fn greet(pages: &Pages, frame: &OwnFrame, guests: usize) -> Result<OwnReply, Fault> {
    let greeting = std::str::from_utf8(&frame.payload).map_err(|_| bad("a greeting is text"))?;
    if greeting.len() > ENTRY_BYTES {
        return Err(bad("a greeting is short"));
    }
    pages.write(greeting);
    Ok(OwnReply::text(GREETING, format!("welcome {}, one of {guests}", frame.client)))
}

fn bad(reason: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::fatal(Code::BadRequest, "guests.request", reason)
}

/// Middleware of the program's own: numbers the answers of the book, and knows a guest that is not welcome.
#[derive(Debug, Default)]
struct Numbered(AtomicU64);

impl Middleware for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }

    fn before(&self, _: Now, call: &mut Asked<'_>) -> Result<(), Fault> {
        if call.headers.get("x-guest") == Some("mallory") {
            return Err(Fault::fatal(Code::Forbidden, "guests.unwelcome", "mallory is not welcome here"));
        }
        Ok(())
    }

    fn answered(&self, _: Now, call: &CallRecord, answer: &mut AnswerHead<'_>) {
        if call.service.as_ref().is_some_and(|service| service.as_str() == "/guests") {
            let number = self.0.fetch_add(1, Relaxed) + 1;
            answer.headers.set("x-answer-number", number.to_string());
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9482".to_owned());
    let config = Config { listen: vec![listen.parse()?], ..Config::default() };
    let server = Server::builder(config).name("guests").module(GuestBook::default()).build().await?;
    for url in server.urls() {
        println!("listening on {url}");
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    };
    server.run(stopped).await;
    Ok(())
}
